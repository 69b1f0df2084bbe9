"""Features that are kept: what a frontend makes of real recordings, once, and windows of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diarbench.backends import registry
from diarbench.backends.objective import Objective
from diarbench.backends.recipes import Recipe, altered
from diarbench.backends.windows import Window
from diarbench.datasets.layout import SAMPLE_RATE, Dataset
from diarbench.reports.records import UserError

pytestmark = pytest.mark.slow
torch = pytest.importorskip("torch")
pytest.importorskip("nemo.collections.asr")
sys.path.insert(0, str(Path(__file__).parent / "dummy_backend"))

from dummy_backend import make_network  # noqa: E402
from lightning.fabric import Fabric  # noqa: E402

from diarbench.backends.features import KeptFeatures  # noqa: E402
from diarbench.backends.training import Trained, Trainer, seed_all  # noqa: E402

RECIPE = Recipe(
    name="kept", optimizer="SGD", learning_rate=0.01, epochs=1, batch_size=8, window_s=8, keep_features=True
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIARBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


def small() -> Any:
    backend: Any = registry.load("nemo")
    seed_all(1, 0)
    return backend.network(backend.locate("scratch:small"), Objective())


def trained(network: Any, dataset: Dataset, folder: Path) -> Trained:
    fabric = Fabric(accelerator="cpu", devices=1)
    return Trainer(network, "nemo", dataset, RECIPE, 1, fabric, folder).run(lambda **_: None)


def test_each_recording_is_heard_once(
    ami_mini: Dataset, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = trained(small(), ami_mini, tmp_path / "first")
    assert len(list(cache.iterdir())) == len(ami_mini.subset("train")) + len(ami_mini.subset("dev"))
    assert first.notes[0].startswith("features were made once")
    network = small()
    monkeypatch.setattr(network.model, "features", None)
    again = trained(network, ami_mini, tmp_path / "again")
    assert again.epochs == first.epochs, "from what was kept alone"


def test_a_window_begins_with_a_frame_and_is_the_recording_s_features_there(ami_mini: Dataset) -> None:
    network = small()
    kept = KeptFeatures(network)
    (recording, *_) = ami_mini.subset("dev")
    kept.keep(recording)
    (window,) = kept.snapped([Window(recording, 5 * 1280 + 77)])
    assert window.start == 5 * 1280
    found = kept.read(window, 8 * SAMPLE_RATE)
    whole = np.load(kept.path_of(recording.audio))
    assert found.dtype == np.float32 and np.array_equal(found, whole[5 : 5 + network.num_frames(8 * SAMPLE_RATE)])
    (last,) = kept.snapped([Window(recording, round(recording.duration_s * SAMPLE_RATE) - 8 * SAMPLE_RATE)])
    assert len(kept.read(last, 8 * SAMPLE_RATE)) == 100


def test_a_network_without_such_features_hears_windows_and_says_so(ami_mini: Dataset, tmp_path: Path) -> None:
    found = trained(make_network(), ami_mini, tmp_path)
    assert found.notes[0] == "keep_features: not used, for this network has no features that are never trained"


def test_features_of_recordings_as_they_are_go_with_no_augmentation() -> None:
    with pytest.raises(UserError, match="keep_features is for recordings as they are: leave out augmentation"):
        altered(RECIPE, augmentation={"noise": {}})
