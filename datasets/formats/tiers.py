"""Shared by the readers of tiered annotations (TextGrid, ELAN): which tiers are speakers, and the turns in them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from diarbench.datasets.conversion.corpus import Corpus
from diarbench.datasets.formats.matching import Reference, log, make_turns, pair_with_audio
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import files
from diarbench.datasets.io.names import first_names
from diarbench.datasets.io.rttm import Turn

NO_SPEAKERS = "tiers that may be levels of annotation, read as speakers"

NO_TIERS = "files without tiers, read as recordings in which nobody speaks"

SILENCES = frozenset({"sil", "sp", "pau", "<sil>", "<eps>", "<p:>", "<silence>", "[silence]"})
"""Labels with which aligners mark that nobody speaks."""

SAME_TIMES = 0.8
"""Speakers do not speak together for this share of the time in which either speaks; words and their phones do."""

FEWEST_TURNS = 4
"""Two tiers with fewer turns can have the same times by chance."""

MOST_TIERS = 300

_LEVELS = frozenset(
    f"{level}{ending}"
    for level in (
        "phone",
        "phoneme",
        "segment",
        "sentence",
        "speaker",
        "syllable",
        "token",
        "turn",
        "utterance",
        "word",
    )
    for ending in ("", "s")
) | {"comments", "lemma", "notes", "orthography", "transcript", "transcription", "translation"}


class Interval(NamedTuple):
    """A labelled stretch of a tier, in seconds."""

    where: str
    """The file, and the line or tier."""
    start_s: float
    end_s: float
    label: str


def find_tiered(
    path: Path, suffix: str, read: Callable[[Path, Counter[str], str], list[Turn]], tiers: str, dataset: str
) -> Corpus:
    """Read the recordings that the files of this suffix below a folder describe.

    ``read`` takes ``tiers`` too, see `read_tiers`; ``dataset`` is as in `AudioIndex`.
    """
    changes: Counter[str] = Counter()

    def reference(file: Path) -> dict[str, Reference]:
        return {"": Reference(read(file, changes, tiers))}

    recordings = pair_with_audio(path, files(path, {suffix}), reference, changes, dataset)
    return Corpus(path.name, recordings, source=str(path), changes=changes)


def read_tiers(tiers: Mapping[str, Sequence[Interval]], chosen: str, path: Path, changes: Counter[str]) -> list[Turn]:
    """The turns in a file's tiers, each of which is a speaker.

    ``chosen`` has the names of the speakers' tiers, or patterns (``*-words``), separated by commas; empty for all.
    Tiers that look like levels of annotation (words and phones) are logged and counted, since they would be read as
    speakers who overlap. Intervals that are empty are skipped; those that mark silence are counted too.
    A file without tiers is logged and counted: nobody speaks in it.
    Raises UserError if no tier is chosen, or a time is invalid.
    """
    if not tiers:
        log.warning("%s: has no tiers of intervals; read as a recording in which nobody speaks", path)
        changes[NO_TIERS] += 1
    patterns = [pattern.strip() for pattern in chosen.split(",") if pattern.strip()]
    if patterns:
        kept = {name: tiers[name] for name in tiers if any(fnmatchcase(name, pattern) for pattern in patterns)}
        if tiers and not kept:
            raise UserError(f"{path}: no tier matches --set tiers={chosen}; the tiers are {', '.join(tiers)}")
        tiers = kept
    if len(tiers) > MOST_TIERS:
        text = f"{len(tiers):,} tiers, more than the {MOST_TIERS} that could be speakers"
        raise UserError(f"{path}: {text}; choose the speakers with --set tiers=NAME,NAME")
    by_name: dict[str, list[Turn]] = {}
    for name, intervals in tiers.items():
        spoken = [interval for interval in intervals if interval.label.strip()]
        silent = sum(interval.label.strip().lower() in SILENCES for interval in spoken)
        changes["intervals left out: labelled as silence"] += silent
        by_name[name] = [
            turn
            for where, start_s, end_s, label in spoken
            if label.strip().lower() not in SILENCES
            for turn in make_turns(start_s, end_s, name, where, changes)
        ]
    if not patterns:
        _warn_of_levels(by_name, path, changes)
    return [turn for turns in by_name.values() for turn in turns]


def annotation_levels(by_name: Mapping[str, Sequence[Turn]]) -> list[str]:
    """Names that may be levels of annotation: by their last word (``mary-words``), or since two have the same times.

    The times of more than MOST_TIERS are not compared.
    """
    suspects = {name: None for name, turns in by_name.items() if turns and _last_word(name) in _LEVELS}
    times = {name: _Times(turns) for name, turns in by_name.items() if turns}
    for first, second in combinations(times, 2) if len(times) <= MOST_TIERS else ():
        are_many = len(by_name[first]) + len(by_name[second]) >= FEWEST_TURNS
        is_known = first in suspects and second in suspects
        if are_many and not is_known and times[first].common_share(times[second]) > SAME_TIMES:
            suspects |= {first: None, second: None}
    return list(suspects)


def _warn_of_levels(by_name: Mapping[str, Sequence[Turn]], path: Path, changes: Counter[str]) -> None:
    if suspects := annotation_levels(by_name):
        names = first_names(suspects)
        text = "read as speakers, but they may be levels of annotation; choose the speakers with --set tiers=NAME,NAME"
        log.warning("%s: tiers %s are %s", path, names, text)
        changes[NO_SPEAKERS] += len(suspects)


def _last_word(name: str) -> str:
    return re.split(r"[^a-z]+", name.strip().lower())[-1]


class _Times:
    """When a tier has a turn."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        import numpy as np

        starts, ends = np.array([turn[:2] for turn in sorted(turns)]).T
        ends = np.maximum.accumulate(ends)
        begins = np.concatenate([[True], starts[1:] > ends[:-1]])  # after a pause
        self._starts, self._ends = starts[begins], ends[np.concatenate([begins[1:], [True]])]
        self._edges = np.stack([self._starts, self._ends], axis=1).ravel()
        self._spoken_s = np.cumsum(np.stack([np.zeros(len(self._starts)), self._ends - self._starts], axis=1))
        """How long it had turns, up to each of the edges."""

    def common_share(self, other: _Times) -> float:
        """The time in which both tiers have a turn, as a share of the time in which either has one."""
        import numpy as np

        until_ends, until_starts = (
            np.interp(times, other._edges, other._spoken_s) for times in (self._ends, self._starts)
        )
        common_s = float((until_ends - until_starts).sum())
        return common_s / (float(self._spoken_s[-1] + other._spoken_s[-1]) - common_s)
