"""Cached features of the small Sortformer on real recordings, and windows of them."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from places import DUMMY_BACKEND

from diarbench.backends import registry
from diarbench.backends.objective import Objective
from diarbench.backends.recipes.load import with_settings
from diarbench.backends.recipes.schema import Recipe
from diarbench.backends.recipes.space import changed
from diarbench.backends.training.windows import Window
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.audio import SAMPLE_RATE
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.verification import watched

pytestmark = pytest.mark.slow
torch = pytest.importorskip("torch")
pytest.importorskip("nemo.collections.asr")
sys.path.insert(0, str(DUMMY_BACKEND))

from dummy_backend import make_network
from lightning.fabric import Fabric

from diarbench.backends.training.distributed import seed_all
from diarbench.backends.training.feature_cache import FeatureCache
from diarbench.backends.training.trainer import Trainer, TrainingResult

RECIPE = Recipe(
    name="cached", optimizer="SGD", learning_rate=0.01, epochs=1, batch_size=8, window_s=8, cache_features=True
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIARBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


def small() -> Any:
    backend: Any = registry.load("nemo")
    seed_all(1, 0)
    return backend.network(backend.resolve_init("scratch:small"), Objective())


def trained(network: Any, dataset: Dataset, folder: Path) -> TrainingResult:
    fabric = Fabric(accelerator="cpu", devices=1)
    return Trainer(network, "nemo", dataset, RECIPE, 1, fabric, folder).run(lambda **_: None)


def test_features_are_computed_once_per_recording(
    ami_mini: Dataset, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = trained(small(), ami_mini, tmp_path / "first")
    assert len(list(cache.iterdir())) == len(ami_mini.subset("train")) + len(ami_mini.subset("dev"))
    assert first.notes[0].startswith("features were computed once per recording")
    network = small()
    monkeypatch.setattr(network.model, "features", None)
    again = trained(network, ami_mini, tmp_path / "again")
    assert again.epochs == first.epochs, "from cached features only"


def test_aligned_windows_of_features(ami_mini: Dataset) -> None:
    network = small()
    feature_cache = FeatureCache(network)
    (recording, *_) = ami_mini.subset("dev")
    feature_cache.add(recording)
    (window,) = feature_cache.aligned([Window(recording, 5 * 1280 + 77)])
    assert window.start == 5 * 1280
    features = feature_cache.read(window, 8 * SAMPLE_RATE)
    recording_features = np.load(feature_cache.path_of(recording))
    assert features.dtype == np.float32
    assert np.array_equal(features, recording_features[5 : 5 + network.num_frames(8 * SAMPLE_RATE)])
    (last,) = feature_cache.aligned([Window(recording, round(recording.duration_s * SAMPLE_RATE) - 8 * SAMPLE_RATE)])
    assert len(feature_cache.read(last, 8 * SAMPLE_RATE)) == 100


def test_a_damaged_entry_is_computed_again(
    ami_mini: Dataset, caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIARBENCH_CACHE", str(tmp_path))
    feature_cache = FeatureCache(small())
    (recording, *_) = ami_mini.subset("dev")
    feature_cache.add(recording)
    path = feature_cache.path_of(recording)
    content = path.read_bytes()
    flipped = content[:5000] + bytes([content[5000] ^ 1]) + content[5001:]
    other = ami_mini.subset("dev")[1]
    feature_cache.add(other)
    swapped = feature_cache.path_of(other).read_bytes()
    for damaged in (bytes(len(content)), content[:9000], flipped, swapped):
        path.write_bytes(damaged)
        feature_cache.add(recording)
        assert path.read_bytes() == content
    assert caplog.text.count(f"{path}: damaged, or of another recording, so its features are computed again") == 4


def test_the_features_of_replaced_audio_are_not_kept(
    ami_mini: Dataset, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = watched(Dataset.open(shutil.copytree(ami_mini.root, tmp_path / "set"))).subset("dev")[0]
    right, network, read = recording.audio.read_bytes(), small(), soundfile.read
    silent = right[:1000] + bytes(len(right) - 1000)
    left = [right, silent]  # after the second and after the first reading, which is of silence

    def disturbed(path: str, **options: Any) -> Any:
        if not left:
            return read(path, **options)
        recording.audio.write_bytes(silent)
        audio = read(path, **options)
        recording.audio.write_bytes(left.pop())
        return audio

    with monkeypatch.context() as patch:
        patch.setattr(soundfile, "read", disturbed)
        with pytest.raises(UserError, match=f"{recording.audio}: changed since the dataset was converted"):
            FeatureCache(network).add(recording)
        assert not list(cache.glob("*"))
        recording.audio.write_bytes(right)
        FeatureCache(network).add(recording)
    assert not left
    (entry,) = cache.iterdir()
    kept = entry.read_bytes()
    entry.unlink()
    FeatureCache(network).add(ami_mini.subset("dev")[0])
    assert entry.read_bytes() == kept


def test_a_network_without_features_to_cache_is_trained_on_audio(ami_mini: Dataset, tmp_path: Path) -> None:
    assert not any("cached" in note for note in trained(make_network(), ami_mini, tmp_path).notes)


def test_cached_features_exclude_augmentation() -> None:
    assert changed(RECIPE, {"learning_rate": 0.1}).cache_features
    assert not changed(RECIPE, {"augmentation": {"noise": {}}}).cache_features, "a search may try both"
    with pytest.raises(UserError, match="the features, which are then not cached: set"):
        with_settings(RECIPE, augmentation={"noise": {}})
