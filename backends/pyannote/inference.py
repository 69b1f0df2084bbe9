"""Segmentation and embeddings of a recording, window by window, as pyannote.audio's pipeline makes them, and sooner.

Neighbouring windows share nine tenths of their samples. What does not depend on the window (the first convolution, the
filter banks) is computed once, the rest a window or a batch at a time, so that neither the recording nor its windows
are ever held in memory as a whole.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch.nn import functional

from diarbench.datasets.io.audio import SAMPLE_RATE
from pyannote.audio.models.segmentation import PyanNet
from pyannote.audio.utils.reproducibility import fix_reproducibility

BATCH_SIZE = 16
"""Windows at a time: of 8 to 64 the fastest on a CPU."""


def segment(inference: Any, audio: Path, batch_size: int = BATCH_SIZE) -> np.ndarray:
    """Scores (windows, frames, speakers) of a pyannote ``Inference`` that does not aggregate, on a 16 kHz mono file.

    The last window, and one that is longer than the recording, is padded with silence, as ``Inference`` does.
    """
    window, step = _samples(inference)
    model = inference.model
    shares = isinstance(model, PyanNet) and step % model.sincnet.stride == 0
    if shares:
        model = copy.copy(model)
        model._modules = {**model._modules, "sincnet": SlidingSincNet(model.sincnet, window, step)}
    fix_reproducibility(inference.device)
    scores = []
    with torch.inference_mode():
        for _, block in blocks(audio, window, step, batch_size):
            samples = torch.from_numpy(block)[None, None].to(inference.device)
            if not shares:
                samples = samples[0].unfold(1, window, step).transpose(0, 1)
            scores.append(inference.conversion(model(samples)).cpu().numpy())
    return np.concatenate(scores)


def embed(pipeline: Any, audio: Path, active: np.ndarray, batch_size: int = BATCH_SIZE) -> np.ndarray:
    """Embeddings (windows, speakers, dimension) of the speakers that are active (windows, frames, speakers) in 0/1.

    As ``SpeakerDiarization.get_embeddings`` makes them: of the frames where a speaker is alone, or, where these are
    too few, of all of the speaker's. Of one who is silent in a window, or nearly, the embedding is NaN.
    """
    model = pipeline._embedding.model_
    window, step = _samples(pipeline._segmentation)
    windows, frames, speakers = active.shape
    fewest = math.ceil(frames * model.shortest_samples / window)
    alone = active * (active.sum(axis=2, keepdims=True) < 2)
    masks = np.where(alone.sum(axis=1, keepdims=True) > fewest, alone, active) > 0.5
    network = model.folded()
    embeddings = np.full((windows, speakers, model.dimension), np.nan, dtype=np.float32)
    with torch.inference_mode():
        for first, block in blocks(audio, window, step, batch_size):
            some = range(min(batch_size, windows - first))
            if not masks[first : first + len(some)].any():
                continue
            samples = torch.from_numpy(block).to(pipeline._embedding.device)
            for index, features in zip(some, model.sliding_features(samples, window, step), strict=True):
                for speaker in np.flatnonzero(masks[first + index].any(axis=0)):
                    mask = torch.from_numpy(masks[first + index, :, speaker]).to(samples.device)
                    embeddings[first + index, speaker] = model.embedding(features, mask, network).cpu().numpy()
    return embeddings


def blocks(audio: Path, window: int, step: int, batch_size: int) -> Iterator[tuple[int, np.ndarray]]:
    """The samples that each batch of overlapping windows covers, float32, with the number of its first window."""
    with soundfile.SoundFile(str(audio)) as file:
        count = 1 + max(0, math.ceil((file.frames - window) / step))
        for first in range(0, count, batch_size):
            file.seek(first * step)
            covered = (min(batch_size, count - first) - 1) * step + window
            yield first, file.read(covered, dtype="float32", fill_value=0.0)


class SlidingSincNet(torch.nn.Module):
    """SincNet on the overlapping windows of a block (1, 1, samples): (windows, features, frames).

    Each window is normalised to zero mean and unit variance before the first convolution. That convolution is
    linear, so it is applied to the block as it is, and each window's mean and variance to its part of the outcome.
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
        constant = filters.sum(dim=(1, 2))[:, None]  # what the filters make of a signal of ones
        length = (self.window - filters.shape[-1]) // sincnet.stride + 1
        features = []
        # A window at a time, so that what lies between two layers stays in the processor's cache.
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
    """A window's length and step."""
    return round(inference.duration * SAMPLE_RATE), round(inference.step * SAMPLE_RATE)
