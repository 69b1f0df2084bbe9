"""The input of the small Sortformer, frame by frame.

A frame has three parts: CAM++'s embedding of the surrounding second, which distinguishes speakers; its mean log mels;
and the output of CAM++'s first block, which distinguishes silence, one speaker and overlap.

CAM++ (Wang et al., "CAM++: a fast and efficient network for speaker verification using context-aware masking", 2023) is
used as published and never trained here; pyannote's pipeline clusters by the same embedding. It runs over a recording
once, with sliding statistics pooling.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from diarbench.backends.camplusplus import network as camplusplus
from diarbench.backends.camplusplus.files import camplusplus_files
from diarbench.backends.camplusplus.network import BLOCK_CHANNELS, MELS, FoldedCamPlusPlus, load
from diarbench.datasets.io.files import digest, sha256_of

SUBSAMPLING = 8
"""Mel frames in one of Sortformer's frames."""

POOLED, STRIDE = 52, 4
"""CAM++ frames (20 ms) in one embedding, about a second, and between two embeddings."""

LEVEL, SPREAD = -8.0, 4.0
"""Typical mean and deviation of the log mels of speech, the same for every recording."""

BLOCK = 2000
"""Mel frames that CAM++ processes at a time (20 s), so that memory does not grow with the recording."""

SOUND = MELS + BLOCK_CHANNELS
"""Size of a frame's features after the embedding."""


def fingerprint(preprocessor: Any) -> str:
    """Changes with everything that `frame_features` depend on besides the waveform.

    ``preprocessor`` is the configuration of NeMo's mel preprocessor.
    """
    code = (Path(__file__), Path(camplusplus.__file__), *camplusplus_files())
    return digest([preprocessor, [sha256_of(file) for file in code]])


@torch.no_grad()
def frame_features(mels: torch.Tensor) -> torch.Tensor:
    """Features (frames / 8, 192 + 80 + 256) of NeMo's mels (frames, 80): embedding, mean mels, CAM++'s first block.

    The three are on a similar scale.
    """
    blocks = -(-len(mels) // BLOCK)
    length = -(-len(mels) // (blocks * SUBSAMPLING)) * SUBSAMPLING
    with torch.autocast(mels.device.type, enabled=False):
        return torch.cat([_block_features(block) for block in mels.float().split(length)])


def _block_features(mels: torch.Tensor) -> torch.Tensor:
    network = _network(mels.device)
    kaldi = mels @ slaney_to_kaldi().to(mels.device).T
    first, frames = network.frames(kaldi[None])
    means, squares = (
        functional.avg_pool1d(power, POOLED, STRIDE, (POOLED - STRIDE) // 2, ceil_mode=True, count_include_pad=False)
        for power in (frames, frames.square())
    )
    deviations = ((squares - means.square()).clamp(min=0) * POOLED / (POOLED - 1)).sqrt()
    # The embedding before its last ReLU separates speakers better.
    voice = network.dense.nonlinear.batchnorm(network.dense.linear(torch.cat([means, deviations], dim=1)))
    levels = functional.avg_pool1d(((mels - LEVEL) / SPREAD).T[None], SUBSAMPLING, ceil_mode=True)
    sound = functional.avg_pool1d(first, STRIDE, ceil_mode=True)
    voice_frames, sound_frames = (functional.layer_norm(part[0].T, (part.shape[1],)) for part in (voice, sound))
    return torch.cat([voice_frames, levels[0].T, sound_frames], dim=1)


@cache
def _network(device: torch.device) -> FoldedCamPlusPlus:
    return FoldedCamPlusPlus(load().to(device))


@cache
def slaney_to_kaldi() -> torch.Tensor:
    """(80, 80): interpolates NeMo's log mels, on Slaney's scale, to Kaldi's scale, which CAM++ was trained on.

    The height of a band cancels out in the mean that is subtracted before CAM++.
    """
    import librosa

    lowest, highest = 1127 * np.log1p(np.array([20, 8000]) / 700)
    kaldi = 700 * np.expm1(np.linspace(lowest, highest, MELS + 2)[1:-1] / 1127)
    slaney = librosa.mel_frequencies(MELS + 2, fmin=0, fmax=8000)[1:-1]
    return torch.from_numpy(np.stack([np.interp(kaldi, slaney, band) for band in np.eye(MELS)], axis=1)).float()
