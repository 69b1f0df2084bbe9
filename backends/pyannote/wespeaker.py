"""The WeSpeaker ResNet34 embedding of the published pipelines: read without running code, computed once a window."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import ConfigDict, Field, ValidationError
from torch.torch_version import TorchVersion

from diarbench.backends.checkpoints import load_tensors
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.records import Record, first_problem
from pyannote.audio.core.task import Problem, Resolution, Specifications
from pyannote.audio.models.embedding import WeSpeakerResNet34

SAMPLES_PER_MS = 16


class _Hyperparameters(Record):
    """What a checkpoint may say of its network; its size is fixed."""

    model_config = ConfigDict(strict=True)

    sample_rate: Literal[16_000] = 16_000
    num_channels: Literal[1] = 1
    num_mel_bins: Literal[80] = 80
    frame_length: float = Field(default=25.0, ge=5, le=100)
    frame_shift: float = Field(default=10.0, ge=5, le=100)
    dither: float = Field(default=0.0, ge=0, le=0)
    window_type: Literal["hamming", "hanning", "povey", "rectangular", "blackman"] = "hamming"
    use_energy: Literal[False] = False
    round_to_power_of_two: Literal[True] = True
    snip_edges: Literal[True] = True
    fbank_centering_span: None = None


def load_wespeaker(path: Path) -> WeSpeakerResNet34:
    """The network in a checkpoint of pyannote.audio, ready for inference.

    Raises UserError where the file holds another network, or anything but tensors and plain values.
    """
    content = load_tensors(path, (Specifications, Problem, Resolution, TorchVersion))
    try:
        kind = content["pyannote.audio"]["architecture"]["class"]
        specifications, options = content["pyannote.audio"]["specifications"], dict(content["hyper_parameters"])
        tensors = dict(content["state_dict"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not a complete checkpoint of pyannote.audio ({error!r})") from error
    if kind != WeSpeakerResNet34.__name__:
        raise UserError(f"{path}: holds a {str(kind)[:80]}; the embedding must be a {WeSpeakerResNet34.__name__}")
    try:
        _Hyperparameters.model_validate(options)
    except ValidationError as error:
        raise UserError(f"{path}: refused: its hyper_parameters: {first_problem(error)}") from error
    # The last three cannot be chosen in this class, and have the only value that is accepted.
    model = WeSpeakerResNet34(**{key: options[key] for key in options if key in _CHOSEN})
    wanted = model.state_dict()
    for name, tensor in wanted.items():
        if getattr(tensors.get(name), "shape", None) != tensor.shape:
            raise UserError(f"{path}: its weights are not those of a {WeSpeakerResNet34.__name__} ({name})")
    model.load_state_dict({name: tensors[name] for name in wanted})
    model.specifications = specifications
    return model.eval()


_CHOSEN = _Hyperparameters.model_fields.keys() - {"round_to_power_of_two", "snip_edges", "fbank_centering_span"}


class WeSpeakerEmbedder:
    """Embeddings of overlapping windows, equal to those of pyannote.audio's pipeline.

    The pipeline runs the network once for each speaker of a window; only the pooling depends on the speaker, so here
    it runs once for all of them, and not at all where nobody speaks.
    """

    def __init__(self, model: WeSpeakerResNet34) -> None:
        self.model: Any = model
        self.dimension = int(model.dimension)
        self.shortest_samples = int(model.hparams["frame_length"] * SAMPLES_PER_MS)

    def embed(self, samples: torch.Tensor, masks: np.ndarray, window: int, step: int) -> np.ndarray:
        """Embeddings (windows, speakers, dimension) of a block of samples (n,) for masks (windows, frames, speakers).

        Of a speaker without frames it is the network's embedding of nothing, as in the pipeline.
        """
        windows, _, speakers = masks.shape
        waveforms = samples.unfold(0, window, step)[:windows, None]
        weights = torch.from_numpy(masks.transpose(0, 2, 1).astype(np.float32)).to(samples.device)
        of_silence = self.model.resnet.seg_1.bias  # all statistics are 0
        embeddings = np.tile(of_silence.detach().cpu().numpy(), (windows, speakers, 1))
        spoken = np.flatnonzero(masks.any(axis=(1, 2)))
        # On a CPU, one window at a time is as fast and takes less memory.
        size = max(len(spoken), 1) if samples.is_cuda else 1
        for first in range(0, len(spoken), size):
            part = spoken[first : first + size]
            frames = self.model.forward_frames(waveforms[part])
            embeddings[part] = self.model.forward_embedding(frames, weights=weights[part]).cpu().numpy()
        return embeddings
