"""Divide a dataset's recordings into folds for cross-validation, so that no speaker and no session is in two folds."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from diarbench.datasets.dataset import SUBSETS, Dataset, Recording, Subset, annotated_s
from diarbench.datasets.grouping import connected
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.names import Name, first_names, plural
from diarbench.datasets.io.records import Record
from diarbench.datasets.io.rttm import Turn

FEWEST_FOLDS = 3
"""One fold to test on, one as dev, and one to train on."""

LARGEST_SHARE = 0.5
"""A group of recordings with more than this share of the hours leaves too little to train on when it is tested."""

_MICROPHONE = re.compile(
    r"[._-](part\d+|(mix|headset|lapel|array|mic|ch|channel|far|near|sdm|mdm|ihm)([._-]?[\w-]+)?)$", re.I
)
"""The suffixes that distinguish the microphones of a session, and the parts into which a recording was cut."""

_LOCAL_SPEAKER = re.compile(
    r"(spk|spkr|speaker|s)?[ _-]*\d{1,2}|((spk|spkr|speaker)[ _-]*)?[a-z]|((fe)?male|(wo)?man|agent|operator|caller"
    r"|callee|client|customer|interviewe[re]|host|guest|doctor|patient|teacher|student|child|adult|unknown|other)"
    r"[ _-]*\d{0,2}",
    re.I,
)
"""A speaker's name that is used anew in each recording: ``spk00``, ``SPEAKER_A``, ``B``, or a role as ``agent_1``."""


ATTEMPTS = 100
"""How often a division is drawn anew that an earlier repetition has."""


class Fold(Record):
    """One fold of a cross-validation: which recordings are in which subset."""

    number: int
    """From 1."""
    of: int
    repetition: int = 1
    """From 1; it seeds the draw."""
    train: tuple[Name, ...]
    dev: tuple[Name, ...]
    test: tuple[Name, ...]

    @property
    def suffix(self) -> str:
        """What the name of a fold's run ends in."""
        return f"{self.repetition_suffix}-fold{self.number}of{self.of}"

    @property
    def repetition_suffix(self) -> str:
        """What the name of the run that pools a repetition's folds ends in."""
        return "" if self.repetition == 1 else f"-repetition{self.repetition}"


def draw_folds(dataset: Dataset, count: int, repetition: int = 1) -> list[Fold]:
    """Divide all recordings into ``count`` folds of similar hours; the dev set of a fold is the next fold's test set.

    Recordings that share a speaker or a session stay together, so every recording is tested once, by a system that
    never heard its speakers. Each repetition has a division of its own, drawn from the seed ``repetition``: with the
    same one twice, a copy of an error would count as a second measurement. Raises UserError where that cannot be done.
    """
    recordings = [recording for subset in SUBSETS for recording in dataset.recordings.get(subset, ())]
    groups = group_recordings(recordings)
    _check(dataset, groups, count)
    tested = _division(groups, count, repetition)
    if tested is None:
        raise UserError(
            f"{dataset.root}: --folds {count}: no {repetition} different divisions were found; use a smaller --repeat"
        )
    for fold in tested:
        if not any(recording.turns for recording in fold):
            names = ", ".join(sorted(recording.uri for recording in fold))
            raise UserError(f"{dataset.root}: --folds {count}: a fold would have no speech ({names}); use fewer folds")
    uris = [tuple(sorted(recording.uri for recording in fold)) for fold in tested]
    return [
        Fold(
            number=number + 1,
            of=count,
            repetition=repetition,
            test=uris[number],
            dev=uris[(number + 1) % count],
            train=tuple(sorted(uri for step in range(2, count) for uri in uris[(number + step) % count])),
        )
        for number in range(count)
    ]


def _division(groups: Sequence[list[Recording]], count: int, repetition: int) -> list[list[Recording]] | None:
    """The recordings of each fold in the last of so many different divisions; None where there are fewer."""
    timed = [(annotated_s(group), group) for group in groups]
    earlier = set()
    division: list[list[Recording]] = []
    for number in range(1, repetition + 1):
        for attempt in range(ATTEMPTS):
            division = _divide(timed, count, number, attempt)
            tested = [frozenset(recording.uri for recording in fold) for fold in division]
            tested_and_dev = frozenset(zip(tested, tested[1:] + tested[:1], strict=True))
            if tested_and_dev not in earlier:
                break
        else:
            return None
        earlier.add(tested_and_dev)
    return division


def _divide(
    timed: Sequence[tuple[float, list[Recording]]], count: int, seed: int, attempt: int
) -> list[list[Recording]]:
    """The recordings of each fold, from groups with their seconds.

    The longest groups go first, each to the fold with the fewest hours; groups of equal hours go in random order. From
    the second attempt on, each group's hours are multiplied by a random factor of 1 to 2 for this order.
    """
    draw = random.Random(f"{seed} {attempt}" if attempt else seed)
    shuffled = list(timed)
    draw.shuffle(shuffled)
    shuffled.sort(key=lambda each: each[0] * (draw.uniform(1, 2) if attempt else 1), reverse=True)
    folds: list[list[Recording]] = [[] for _ in range(count)]
    lengths_s = [0.0] * count
    for group_s, group in shuffled:
        shortest = lengths_s.index(min(lengths_s))
        folds[shortest].extend(group)
        lengths_s[shortest] += group_s
    return folds


def with_fold(dataset: Dataset, fold: Fold | None) -> Dataset:
    """The dataset with the subsets of a fold, or its own without one. Raises UserError where a recording is missing."""
    if fold is None:
        return dataset
    by_uri = {recording.uri: recording for listed in dataset.recordings.values() for recording in listed}
    subsets: dict[Subset, tuple[str, ...]] = {"train": fold.train, "dev": fold.dev, "test": fold.test}
    for uri in (uri for uris in subsets.values() for uri in uris):
        if uri not in by_uri:
            raise UserError(f"{dataset.root}: no recording {uri}, which is in a fold; choose another --out")
    return replace(dataset, recordings={s: _in_subset(s, (by_uri[uri] for uri in uris)) for s, uris in subsets.items()})


def all_as_test(dataset: Dataset) -> Dataset:
    """The dataset with every recording in test, as a cross-validation tests them."""
    recordings = (recording for subset in SUBSETS for recording in dataset.recordings.get(subset, ()))
    return replace(dataset, recordings={"test": _in_subset("test", sorted(recordings, key=lambda r: r.uri))})


def group_recordings(recordings: Sequence[Recording]) -> list[list[Recording]]:
    """Groups of recordings that share a speaker or a session, directly or through other recordings.

    Names that are used anew in each recording (``spk00``, ``A``) do not identify a speaker.
    """
    return connected(recordings, lambda recording: _keys(recording.uri, recording.turns))


def number_groups(turns: Mapping[str, Sequence[Turn]]) -> dict[str, int]:
    """The number of each recording's group, from the reference of each: see `group_recordings`.

    Without recordings of which that is not known: they share nothing with others, and a name identifies no speaker.
    """
    groups = connected(turns, lambda uri: _keys(uri, turns[uri]))
    return {
        uri: number
        for number, group in enumerate(groups)
        for uri in group
        if len(group) > 1 or all(names_a_person(turn.speaker, uri) for turn in turns[uri])
    }


def heard_in_training(dataset: Dataset) -> str:
    """What a system trained on the dataset heard of the speakers of test; empty where it is known to be nothing."""
    subsets = (dataset.recordings.get(subset, ()) for subset in ("train", "test"))
    heard, tested = (set[str]().union(*(_persons(r.uri, r.turns) for r in recordings)) for recordings in subsets)
    if shared := sorted(heard & tested):
        speakers = f"{plural(len(shared), 'speaker')} of test ({first_names(shared)})"
        return f"is trained on {speakers}, for whom it may do better"
    return ""


def groups_of(uris: Sequence[str], numbers: Mapping[str, int]) -> list[int]:
    """The number of each recording's group; those without one have a group of their own."""
    return [numbers.get(uri, -1 - at) for at, uri in enumerate(uris)]


def names_a_person(speaker: str, uri: str = "") -> bool:
    """Whether a speaker's name may identify a person; see `_LOCAL_SPEAKER`.

    The name of the recording, ``uri``, may stand before it.
    """
    return not _LOCAL_SPEAKER.fullmatch(speaker.removeprefix(uri).lstrip("_- "))


def _persons(uri: str, turns: Iterable[Turn]) -> set[str]:
    """The names in a recording that may identify a person."""
    return {name for name in {turn.speaker for turn in turns} if names_a_person(name, uri)}


def _keys(uri: str, turns: Iterable[Turn]) -> set[str]:
    """The speakers and the session of a recording."""
    return {*(f"speaker {name}" for name in _persons(uri, turns)), f"session {_MICROPHONE.sub('', uri)}"}


def _check(dataset: Dataset, groups: Sequence[Sequence[Recording]], count: int) -> None:
    where = f"{dataset.root}: --folds {count}"
    if count < FEWEST_FOLDS:
        raise UserError(f"{where}: at least {FEWEST_FOLDS} folds are needed, one each to train, tune and test on")
    recordings = sum(map(len, groups))
    if recordings < count:
        raise UserError(
            f"{where}: the dataset has {plural(recordings, 'recording')}, and each fold needs one; add recordings"
            + (f", or use --folds {recordings}" if recordings >= FEWEST_FOLDS else "")
        )
    if len(groups) < count:
        raise UserError(
            f"{where}: number of groups of recordings without a common speaker or session: {len(groups)}; "
            + (f"use --folds {len(groups)}" if len(groups) >= FEWEST_FOLDS else "use the dataset's own subsets instead")
        )
    total_s = sum(map(annotated_s, groups))
    for group in groups:
        group_s = annotated_s(group)
        if group_s > LARGEST_SHARE * total_s:
            names = ", ".join(sorted(recording.uri for recording in group)[:3])
            several = f"{len(group)} recordings ({names}...) share speakers and hold"
            raise UserError(
                f"{where}: {f'{names} has' if len(group) == 1 else several} {group_s / total_s:.0%} of the hours, too "
                "much for one fold; use the dataset's own subsets instead"
            )


def _in_subset(subset: Subset, recordings: Iterable[Recording]) -> tuple[Recording, ...]:
    return tuple(replace(recording, subset=subset) for recording in recordings)
