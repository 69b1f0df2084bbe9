"""Speed and vocal tract length perturbation: train recordings copied as other speakers.

Speed perturbation follows Ko et al., "Audio augmentation for speech recognition" (Interspeech 2015); here each copy
has a factor of its own and its speakers are renamed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from diarbench.datasets.conversion.corpus import Corpus, SourceRecording
from diarbench.datasets.conversion.parallel import results_of
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.audio import Clip
from diarbench.datasets.io.rttm import Region, Turn
from diarbench.datasets.simulation.effects import Effects, write_recorded
from diarbench.datasets.simulation.segments import SpeechSegment, read_piece

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class _Job:
    """One copy to be made."""

    uri: str
    whole: SpeechSegment
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
    return Corpus(dataset.info.corpus, results_of(_make, jobs, workers), told, dataset.info.licence)


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
            whole = SpeechSegment(recording.audio, 0.0, recording.duration_s, speed, formants)
            uri = f"{recording.uri}_copy{copy:02d}"
            yield _Job(uri, whole, turns, regions, effects, key, work / f"{uri}.wav")


def _make(job: _Job) -> SourceRecording:
    import numpy as np

    noise_rng, gain_rng = (np.random.default_rng((*job.seed, use)) for use in range(2))
    write_recorded(read_piece(job.whole, job.target), job.effects, job.target, noise_rng, gain_rng)
    return SourceRecording(job.uri, (Clip(job.target),), job.turns, job.regions, "train")


@dataclass(frozen=True)
class Perturbation:
    """How other speakers are made of those there are, drawn anew for each conversation."""

    speed: tuple[float, float] | None = None
    """Between so much slower and faster, on a log scale; pitch and formants go with it."""
    formants: tuple[float, float] | None = None
    """Formants between so much lower and higher than that."""
    same_speaker_share: float = 0.0
    """In this share of the conversations all are made of a single one, with factors that are not near each other:
    nothing but pitch and formants tells them apart, no microphone and no language.
    """

    @property
    def words(self) -> str:
        """What is done to speakers, to follow what they are called; nothing where nothing is."""
        speed = f" at {self.speed[0]:g} to {self.speed[1]:g} of their speed" if self.speed else ""
        low, high = self.formants or (1, 1)
        return speed + (f", formants at {low:g} to {high:g} of theirs" if self.formants else "")

    def factors(self, places: np.ndarray) -> list[list[float]]:
        """Speed and formants, to two decimals, for places (speakers, 2) from 0 to 1 in their ranges."""
        import numpy as np

        low, high = np.log([self.speed or (1, 1), self.formants or (1, 1)]).T
        found: list[list[float]] = np.exp(low + places * (high - low)).round(2).tolist()
        return found

    def suffix(self, speed: float, formants: float) -> str:
        """Of the name of a speaker that was made of another."""
        return f"@{speed:.2f}" + (f",{formants:.2f}" if self.formants else "")
