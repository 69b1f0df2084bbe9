"""Perturbed copies of real recordings: their number, and turns that match the audio."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from diarbench.datasets.conversion.convert import convert
from diarbench.datasets.dataset import Dataset, Recording
from diarbench.datasets.io.audio import SAMPLE_RATE
from diarbench.datasets.simulation.conversations import add_to_dataset
from diarbench.datasets.simulation.effects import Effects
from diarbench.datasets.simulation.perturbation import Perturbation, perturb
from diarbench.datasets.simulation.segments import noise_from_pauses


def perturbed(dataset: Dataset, target: Path, workers: int = 1) -> Dataset:
    work = target.with_name(f".{target.name}")
    effects = Effects(noises=noise_from_pauses(dataset, work), snr_db=(30.0, 40.0), gain_db=(-6.0, -6.0))
    perturbation = Perturbation(speed=(0.8, 1.25), formants=(0.9, 1.1))
    copies = perturb(dataset, work, copies=2, effects=effects, perturbation=perturbation, seed=3, workers=workers)
    return convert(add_to_dataset(dataset, copies, train=True), target)


@pytest.fixture(scope="module")
def made(ami_mini: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return perturbed(ami_mini, tmp_path_factory.mktemp("perturb") / "made")


def loudness(recording: Recording, points: int) -> np.ndarray:
    """The log level in ``points`` equal parts, which does not depend on the speed."""
    samples, _ = soundfile.read(str(recording.audio))
    return np.array([np.log(np.std(part) + 1e-4) for part in np.array_split(samples, points)])


def test_only_train_gets_copies(ami_mini: Dataset, made: Dataset) -> None:
    assert len(made.subset("train")) == 3 * len(ami_mini.subset("train"))
    for subset in ("dev", "test"):
        pairs = zip(ami_mini.subset(subset), made.subset(subset), strict=True)
        assert all(one.turns == other.turns and one.regions == other.regions for one, other in pairs)


def test_turns_and_audio_of_a_copy(ami_mini: Dataset, made: Dataset) -> None:
    originals = {recording.uri: recording for recording in ami_mini.subset("train")}
    factors = []
    for copy in made.subset("train"):
        name, is_copy, _ = copy.uri.partition("_copy")
        if not is_copy:
            continue
        original = originals[name]
        factor = float(copy.turns[0].speaker.rpartition("@")[2].split(",")[0])
        factors.append(factor)
        assert copy.duration_s * factor == pytest.approx(original.duration_s, abs=0.01)
        assert len(copy.turns) == len(original.turns)
        for turn, before in zip(sorted(copy.turns), sorted(original.turns), strict=True):
            assert turn.start_s * factor == pytest.approx(before.start_s, abs=0.002)
            assert turn.end_s * factor == pytest.approx(before.end_s, abs=0.002)
        assert copy.regions[-1].end_s <= copy.duration_s + 1 / SAMPLE_RATE
        alike = np.corrcoef(loudness(copy, 100), loudness(original, 100))[0, 1]
        backwards = np.corrcoef(loudness(copy, 100), loudness(original, 100)[::-1])[0, 1]
        assert alike > 0.8 > backwards
    slower, faster = factors[::2], factors[1::2]
    assert min(slower) >= 0.8 and max(slower) <= 1.0 <= min(faster) and max(faster) <= 1.25, (
        "one copy from each half of the range"
    )


def test_the_same_seed_makes_the_same_copies(ami_mini: Dataset, made: Dataset, tmp_path: Path) -> None:
    assert perturbed(ami_mini, tmp_path / "again", workers=2).info.fingerprint == made.info.fingerprint
