"""A faster computation of the segmentation and embeddings of pyannote.audio's pipeline.

Neighbouring windows share nine tenths of their samples, so the parts that do not depend on the window (the first
convolution, the filter banks) are computed once. The rest is computed by window or batch, so the complete recording is
never in memory.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soundfile
import torch
from torch.nn import functional

from diarbench.backends.threads import adapt_threads
from diarbench.datasets.io.audio import SAMPLE_RATE
from pyannote.audio.models.segmentation import PyanNet
from pyannote.audio.utils.reproducibility import fix_reproducibility

BATCH_SIZE = 16
"""Windows per batch; of the values from 8 to 64 this is the fastest on a CPU."""


def segment(inference: Any, audio: Path, batch_size: int = BATCH_SIZE) -> np.ndarray:
    """Scores (windows, frames, speakers) of a pyannote ``Inference`` without aggregation, for a 16 kHz mono file.

    The last window is padded with silence, as in ``Inference``; so is a recording shorter than a window.
    """
    window, step = _samples(inference)
    model = inference.model
    shared_convolution = isinstance(model, PyanNet) and step % model.sincnet.stride == 0
    if shared_convolution:
        model = copy.copy(model)
        model._modules = {**model._modules, "sincnet": SlidingSincNet(model.sincnet, window, step)}
    fix_reproducibility(inference.device)
    scores = []
    with torch.inference_mode():
        for _, block in blocks(audio, window, step, batch_size):
            samples = torch.from_numpy(block)[None, None].to(inference.device)
            if not shared_convolution:
                samples = samples[0].unfold(1, window, step).transpose(0, 1)
            scores.append(inference.conversion(model(samples)).cpu().numpy())
    return np.concatenate(scores)


def embed(
    inference: Any,
    embedder: Embedder,
    audio: Path,
    active: np.ndarray,
    exclude_overlap: bool,
    batch_size: int = BATCH_SIZE,
) -> np.ndarray:
    """Speaker embeddings (windows, speakers, dimension) for an activity of 0 and 1 (windows, frames, speakers).

    As in ``SpeakerDiarization.get_embeddings``, ``exclude_overlap`` computes an embedding from the frames in which only
    this speaker is active, unless these are too few.
    """
    window, step = _samples(inference)
    frames = active.shape[1]
    masks = active > 0.5
    if exclude_overlap:
        fewest = math.ceil(frames * embedder.shortest_samples / window)
        alone = masks & (active.sum(axis=2, keepdims=True) < 2)
        masks = np.where(alone.sum(axis=1, keepdims=True) > fewest, alone, masks)
    embeddings = []
    with torch.inference_mode():
        for first, block in blocks(audio, window, step, batch_size):
            samples = torch.from_numpy(block).to(inference.device)
            embeddings.append(embedder.embed(samples, masks[first : first + batch_size], window, step))
    return np.concatenate(embeddings)


class Embedder(Protocol):
    """A speaker embedding, computed for all windows of a block at once."""

    model: Any
    """The same embedding as a model of pyannote.audio."""
    dimension: int
    shortest_samples: int
    """The fewest samples that the model accepts."""

    def embed(self, samples: torch.Tensor, masks: np.ndarray, window: int, step: int) -> np.ndarray:
        """Embeddings (windows, speakers, dimension) for samples (n,) and masks (windows, frames, speakers)."""
        ...


def blocks(audio: Path, window: int, step: int, batch_size: int) -> Iterator[tuple[int, np.ndarray]]:
    """For each batch of overlapping windows, the index of its first window and its samples (float32)."""
    with soundfile.SoundFile(str(audio)) as file:
        count = 1 + max(0, math.ceil((file.frames - window) / step))
        for first in range(0, count, batch_size):
            file.seek(first * step)
            samples = (min(batch_size, count - first) - 1) * step + window
            adapt_threads()
            yield first, file.read(samples, dtype="float32", fill_value=0.0)


class SlidingSincNet(torch.nn.Module):
    """SincNet applied to the overlapping windows of a block (1, 1, samples); returns (windows, features, frames).

    SincNet normalises each window to zero mean and unit variance before the first convolution. The convolution is
    linear, so here it is applied once to the block, and each window's mean and variance are applied to its output.
    """

    def __init__(self, sincnet: Any, window: int, step: int) -> None:
        super().__init__()
        self.sincnet, self.window, self.step = sincnet, window, step

    def forward(self, block: torch.Tensor) -> torch.Tensor:
        sincnet: Any = self.sincnet
        norm, filters = sincnet.wav_norm1d, sincnet.conv1d[0].filterbank.filters()
        variance, mean = torch.var_mean(block[0, 0].unfold(0, self.window, self.step), dim=1, correction=0)
        scales = norm.weight * torch.rsqrt(variance + norm.eps)
        shifts = norm.bias - mean * scales
        filtered = functional.conv1d(block, filters, stride=sincnet.stride)
        constant = filters.sum(dim=(1, 2))[:, None]  # the response to a signal of ones
        length = (self.window - filters.shape[-1]) // sincnet.stride + 1
        features = []
        # One window at a time, so that the values between two layers stay in the processor's cache.
        for index, (scale, shift) in enumerate(zip(scales, shifts, strict=True)):
            start = index * self.step // sincnet.stride
            outputs = filtered[:, :, start : start + length] * scale
            outputs = outputs.add_(shift * constant).abs_()
            for layer, (pool, norm1d) in enumerate(zip(sincnet.pool1d, sincnet.norm1d, strict=True)):
                outputs = sincnet.conv1d[layer](outputs) if layer else outputs
                outputs = functional.leaky_relu(norm1d(pool(outputs)))
            features.append(outputs)
        return torch.cat(features)


def _samples(inference: Any) -> tuple[int, int]:
    """The length and step of a window in samples."""
    return round(inference.duration * SAMPLE_RATE), round(inference.step * SAMPLE_RATE)
