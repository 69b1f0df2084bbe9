"""A Sortformer that is told whose voice it hears: CAM++'s embedding of the second around each frame, beside the mels.

CAM++ (Wang et al., "CAM++: a fast and efficient network for speaker verification using context-aware masking", 2023)
as published, and never trained here; it is the one that pyannote's pipeline clusters by. It goes over a recording
once; its statistics pooling slides.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch.nn import functional

from diarbench.backends.camplusplus import DIMENSION, MELS, FoldedCamPlusPlus, load
from nemo.collections.asr.models import SortformerEncLabelModel

EIGHT = 8
"""Mel frames in a frame of Sortformer's."""
POOLED, STRIDE = 52, 4
"""CAM++'s frames of 20 ms in an embedding, some second of them, and from one embedding to the next."""
LEVEL, SPREAD = -8.0, 4.0
"""What log mels of speech are around, whatever the recording."""
BLOCK = 2000
"""Mel frames that CAM++ hears at a time, at most: 20 s, so that memory does not grow with a recording."""


class VoiceSortformer(SortformerEncLabelModel):
    """NeMo's Sortformer with voices in what the encoder's subsampling makes, and so in what a stream's cache holds."""

    def __init__(self, cfg: DictConfig, trainer: Any = None) -> None:
        super().__init__(cfg=cfg, trainer=trainer)
        self.encoder.pre_encode = VoiceSubsampling(self.encoder.d_model)


class VoiceSubsampling(torch.nn.Module):
    """Mels (batch, frames, 80), not normalised, and lengths, to (batch, frames / 8, d_model) and lengths.

    A frame is the voice around it and the mean of its mels, which tells where speech begins and ends.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.voice = torch.nn.Linear(DIMENSION, d_model)
        self.mels = torch.nn.Linear(MELS, d_model)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        levels = (x - LEVEL) / SPREAD
        means = functional.avg_pool1d(levels.transpose(1, 2), EIGHT, ceil_mode=True).transpose(1, 2)
        heard = x.new_zeros(*means.shape[:2], DIMENSION)
        for row, mels, frames in zip(heard, x, lengths.tolist(), strict=True):
            found = embeddings(mels[: int(frames)])
            row[: len(found)] = found
        return self.voice(heard) + self.mels(means), -(-lengths // EIGHT)


@torch.no_grad()
def embeddings(mels: torch.Tensor) -> torch.Tensor:
    """CAM++'s embedding (frames / 8, 192) around each eighth of NeMo's mel frames (frames, 80), standardised."""
    blocks = -(-len(mels) // BLOCK)
    length = -(-len(mels) // (blocks * EIGHT)) * EIGHT
    with torch.autocast(mels.device.type, enabled=False):
        return torch.cat([_of_block(block) for block in mels.float().split(length)])


def _of_block(mels: torch.Tensor) -> torch.Tensor:
    network = _network(mels.device)
    features = mels @ _kaldi_of_slaney().to(mels.device).T
    frames = network.frames((features - features.mean(dim=0, keepdim=True))[None])[None]
    means, squares = (
        functional.avg_pool1d(power, POOLED, STRIDE, (POOLED - STRIDE) // 2, ceil_mode=True, count_include_pad=False)
        for power in (frames, frames.square())
    )
    deviations = ((squares - means.square()).clamp(min=0) * POOLED / (POOLED - 1)).sqrt()
    # Before its last ReLU an embedding tells more.
    found = network.dense.nonlinear.batchnorm(network.dense.linear(torch.cat([means, deviations], dim=1)))
    return functional.layer_norm(found[0].T, (DIMENSION,))


@cache
def _network(device: torch.device) -> FoldedCamPlusPlus:
    return FoldedCamPlusPlus(load().to(device))


@cache
def _kaldi_of_slaney() -> torch.Tensor:
    """(80, 80): log mels on Kaldi's scale, which CAM++ hears, of log mels on Slaney's, which NeMo makes; by lines.

    A band's height cancels in the mean that CAM++ takes off.
    """
    import librosa

    lowest, highest = 1127 * np.log1p(np.array([20, 8000]) / 700)
    kaldi = 700 * np.expm1(np.linspace(lowest, highest, MELS + 2)[1:-1] / 1127)
    slaney = librosa.mel_frequencies(MELS + 2, fmin=0, fmax=8000)[1:-1]
    return torch.from_numpy(np.stack([np.interp(kaldi, slaney, band) for band in np.eye(MELS)], axis=1)).float()
