"""Networks on another device, without one: torch's fake tensors have a device and a shape, and compute nothing."""

from __future__ import annotations

from typing import Any

import pytest
from toolkits import load_or_skip

from diarbench.backends.objective import Objective
from diarbench.datasets.io.audio import SAMPLE_RATE

torch = pytest.importorskip("torch")

from torch._subclasses.fake_tensor import FakeTensorMode

SAMPLES = 10 * SAMPLE_RATE


def fake_on_gpu(network: Any) -> FakeTensorMode:
    """Replace a network's parameters and buffers by fake ones on a GPU. Returns the mode to use it in."""
    mode = FakeTensorMode()
    for module in network.modules():
        for tensors in (module._parameters, module._buffers):
            for key, tensor in tensors.items():
                if tensor is not None:
                    with mode:
                        fake = torch.empty(tensor.shape, dtype=tensor.dtype, device="cuda")
                        tensors[key] = torch.nn.Parameter(fake) if tensors is module._parameters else fake
    return mode


@pytest.mark.parametrize("init", ["scratch:compact", "scratch:compact-streaming"])
def test_nemo_s_model_knows_that_it_was_moved_with_the_network_around_it(init: str) -> None:
    """It moves audio to its own device."""
    backend = load_or_skip("nemo")
    network = backend.network(backend.resolve_init(init), Objective())
    assert network.to("meta").model.device == torch.device("meta")


def test_pyannote_s_network_runs_on_the_gpu() -> None:
    backend = load_or_skip("pyannote")
    network = backend.network(backend.resolve_init("auto"), Objective()).eval()
    mode = fake_on_gpu(network)
    with mode, torch.backends.cudnn.flags(enabled=False):  # cuDNN's LSTM needs real weights
        activity = network.activity(torch.empty(2, SAMPLES, device="cuda"))
    assert activity.device.type == "cuda" and activity.shape[0] == 2
