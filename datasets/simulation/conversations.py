"""Conversations made of single-speaker speech, taking turns as a real dataset does, or as asked.

Landini et al., "From simulated mixtures to simulated conversations as training data for end-to-end neural diarization"
(Interspeech 2022) draw pauses and overlaps between turns one by one from those of real conversations. Here they are
drawn an island at a time, a silence and the unbroken speech after it, so that an interjection stays in the long turn
that it came in, and speech, silence and overlap come out as they were fitted.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from diarbench.datasets.acoustics import apply_rir, random_equalizer
from diarbench.datasets.conversion.corpus import Corpus, SourceRecording
from diarbench.datasets.conversion.parallel import results_of
from diarbench.datasets.dataset import SUBSETS, Dataset, Subset
from diarbench.datasets.io.audio import SAMPLE_RATE, Clip
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.rttm import Turn
from diarbench.datasets.simulation.effects import Effects, _rooms, write_recorded
from diarbench.datasets.simulation.perturbation import Perturbation
from diarbench.datasets.simulation.segments import SpeechSegment, _faded, read_piece
from diarbench.datasets.simulation.turn_taking import IslandSampler, TurnTaking, sample_conversation

if TYPE_CHECKING:
    import numpy as np


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Job:
    """One conversation to be made."""

    uri: str
    subset: Subset
    speakers: dict[str, list[SpeechSegment]]
    """Those that take part."""
    turns: list[Turn]
    effects: Effects
    seed: tuple[int, ...]
    target: Path


def simulate(
    speakers: dict[Subset, dict[str, list[SpeechSegment]]],
    style: TurnTaking,
    work: Path,
    *,
    recordings: dict[Subset, int],
    duration_s: float,
    effects: Effects | None = None,
    perturbation: Perturbation | None = None,
    seed: int = 0,
    workers: int = 1,
    corpus: str = "",
    source: str = "",
    licence: str = "that of the speech",
) -> Corpus:
    """Conversations of about ``duration_s`` seconds as a corpus to convert; their audio is written below ``work``.

    Perturbed speakers are named ``NAME@SPEED``, or ``NAME@SPEED,FORMANTS``, by factors of two decimals.
    The same seed gives the same recordings, whatever the workers. Raises UserError where a subset has fewer than two
    speakers, or for conversations of one voice that is not perturbed.
    """
    made_by = perturbation or Perturbation()
    if made_by.same_speaker_share and not (made_by.speed or made_by.formants):
        raise UserError("conversations of one voice need that it be made into several; perturb it, or its formants")
    for subset, count in recordings.items():
        there = len(speakers.get(subset, {}))
        if count and there < 2:
            raise UserError(f"{source}: conversations in {subset} need two speakers at least, and it has {there}")
    work.mkdir(parents=True, exist_ok=True)
    jobs = (
        job
        for subset, count in recordings.items()
        if count
        for job in _jobs(subset, count, speakers[subset], style, work, duration_s, effects or Effects(), made_by, seed)
    )
    voices = sum(len(speakers[subset]) for subset, count in recordings.items() if count)
    made_of = source
    if made_by != Perturbation():
        made_of += f", its {voices} speakers{made_by.words}"
    if made_by.same_speaker_share:
        made_of += f", {made_by.same_speaker_share:.0%} of the conversations of one voice"
    return Corpus(
        corpus, results_of(_make, jobs, workers), f"simulated from {made_of}, seed {seed}", licence, "as simulated"
    )


def add_to_dataset(real: Dataset, simulated: Corpus, *, train: bool) -> Corpus:
    """Simulated conversations to train on, with a dataset's dev and test, and with ``train`` beside its own."""
    subsets: tuple[Subset, ...] = SUBSETS if train else ("dev", "test")
    theirs = [recording for subset in subsets for recording in real.subset(subset)]
    taken = {recording.uri for recording in theirs}
    found = (SourceRecording(each.uri, (Clip(each.audio),), each.turns, each.regions, each.subset) for each in theirs)
    made = (replace(each, uri=_not_in(taken, each.uri)) for each in simulated.recordings)
    kept, as_simulated = ("all", "more to train on") if train else ("dev and test", "train")
    return Corpus(
        real.info.corpus,
        chain(made, found),
        f"{simulated.source}; {kept} of {real.info.name}",
        f"{simulated.licence}; {kept}: {real.info.licence}",
        f"{as_simulated} as simulated, {kept} as they were",
    )


def _not_in(taken: set[str], uri: str) -> str:
    while uri in taken:
        uri = f"more_{uri}"
    return uri


def _jobs(
    subset: Subset,
    count: int,
    speakers: dict[str, list[SpeechSegment]],
    style: TurnTaking,
    work: Path,
    duration_s: float,
    effects: Effects,
    perturbation: Perturbation,
    seed: int,
) -> Iterator[_Job]:
    """A subset's conversations, laid out one after another, as they share the deck."""
    import numpy as np

    most = min(len(speakers), max(2, *style.speakers))
    sampler = IslandSampler(style, most, np.random.default_rng([seed, SUBSETS.index(subset)]))
    for number in range(count):
        key = (seed, SUBSETS.index(subset), number)
        rng = np.random.default_rng(key)
        size = max(2, sampler.fewest, min(int(rng.choice(style.speakers)), most))
        names = [str(name) for name in rng.choice(sorted(speakers), size=size, replace=False)]
        taking_part = _perturbed(names, speakers, perturbation, np.random.default_rng((*key, 4)))
        turns = sample_conversation(sampler, list(taking_part), duration_s, rng)
        uri = f"{subset}_{number:05d}"
        yield _Job(uri, subset, taking_part, turns, effects, key, work / f"{uri}.wav")


def _perturbed(
    names: Sequence[str], speakers: dict[str, list[SpeechSegment]], by: Perturbation, rng: np.random.Generator
) -> dict[str, list[SpeechSegment]]:
    """The speakers that take part, or others made of them, or of the first alone."""
    import numpy as np

    if by == Perturbation():
        return {name: speakers[name] for name in names}
    count = len(names)
    of_one = by.same_speaker_share > 0 and rng.random() < by.same_speaker_share
    if of_one:  # each factor from a stretch of its range that no other speaker's is from
        places = np.column_stack([(rng.permutation(count) + rng.uniform(0.25, 0.75, count)) / count for _ in range(2)])
    else:
        places = rng.random((count, 2))
    made = {}
    for name, (speed, formants) in zip([names[0]] * count if of_one else names, by.factors(places), strict=True):
        perturbed = [piece._replace(factor=speed, formants=formants) for piece in speakers[name]]
        made[name + by.suffix(speed, formants)] = perturbed
    if len(made) < count:
        raise UserError(f"{count} speakers of one voice come out alike: widen what it is perturbed by")
    return made


def _make(job: _Job) -> SourceRecording:
    """Lay one conversation's speech out into a file; the same speech whatever the rooms and the noise."""
    import numpy as np

    room_rng, speech_rng, noise_rng, level_rng = (np.random.default_rng((*job.seed, use)) for use in range(4))
    turn_rng = np.random.default_rng((*job.seed, 5))  # 4 is for the perturbation
    mixture = np.zeros(round(max(turn.end_s for turn in job.turns) * SAMPLE_RATE) + 1, dtype=np.float32)
    rooms = _rooms(job.effects, len(job.speakers), room_rng)
    for (name, pieces), room in zip(job.speakers.items(), rooms, strict=True):
        track = np.zeros_like(mixture)
        for turn in job.turns:
            if turn.speaker == name:
                at = round(turn.start_s * SAMPLE_RATE)
                speech = _speech(pieces, round((turn.end_s - turn.start_s) * SAMPLE_RATE), speech_rng, job.target)
                if job.effects.turn_db:
                    louder = np.float32(10 ** (turn_rng.uniform(-job.effects.turn_db, job.effects.turn_db) / 20))
                    speech = louder * random_equalizer(speech, job.effects.turn_db / 2, turn_rng)
                track[at : at + len(speech)] += speech[: len(track) - at]
        level = np.float32(10 ** (level_rng.uniform(-job.effects.level_db, job.effects.level_db) / 20))
        mixture += level * (track if room is None else apply_rir(track, room))
    write_recorded(mixture, job.effects, job.target, noise_rng, level_rng)
    return SourceRecording(job.uri, (Clip(job.target),), job.turns, None, job.subset)


def _speech(pieces: list[SpeechSegment], frames: int, rng: np.random.Generator, scratch: Path) -> np.ndarray:
    """So many samples of a speaker: pieces one after another until they suffice, the last one cut; ends faded."""
    import numpy as np

    parts: list[np.ndarray] = []
    wanted = frames
    while wanted > 0:
        piece = pieces[rng.integers(len(pieces))]
        wanted_s = wanted / SAMPLE_RATE * piece.factor
        spare_s = max(0.0, piece.length_s - wanted_s)
        start_s = piece.start_s + rng.uniform(0, spare_s)
        part = read_piece(piece._replace(start_s=start_s, length_s=min(piece.length_s, wanted_s)), scratch)[:wanted]
        if not len(part):
            raise UserError(f"{piece.path}: ends before the speech that its reference tells of at {start_s:.3f} s")
        parts.append(_faded(part))
        wanted -= len(part)
    return np.concatenate(parts)


def clear(work: Path) -> None:
    """Remove what `simulate` wrote; converted recordings are links to it, or copies."""
    shutil.rmtree(work, ignore_errors=True)
