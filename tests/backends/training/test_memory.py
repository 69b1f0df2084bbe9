"""The largest batch that fits, by a network that runs out of memory above a number of windows."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from places import DUMMY_BACKEND

from diarbench.backends.recipes.schema import Recipe
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.errors import UserError

torch = pytest.importorskip("torch")
sys.path.insert(0, str(DUMMY_BACKEND))

from dummy_backend import make_network
from lightning.fabric import Fabric

from diarbench.backends.training.memory import check_batch_fits, largest_fitting
from diarbench.backends.training.trainer import Trainer

RECIPE = Recipe(name="large", optimizer="SGD", learning_rate=0.1, epochs=1, batch_size=16, window_s=10)


class NormalizedNetwork(torch.nn.Module):
    """The dummy's network behind a batch norm, whose statistics every forward pass changes; tries are counted."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.tried = most, []
        self.network, self.norm = make_network(), torch.nn.BatchNorm1d(1)
        self.frame_s, self.first_frame_s = self.network.frame_s, self.network.first_frame_s
        self.max_speakers, self.num_frames = self.network.max_speakers, self.network.num_frames

    def loss(self, waveforms, targets):
        self.tried.append(len(waveforms))
        normalized = self.norm(waveforms[:, None])[:, 0]
        if len(waveforms) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.network.loss(normalized, targets)


def check(most: int, dataset: Dataset, folder: Path) -> NormalizedNetwork:
    network = NormalizedNetwork(most)
    fabric = Fabric(accelerator="cpu", devices=1)
    loader = Trainer(network, "dummy", dataset, RECIPE, 1, fabric, folder).loader
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    try:
        check_batch_fits(network, loader, fabric)
    finally:
        assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
        assert all(parameter.grad is None for parameter in network.parameters())
    return network


def test_a_batch_that_fits_is_tried_once_and_changes_nothing(ami_mini: Dataset, tmp_path: Path) -> None:
    assert check(16, ami_mini, tmp_path).tried == [16]


@pytest.mark.parametrize(
    ("most", "cure"),
    [
        (7, "batch_size: 4 fits; raise accumulate by the same factor"),
        (0, "not even a window for each device does; shorten window_s or take a smaller network"),
    ],
)
def test_one_that_does_not_is_told_with_the_largest_that_does(
    most: int, cure: str, ami_mini: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as raised:
        check(most, ami_mini, tmp_path)
    assert str(raised.value) == f"a batch of 16 windows of 10 s does not fit in the memory of cpu: {cure}"


def test_only_running_out_of_memory_makes_the_batch_smaller() -> None:
    def fail(size: int) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="illegal memory access"):
        largest_fitting(8, fail)
