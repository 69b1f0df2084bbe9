"""Networks on another device, without one: torch's fake tensors have a device and a shape, and compute nothing.

A tensor that is left on the CPU fails as it would on a GPU. Code that reads a value, and so waits for a GPU, fails too,
or is counted. Assignments of speakers, which need values, are left out; gradients need a real device (`test_gpu`).
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from toolkits import load_or_skip

from diarbench.backends import losses
from diarbench.backends.objective import Objective
from diarbench.datasets.dataset import Recording
from diarbench.datasets.io.audio import SAMPLE_RATE

torch = pytest.importorskip("torch")

import tiny_nemotron
from lightning.fabric import Fabric
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from diarbench.backends.training.distributed import ForwardDispatch
from diarbench.backends.training.validation import Validator

GPU = torch.device("cuda", 0)


class FakeGpu(FakeTensorMode):
    """Counts values and tensors that are read from the GPU.

    Where NeMo reads the length of features or targets from a tensor, to cut them there, it is a given one.
    """

    def __init__(self, length: int | None = None) -> None:
        super().__init__(allow_non_fake_inputs=True)
        self.length, self.reads = length, 0

    def dispatch(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        of_value = func is torch.ops.aten._local_scalar_dense.default
        of_tensor = func is torch.ops.aten._to_copy.default and torch.device("cpu") == (kwargs or {}).get("device")
        if (of_value or of_tensor) and args[0].device.type == "cuda":
            self.reads += 1
        if self.length and of_value:
            return self.length
        return super().dispatch(func, types, args, kwargs)


def fake_on_gpu(network: Any, mode: FakeGpu) -> None:
    """Replace a network's parameters and buffers by fake ones on a GPU."""
    for module in network.modules():
        if hasattr(module, "_device"):  # a Lightning module, which moves audio to where it was last moved itself
            module._device = GPU
        for tensors in (module._parameters, module._buffers):
            for key, tensor in tensors.items():
                if tensor is not None:
                    with mode:
                        fake = torch.empty(tensor.shape, dtype=tensor.dtype, device=GPU)
                        tensors[key] = torch.nn.Parameter(fake) if tensors is module._parameters else fake


def pyannote(**objective: Any) -> Any:
    backend = load_or_skip("pyannote")
    return backend.network(backend.resolve_init("auto"), Objective(vad=0.5, **objective))


def nemo(init: str) -> Any:
    backend = load_or_skip("nemo")
    return backend.network(backend.resolve_init(init), Objective(vad=0.5))


def nemotron(mode: str | None = None) -> Any:
    load_or_skip("nemotron")
    return tiny_nemotron.make_network(mode)


NETWORKS = {
    "pyannote's powerset": (pyannote, 1, 0),
    "pyannote with sigmoids": (lambda: pyannote(name="multilabel", head="fresh", dice=0.1), 1, 0),
    "NeMo": (lambda: nemo("scratch:compact"), 10, 1),
    "NeMo as a stream": (lambda: nemo("scratch:compact-streaming"), 4, 2),
    "Nemotron": (nemotron, 3, 0),
    "Nemotron as a stream": (lambda: nemotron("low_latency"), 3, 0),
}
"""How to make each network, seconds of a window (a few for those that go through it step by step), and how often a
batch waits for a GPU: NeMo reads the length of the features, and of a stream's chunks."""


@pytest.fixture
def without_assignment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Speakers stay in their order; Nemotron's features, which transformers computes on the CPU, are empty."""
    monkeypatch.setattr(losses, "in_cheapest_order", lambda costs, targets: targets)
    load_or_skip("nemotron")
    from diarbench.backends.nemotron import network as nemotron_network

    def no_features(extractor: Any, waveforms: Any) -> Any:
        frames = waveforms.shape[1] // extractor.hop_length
        return torch.empty(len(waveforms), frames, extractor.feature_size, device=waveforms.device)

    monkeypatch.setattr(nemotron_network, "mel_features", no_features)


@pytest.mark.parametrize("init", ["scratch:compact", "scratch:compact-streaming"])
def test_nemo_s_model_knows_that_it_was_moved_with_the_network_around_it(init: str) -> None:
    """It moves audio to its own device."""
    backend = load_or_skip("nemo")
    network = backend.network(backend.resolve_init(init), Objective())
    assert network.to("meta").model.device == torch.device("meta")


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_s_loss_and_activity_are_on_the_gpu(name: str, without_assignment: None) -> None:
    """And nothing is read from it but the costs of the speakers' orders, which is left out here, and NeMo's lengths."""
    make, seconds, reads = NETWORKS[name]
    network, samples = make(), seconds * SAMPLE_RATE
    frames = network.num_frames(samples)
    mode = FakeGpu(100 * seconds if name.startswith("NeMo") else None)
    fake_on_gpu(network, mode)
    with mode, torch.backends.cudnn.flags(enabled=False):  # cuDNN's LSTM needs real weights
        waveforms = torch.empty(2, samples, device=GPU)
        targets = torch.empty(2, frames, network.max_speakers, device=GPU)
        trained = network.train().loss(waveforms, targets)
        batch = SimpleNamespace(waveforms=waveforms, targets=targets, windows=[], counted=2)
        loader: Any = SimpleNamespace(recipe=SimpleNamespace(window_s=seconds), dev_batches=lambda: [batch] * 3)
        with torch.no_grad():
            validator = Validator(network, ForwardDispatch(network), loader, Fabric(accelerator="cpu"), 1)
            _, measured, activity = validator.outputs()
    for tensor in (*trained, measured, activity):
        assert tensor.device.type == "cuda"
    assert activity.shape == (6, 50 * seconds, network.max_speakers) and trained.total.requires_grad
    assert mode.reads == 4 * reads, "one batch of training, three of dev"


def test_the_small_sortformer_counts_on_the_gpu() -> None:
    """Training on cached features, with the number of speakers."""
    network = nemo("scratch:small")
    from diarbench.backends.camplusplus.network import DIMENSION
    from diarbench.backends.nemo.small_sortformer.features import SOUND

    mode = FakeGpu(125)
    fake_on_gpu(network, mode)
    with mode:
        features = torch.empty(2, 125, DIMENSION + SOUND, device=GPU)
        losses_of_batch = network.train().loss(features, torch.empty(2, 125, network.max_speakers, device=GPU))
    assert {loss.device.type for loss in losses_of_batch} == {"cuda"}


class FakeGpuForInference(FakeGpu):
    """A tensor may be made from numbers and moved to the GPU; its values are not known there."""

    def dispatch(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(isinstance(each, torch.device) for each in (*args, *(kwargs or {}).values())):
            for each in args:
                if isinstance(each, FakeTensor):
                    each.constant = None  # its value, whose copy would need a real GPU
        return super().dispatch(func, types, args, kwargs)


def folded_on_gpu(value: Any, mode: FakeGpu) -> Any:
    """A folded network, which is tensors and modules, with fake ones on a GPU in place of its own."""
    if isinstance(value, torch.nn.Module):
        fake_on_gpu(value, mode)
    elif isinstance(value, torch.Tensor):
        with mode:
            return torch.empty(value.shape, dtype=value.dtype, device=GPU)
    elif isinstance(value, (list, tuple)):
        return getattr(type(value), "_make", type(value))(folded_on_gpu(each, mode) for each in value)
    elif hasattr(value, "__dict__"):
        vars(value).update(folded_on_gpu(vars(value), mode))
    elif isinstance(value, dict):
        return {key: folded_on_gpu(each, mode) for key, each in value.items()}
    return value


def read(tensor: Any) -> np.ndarray:
    """In place of ``Tensor.numpy``, which reads the memory of the CPU alone."""
    assert tensor.device.type == "cpu", "numpy() of a tensor on the GPU"
    return np.zeros(tuple(tensor.shape), np.float32)


DIARIZERS = {
    "pyannote": ("pyannote", pyannote, (2, 589, 3)),
    "NeMo": ("nemo", lambda: nemo("scratch:compact"), (138, 4)),
    "NeMo as a stream": ("nemo", lambda: nemo("scratch:compact-streaming"), (138, 4)),
    "Nemotron": ("nemotron", nemotron, (1100, 8)),
    "Nemotron as a stream": ("nemotron", lambda: nemotron("low_latency"), (1100, 8)),
}
"""The backend, how to make the network, and the shape of the activity of 11 s."""


@pytest.mark.parametrize("name", DIARIZERS)
def test_a_diarizer_infers_on_the_gpu(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of pyannote's, the segmentation: what is embedded depends on its values."""
    backend, make, shape = DIARIZERS[name]
    audio, network = tmp_path / "a.wav", make()
    soundfile.write(audio, np.zeros(11 * SAMPLE_RATE), SAMPLE_RATE)
    recording = Recording("a", "test", audio, audio, audio)
    diarizer = load_or_skip(backend).diarizer(network, "cpu")
    mode = FakeGpuForInference(1100)
    fake_on_gpu(network, mode)
    if backend == "pyannote":
        segmentation = diarizer.pipeline._segmentation
        segmentation.device = GPU
        fake_on_gpu(segmentation.conversion, mode)
    else:
        diarizer.device = "cuda:0"
    monkeypatch.setattr(torch.Tensor, "numpy", read)
    with mode, torch.backends.cudnn.flags(enabled=False):
        infer = diarizer.segmentation if backend == "pyannote" else diarizer.infer
        inference = infer(recording)
    assert inference["segmentation" if backend == "pyannote" else "activity"].shape == shape


@pytest.mark.parametrize("name", ["CAM++", "WeSpeaker"])
def test_speakers_of_a_block_are_embedded_on_the_gpu_and_read_at_once(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two windows of 10 s, in which two speakers and one speak; embedded as one batch."""
    load_or_skip("pyannote")
    kaldi = pytest.importorskip("torchaudio.compliance.kaldi")
    mode, sizes = FakeGpuForInference(), list[list[int]]()
    if name == "CAM++":
        from diarbench.backends.pyannote.embedding import CamPlusPlusEmbedder

        embedder: Any = CamPlusPlusEmbedder()
        network = folded_on_gpu(embedder._network, mode)

        def one_batch(features: Any, lengths: list[int]) -> Any:
            sizes.append(sorted(lengths))
            return network(features, lengths)

        embedder.__dict__["_network"] = one_batch
    else:
        from pyannote.audio.models.embedding import WeSpeakerResNet34

        from diarbench.backends.pyannote.wespeaker import WeSpeakerEmbedder

        embedder = WeSpeakerEmbedder(WeSpeakerResNet34().eval())
    fake_on_gpu(embedder.model, mode)
    masks = np.zeros((2, 589, 3), dtype=bool)
    masks[0, 100:300, 0] = masks[0, 200:400, 1] = masks[1, :100, 2] = True
    monkeypatch.setattr(torch.Tensor, "numpy", read)
    with mode, torch.inference_mode():
        monkeypatch.setattr(kaldi, "EPSILON", torch.empty(()))
        samples = torch.empty(11 * SAMPLE_RATE, device=GPU)
        embeddings = embedder.embed(samples, masks, 10 * SAMPLE_RATE, SAMPLE_RATE)
    assert embeddings.shape == (2, 3, embedder.dimension)
    assert mode.reads == {"CAM++": 1, "WeSpeaker": 2}[name], "WeSpeaker's embedding of silence too"
    assert sizes == {"CAM++": [[170, 339, 339]], "WeSpeaker": []}[name]
