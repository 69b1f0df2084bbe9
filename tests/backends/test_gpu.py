"""Each toolkit on a GPU gives what it gives on the CPU: `make test-gpu`, on a machine with a CUDA device."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tiny_nemotron
from ddp_script import without_dropout
from toolkits import load_or_skip

from diarbench.backends.recipes import load as recipes
from diarbench.datasets.dataset import Dataset, Recording
from diarbench.datasets.io.errors import UserError

torch = pytest.importorskip("torch")

from diarbench.backends.training.distributed import launch_fabric, seed_all
from diarbench.backends.training.trainer import Trainer
from diarbench.benchmarks.runs.timing import measure_cost

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
    pytest.mark.parametrize("name", ["pyannote", "nemo", "nemotron"]),
]
GPU = "cuda"


@pytest.fixture(autouse=True)
def full_precision() -> Iterator[None]:
    """32 bits mean 32: by default torch convolves in TF32, which has a mantissa of 10 bits."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def make_network(name: str, init: str = "auto") -> tuple[Any, Any]:
    """A backend and its network, with weights that do not depend on the device; Nemotron is a tiny one."""
    backend = load_or_skip(name)
    seed_all(1, 0)
    if name == "nemotron":
        return backend, tiny_nemotron.make_network().train_on(recipes.load("quick").objective)
    return backend, backend.network(backend.resolve_init(init), recipes.load("quick").objective)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_training_on_a_gpu_has_the_losses_of_the_cpu(
    name: str, precision: str, ami_mini: Dataset, tmp_path: Path
) -> None:
    """In 32 bits within a thousandth, in 16 bits within a tenth; processes read ahead and memory is measured.

    Without dropout, whose random numbers are a device's own.
    """

    def train(device: str, precision: str) -> Any:
        recipe = recipes.with_settings(recipes.load("quick"), epochs=1, epoch_hours=2 / 60, precision=precision)
        _, network = make_network(name)
        without_dropout(network)
        fabric = launch_fabric(device, 1, 1, "auto", precision)
        with measure_cost() as cost:
            trained = Trainer(network, name, ami_mini, recipe, 1, fabric, tmp_path / device).run(lambda **_: None)
        return [epoch.loss_val for epoch in trained.epochs], cost

    losses, cost = train(GPU, precision)
    expected, _ = train("cpu", "32-true")
    assert losses == pytest.approx(expected, rel=1e-3 if precision == "32-true" else 0.1)
    assert cost.peak_device_memory_mb


def test_inference_on_a_gpu_has_the_arrays_of_the_cpu(name: str, ami_mini: Dataset) -> None:
    """Nearly all activity and embeddings are the same; a frame near the threshold may be decided otherwise."""
    recording = ami_mini.subset("test")[0]
    backend, network = make_network(name)
    expected = backend.diarizer(network, "cpu").infer(recording)
    inferred = backend.diarizer(network.to(GPU), GPU).infer(recording)
    assert inferred.keys() == expected.keys()
    for key, values in expected.items():
        assert inferred[key].shape == values.shape
        if key == "embeddings":  # by the cosine between both
            of_both = np.isfinite(np.stack([inferred[key], values])).all(-1)
            assert (of_both[0] == of_both[1]).mean() > 0.95
            a, b = (each[of_both.all(0)] for each in (inferred[key], values))
            cosine = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
            assert np.quantile(cosine, 0.05) > 0.99
        else:
            assert (np.abs(inferred[key] - values) > 0.01).mean() < 1e-3


class StopHereError(Exception):
    """Stops a training in place of a signal."""


@pytest.mark.parametrize(("first", "second"), [(GPU, "cpu"), ("cpu", GPU)])
def test_a_training_resumes_on_the_other_device(
    name: str, first: str, second: str, ami_mini: Dataset, tmp_path: Path
) -> None:
    finished = []

    def stop_in_epoch_2(**event: Any) -> None:
        finished.extend([event["finished"]] if "finished" in event else [])
        if event.get("epoch") == 2:
            raise StopHereError

    def train(device: str, progress: Any) -> Any:
        recipe = recipes.with_settings(recipes.load("quick"), epochs=2, epoch_hours=1 / 60)
        _, network = make_network(name)
        fabric = launch_fabric(device, 1, 1, "auto", "32-true")
        return Trainer(network, name, ami_mini, recipe, 1, fabric, tmp_path).run(progress)

    with pytest.raises(StopHereError):
        train(first, stop_in_epoch_2)
    epochs = [epoch.model_dump() for epoch in train(second, lambda **_: None).epochs]
    assert epochs[:2] == finished and [epoch["epoch"] for epoch in epochs] == [0, 1, 2]
    assert np.isfinite(epochs[2]["loss_val"])


def test_a_batch_that_does_not_fit_is_told_with_one_that_does(name: str, ami_mini: Dataset, tmp_path: Path) -> None:
    """The process may use one gigabyte more than it does, of which the waveforms alone are two thirds."""
    steps = {"epochs": 1, "max_steps": 1, "evaluate_every": 1}
    recipe = recipes.with_settings(recipes.load("quick"), batch_size=1024, cache_features=False, **steps)
    _, network = make_network(name)
    fabric = launch_fabric(GPU, 1, 1, "auto", "32-true")
    trainer = Trainer(network, name, ami_mini, recipe, 1, fabric, tmp_path)
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 1e9) / total)
    try:
        with pytest.raises(UserError, match=r"a batch of 1024 windows .*: batch_size: \d+ fits"):
            trainer.run(lambda **_: None)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_an_hour_of_audio(name: str, ami_mini: Dataset, tmp_path: Path) -> None:
    """NeMo in its streaming form: the offline one needs memory with the square of the length."""
    path = tmp_path / "hour.wav"
    audio = np.concatenate([soundfile.read(recording.audio)[0] for recording in ami_mini.subset("test")])
    soundfile.write(path, np.resize(audio, 3600 * 16_000), 16_000)
    backend, network = make_network(name, {"nemo": "scratch:compact-streaming"}.get(name, "auto"))
    inferred = backend.diarizer(network.to(GPU), GPU).infer(Recording("hour", "test", path, path, path))
    if name == "pyannote":  # windows of 10 s, one each second
        assert len(inferred["segmentation"]) == len(inferred["embeddings"]) == 3591
        assert np.isfinite(inferred["embeddings"]).any()
    else:
        assert network.frame_s * len(inferred["activity"]) == pytest.approx(3600, abs=1)
    assert all(np.isfinite(values).all() for key, values in inferred.items() if key != "embeddings")
