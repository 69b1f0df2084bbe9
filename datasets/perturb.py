"""A dataset's train recordings over and over, whole, each time as other people in another room would sound.

Speed perturbation is Ko et al., "Audio augmentation for speech recognition" (Interspeech 2015); here each copy's factor
is drawn anew, and its speakers are others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from diarbench.datasets.audio import Clip
from diarbench.datasets.convert import Corpus, Found
from diarbench.datasets.layout import Dataset
from diarbench.datasets.rttm import Region, Turn
from diarbench.datasets.simulate import Effects, Perturbation, Piece, all_made, read_piece, write_recorded


@dataclass(frozen=True)
class _Job:
    """One copy to be made."""

    uri: str
    whole: Piece
    turns: list[Turn]
    regions: list[Region]
    effects: Effects
    seed: tuple[int, ...]
    target: Path


def perturb(
    dataset: Dataset,
    work: Path,
    *,
    copies: int,
    effects: Effects,
    perturbation: Perturbation,
    seed: int = 0,
    workers: int = 1,
) -> Corpus:
    """So many copies of each train recording as a corpus to convert; their audio is written below ``work``.

    A copy's speakers are named ``NAME@SPEED``, or ``NAME@SPEED,FORMANTS``. The same seed gives the same copies,
    whatever the workers.
    """
    work.mkdir(parents=True, exist_ok=True)
    jobs = _jobs(dataset, work, copies, effects, perturbation, seed)
    told = (
        f"{copies} copies of each train recording of {dataset.info.name}, its speakers{perturbation.words}, seed {seed}"
    )
    return Corpus(dataset.info.corpus, all_made(_make, jobs, workers), told, dataset.info.licence)


def _jobs(
    dataset: Dataset, work: Path, copies: int, effects: Effects, perturbation: Perturbation, seed: int
) -> Iterator[_Job]:
    import numpy as np

    for number, recording in enumerate(dataset.subset("train")):
        for copy in range(copies):
            key = (seed, number, copy)
            # Each copy's speed is from another stretch of the range, so that a few copies are not alike.
            rng = np.random.default_rng(key)
            ((speed, formants),) = perturbation.factors(np.array([[(copy + rng.random()) / copies, rng.random()]]))
            suffix = perturbation.suffix(speed, formants)
            turns = [
                Turn(round(turn.start_s / speed, 6), round(turn.end_s / speed, 6), turn.speaker + suffix)
                for turn in recording.turns
            ]
            regions = [Region(region.start_s / speed, region.end_s / speed) for region in recording.regions]
            whole = Piece(recording.audio, 0.0, recording.duration_s, speed, formants)
            uri = f"{recording.uri}_copy{copy:02d}"
            yield _Job(uri, whole, turns, regions, effects, key, work / f"{uri}.wav")


def _make(job: _Job) -> Found:
    import numpy as np

    noise_rng, gain_rng = (np.random.default_rng((*job.seed, use)) for use in range(2))
    write_recorded(read_piece(job.whole, job.target), job.effects, job.target, noise_rng, gain_rng)
    return Found(job.uri, (Clip(job.target),), job.turns, job.regions, "train")
