"""Each toolkit on a GPU gives what it gives on the CPU: `make test-gpu`, on a machine with a CUDA device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toolkits import load_or_skip

from diarbench.backends.recipes import load as recipes
from diarbench.datasets.dataset import Dataset

torch = pytest.importorskip("torch")

from diarbench.backends.training.distributed import launch_fabric, seed_all
from diarbench.backends.training.trainer import Trainer
from diarbench.benchmarks.runs.timing import measure_cost

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
    pytest.mark.parametrize("name", ["pyannote", "nemo"]),
]
GPU = "cuda"


def make_network(name: str) -> tuple[Any, Any]:
    """A backend and its network."""
    backend = load_or_skip(name)
    seed_all(1, 0)
    return backend, backend.network(backend.resolve_init("auto"), recipes.load("quick").objective)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_training_on_a_gpu_has_the_losses_of_the_cpu(
    name: str, precision: str, ami_mini: Dataset, tmp_path: Path
) -> None:
    """In 32 bits within a thousandth, in 16 bits within a tenth; processes read ahead and memory is measured."""

    def train(device: str, precision: str) -> Any:
        recipe = recipes.with_settings(recipes.load("quick"), epochs=1, epoch_hours=2 / 60, precision=precision)
        _, network = make_network(name)
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
            same = np.isfinite(values).all(-1)
            a, b = inferred[key][same], values[same]
            cosine = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
            assert np.quantile(cosine, 0.05) > 0.99
        else:
            assert (np.abs(inferred[key] - values) > 0.01).mean() < 1e-3
