"""Speed and vocal tract length perturbation: copies of train recordings whose speakers count as new ones.

Speed perturbation follows Ko et al., "Audio augmentation for speech recognition" (Interspeech 2015); here each copy
has its own factor and its speakers are renamed.
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
from diarbench.datasets.simulation.segments import SpeechSegment, read_segment

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Perturbation:
    """The ranges from which new speakers' speed and formant factors are drawn; the default changes nothing."""

    speed: tuple[float, float] | None = None
    """Lowest and highest speed factor, drawn on a log scale; pitch and formants change with the speed."""
    formants: tuple[float, float] | None = None
    """Lowest and highest formant factor, applied on top of the speed at the same pitch."""
    same_speaker_share: float = 0.0
    """In this share of the conversations all speakers are made from one voice, with factors that are well apart. Only
    pitch and formants then distinguish them, not microphone or language."""

    @property
    def description(self) -> str:
        """The ranges in words, to append to the word "speakers"; empty if nothing is perturbed."""
        speed = f" at {self.speed[0]:g} to {self.speed[1]:g} times their speed" if self.speed else ""
        low, high = self.formants or (1, 1)
        return speed + (f", formants at {low:g} to {high:g} times theirs" if self.formants else "")

    def factors(self, positions: np.ndarray) -> list[list[float]]:
        """Speed and formant factors, to two decimals, at positions (speakers, 2) from 0 to 1 in their ranges."""
        import numpy as np

        low, high = np.log([self.speed or (1, 1), self.formants or (1, 1)]).T
        factors: list[list[float]] = np.exp(low + positions * (high - low)).round(2).tolist()
        return factors

    def suffix(self, speed: float, formants: float) -> str:
        """The suffix of a perturbed speaker's name: ``@SPEED`` or ``@SPEED,FORMANTS``."""
        return f"@{speed:.2f}" + (f",{formants:.2f}" if self.formants else "")


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
    """Perturbed copies of each train recording, as a corpus to convert; their audio is written below ``work``.

    A copy's speakers are named ``NAME@SPEED``, or ``NAME@SPEED,FORMANTS``. The same seed gives the same copies,
    whatever the number of workers.
    """
    work.mkdir(parents=True, exist_ok=True)
    jobs = _jobs(dataset, work, copies, effects, perturbation, seed)
    source = (
        f"{copies} {'copy' if copies == 1 else 'copies'} of each train recording of {dataset.info.name}, "
        f"its speakers{perturbation.description}, seed {seed}"
    )
    return Corpus(dataset.info.corpus, results_of(_write_copy, jobs, workers), source, dataset.info.licence)


@dataclass(frozen=True)
class _Job:
    """One copy to write."""

    uri: str
    segment: SpeechSegment
    """The whole recording, with its factors."""
    turns: list[Turn]
    regions: list[Region]
    effects: Effects
    seed: tuple[int, ...]
    target: Path


def _jobs(
    dataset: Dataset, work: Path, copies: int, effects: Effects, perturbation: Perturbation, seed: int
) -> Iterator[_Job]:
    import numpy as np

    for number, recording in enumerate(dataset.subset("train")):
        for copy in range(copies):
            key = (seed, number, copy)
            # Each copy's speed is drawn from its own part of the range, so that a recording's copies differ.
            rng = np.random.default_rng(key)
            ((speed, formants),) = perturbation.factors(np.array([[(copy + rng.random()) / copies, rng.random()]]))
            suffix = perturbation.suffix(speed, formants)
            turns = [
                Turn(round(turn.start_s / speed, 6), round(turn.end_s / speed, 6), turn.speaker + suffix)
                for turn in recording.turns
            ]
            regions = [Region(region.start_s / speed, region.end_s / speed) for region in recording.regions]
            segment = SpeechSegment(recording.audio, 0.0, recording.duration_s, speed, formants)
            uri = f"{recording.uri}_copy{copy:02d}"
            yield _Job(uri, segment, turns, regions, effects, key, work / f"{uri}.wav")


def _write_copy(job: _Job) -> SourceRecording:
    import numpy as np

    noise_rng, gain_rng = (np.random.default_rng((*job.seed, stream)) for stream in range(2))
    write_recorded(read_segment(job.segment, job.target), job.effects, job.target, noise_rng, gain_rng)
    return SourceRecording(job.uri, (Clip(job.target),), job.turns, job.regions, "train")
