"""What the small Sortformer hears of a frame: CAM++'s embedding of the second around it, which tells whose voice it is,
and the level of its mels and what CAM++'s first block makes of it, which tell whether nobody speaks, or several.

CAM++ (Wang et al., "CAM++: a fast and efficient network for speaker verification using context-aware masking", 2023)
as published, and never trained here; it is the one that pyannote's pipeline clusters by. It goes over a recording
once; its statistics pooling slides.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from diarbench.backends import camplusplus
from diarbench.backends.camplusplus import BLOCK_CHANNELS, MELS, FoldedCamPlusPlus, load
from diarbench.backends.weights import camplusplus_files
from diarbench.reports.records import digest, sha256_of

EIGHT = 8
"""Mel frames in a frame of Sortformer's."""
POOLED, STRIDE = 52, 4
"""CAM++'s frames of 20 ms in an embedding, some second of them, and from one embedding to the next."""
LEVEL, SPREAD = -8.0, 4.0
"""What log mels of speech are around, whatever the recording."""
BLOCK = 2000
"""Mel frames that CAM++ hears at a time, at most: 20 s, so that memory does not grow with a recording."""
SOUND = MELS + BLOCK_CHANNELS
"""Of a frame's features, those that come after the embedding."""


def made_of(preprocessor: Any) -> str:
    """Changes with whatever `features` follow from, beside the waveform: NeMo's mels are made by this preprocessor."""
    code = (Path(__file__), Path(camplusplus.__file__), *camplusplus_files())
    return digest([preprocessor, [sha256_of(file) for file in code]])


@torch.no_grad()
def features(mels: torch.Tensor) -> torch.Tensor:
    """Of NeMo's mel frames (frames, 80), for each eighth (frames / 8, 192 + 80 + 256): CAM++'s embedding around it,
    the mean of its mels, which tells where speech begins and ends, and CAM++'s first block, all on a like scale.
    """
    blocks = -(-len(mels) // BLOCK)
    length = -(-len(mels) // (blocks * EIGHT)) * EIGHT
    with torch.autocast(mels.device.type, enabled=False):
        return torch.cat([_of_block(block) for block in mels.float().split(length)])


def _of_block(mels: torch.Tensor) -> torch.Tensor:
    network = _network(mels.device)
    on_kaldi_s = mels @ _kaldi_of_slaney().to(mels.device).T
    first, frames = (made[None] for made in network.frames((on_kaldi_s - on_kaldi_s.mean(dim=0, keepdim=True))[None]))
    means, squares = (
        functional.avg_pool1d(power, POOLED, STRIDE, (POOLED - STRIDE) // 2, ceil_mode=True, count_include_pad=False)
        for power in (frames, frames.square())
    )
    deviations = ((squares - means.square()).clamp(min=0) * POOLED / (POOLED - 1)).sqrt()
    # Before its last ReLU an embedding tells more.
    voice = network.dense.nonlinear.batchnorm(network.dense.linear(torch.cat([means, deviations], dim=1)))
    levels = functional.avg_pool1d(((mels - LEVEL) / SPREAD).T[None], EIGHT, ceil_mode=True)
    sound = functional.avg_pool1d(first, STRIDE, ceil_mode=True)
    of_network = (functional.layer_norm(found[0].T, (found.shape[1],)) for found in (voice, sound))
    return torch.cat([next(of_network), levels[0].T, next(of_network)], dim=1)


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
