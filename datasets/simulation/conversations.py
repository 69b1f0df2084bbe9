"""Conversations built from single-speaker speech, with turn-taking fitted to a real dataset or set by options.

Landini et al., "From simulated mixtures to simulated conversations as training data for end-to-end neural diarization"
(Interspeech 2022) sample pauses and overlaps between turns one by one from those of real conversations. Here the unit
of sampling is an island, a silence and the unbroken speech after it: an interjection stays inside the long turn that it
interrupted, and the shares of speech, silence and overlap match the fitted data.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
from diarbench.datasets.io.lock import hold
from diarbench.datasets.io.names import plural
from diarbench.datasets.io.rttm import Turn
from diarbench.datasets.simulation.effects import Effects, room_responses, write_recorded
from diarbench.datasets.simulation.perturbation import Perturbation
from diarbench.datasets.simulation.segments import SpeechSegment, fade_ends, read_segment
from diarbench.datasets.simulation.turn_taking import IslandSampler, TurnTaking, sample_conversation

if TYPE_CHECKING:
    import numpy as np


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
    """Conversations of about ``duration_s`` seconds, as a corpus to convert; their audio is written below ``work``.

    ``recordings`` gives the number of conversations per subset. Perturbed speakers are named ``NAME@SPEED``, or
    ``NAME@SPEED,FORMANTS``, with factors of two decimals. The same seed gives the same recordings, whatever the number
    of workers. Raises UserError if a subset has fewer than two speakers, or if conversations of one voice are requested
    without a perturbation.
    """
    perturbation = perturbation or Perturbation()
    if perturbation.same_speaker_share and not (perturbation.speed or perturbation.formants):
        raise UserError("conversations of one voice need a perturbation: give a range for speed or formants")
    for subset, count in recordings.items():
        available = len(speakers.get(subset, {}))
        if count and available < 2:
            raise UserError(f"{source}: conversations in {subset} need at least two speakers, but it has {available}")
    work.mkdir(parents=True, exist_ok=True)
    effects = effects or Effects()
    jobs = (
        job
        for subset, count in recordings.items()
        if count
        for job in _jobs(subset, count, speakers[subset], style, work, duration_s, effects, perturbation, seed)
    )
    if perturbation != Perturbation():
        voices = sum(len(speakers[subset]) for subset, count in recordings.items() if count)
        source += f", its {plural(voices, 'speaker')}{perturbation.description}"
    if perturbation.same_speaker_share:
        source += f", {perturbation.same_speaker_share:.0%} of the conversations from one voice"
    return Corpus(
        corpus,
        results_of(_write_conversation, jobs, workers),
        f"simulated from {source}, seed {seed}",
        licence,
        "as simulated",
    )


@dataclass(frozen=True)
class _Job:
    """One conversation to write."""

    uri: str
    subset: Subset
    speakers: dict[str, list[SpeechSegment]]
    """The speakers who take part."""
    turns: list[Turn]
    effects: Effects
    seed: tuple[int, ...]
    target: Path


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
    """A subset's conversations, sampled in order because they share one island sampler."""
    import numpy as np

    max_speakers = min(len(speakers), max(2, *style.speakers))
    sampler = IslandSampler(style, max_speakers, np.random.default_rng([seed, SUBSETS.index(subset)]))
    for number in range(count):
        key = (seed, SUBSETS.index(subset), number)
        rng = np.random.default_rng(key)
        size = max(2, sampler.fewest_speakers, min(int(rng.choice(style.speakers)), max_speakers))
        names = [str(name) for name in rng.choice(sorted(speakers), size=size, replace=False)]
        participants = _perturb_speakers(names, speakers, perturbation, np.random.default_rng((*key, 4)))
        turns = sample_conversation(sampler, list(participants), duration_s, rng)
        uri = f"{subset}_{number:05d}"
        yield _Job(uri, subset, participants, turns, effects, key, work / f"{uri}.wav")


def _perturb_speakers(
    names: Sequence[str],
    speakers: dict[str, list[SpeechSegment]],
    perturbation: Perturbation,
    rng: np.random.Generator,
) -> dict[str, list[SpeechSegment]]:
    """The named speakers, perturbed and renamed; in a conversation of one voice all are made from the first."""
    import numpy as np

    if perturbation == Perturbation():
        return {name: speakers[name] for name in names}
    count = len(names)
    one_voice = perturbation.same_speaker_share > 0 and rng.random() < perturbation.same_speaker_share
    if one_voice:  # each speaker's factors are drawn from their own part of the range
        positions = np.column_stack(
            [(rng.permutation(count) + rng.uniform(0.25, 0.75, count)) / count for _ in range(2)]
        )
        names = [names[0]] * count
    else:
        positions = rng.random((count, 2))
    perturbed = {}
    for name, (speed, formants) in zip(names, perturbation.factors(positions), strict=True):
        segments = [segment._replace(factor=speed, formants=formants) for segment in speakers[name]]
        perturbed[name + perturbation.suffix(speed, formants)] = segments
    if len(perturbed) < count:
        raise UserError(f"{count} speakers of one voice have equal factors: widen the ranges of the perturbation")
    return perturbed


def _write_conversation(job: _Job) -> SourceRecording:
    """Mix one conversation into a file; its speech does not depend on the rooms and the noise."""
    import numpy as np

    room_rng, speech_rng, noise_rng, level_rng = (np.random.default_rng((*job.seed, stream)) for stream in range(4))
    turn_rng = np.random.default_rng((*job.seed, 5))  # 4 is used for the perturbation
    mixture = np.zeros(round(max(turn.end_s for turn in job.turns) * SAMPLE_RATE) + 1, dtype=np.float32)
    responses = room_responses(job.effects, len(job.speakers), room_rng)
    for (name, segments), response in zip(job.speakers.items(), responses, strict=True):
        track = np.zeros_like(mixture)
        for turn in job.turns:
            if turn.speaker == name:
                start = round(turn.start_s * SAMPLE_RATE)
                samples = round((turn.end_s - turn.start_s) * SAMPLE_RATE)
                speech = _speech_of_length(segments, samples, speech_rng, job.target)
                if job.effects.turn_db:
                    gain = np.float32(10 ** (turn_rng.uniform(-job.effects.turn_db, job.effects.turn_db) / 20))
                    speech = gain * random_equalizer(speech, job.effects.turn_db / 2, turn_rng)
                track[start : start + len(speech)] += speech[: len(track) - start]
        level = np.float32(10 ** (level_rng.uniform(-job.effects.level_db, job.effects.level_db) / 20))
        mixture += level * (track if response is None else apply_rir(track, response))
    write_recorded(mixture, job.effects, job.target, noise_rng, level_rng)
    return SourceRecording(job.uri, (Clip(job.target),), job.turns, None, job.subset)


def _speech_of_length(
    segments: list[SpeechSegment], samples: int, rng: np.random.Generator, scratch: Path
) -> np.ndarray:
    """Random segments of a speaker, joined to ``samples`` samples; the last is cut to fit, and the ends are faded."""
    import numpy as np

    parts: list[np.ndarray] = []
    missing = samples
    while missing > 0:
        segment = segments[rng.integers(len(segments))]
        missing_s = missing / SAMPLE_RATE * segment.factor
        spare_s = max(0.0, segment.length_s - missing_s)
        start_s = segment.start_s + rng.uniform(0, spare_s)
        part = segment._replace(start_s=start_s, length_s=min(segment.length_s, missing_s))
        speech = read_segment(part, scratch)[:missing]
        if not len(speech):
            raise UserError(
                f"{segment.path}: the audio ends before the speech that the reference has at {start_s:.3f} s"
            )
        parts.append(fade_ends(speech))
        missing -= len(speech)
    return np.concatenate(parts)


def add_to_dataset(real: Dataset, simulated: Corpus, *, train: bool) -> Corpus:
    """A corpus with simulated train recordings and a dataset's dev and test, and its train too if ``train`` is set."""
    subsets: tuple[Subset, ...] = SUBSETS if train else ("dev", "test")
    recordings = [recording for subset in subsets for recording in real.subset(subset)]
    taken = {recording.uri for recording in recordings}
    existing = (SourceRecording(r.uri, (Clip(r.audio),), r.turns, r.regions, r.subset) for r in recordings)
    added = (replace(r, uri=_unused_uri(r.uri, taken)) for r in simulated.recordings)
    unchanged, simulated_part = ("all", "additional train recordings") if train else ("dev and test", "train")
    return Corpus(
        real.info.corpus,
        chain(added, existing),
        f"{simulated.source}; {unchanged} of {real.info.name}",
        f"{simulated.licence}; {unchanged}: {real.info.licence}",
        f"{simulated_part} as simulated, {unchanged} unchanged",
    )


def _unused_uri(uri: str, taken: set[str]) -> str:
    while uri in taken:
        uri = f"more_{uri}"
    return uri


@contextmanager
def work_folder(target: Path) -> Iterator[Path]:
    """A hidden folder beside a dataset, for the audio that the dataset is made of.

    This process holds the folder and removes it at the end: a converted dataset has hard links to the audio or copies.
    Raises UserError as `hold`.
    """
    work = target.with_name(f".{target.name}.simulating")
    with hold(work):
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)
