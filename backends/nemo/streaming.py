"""Sortformer in its streaming form on a recording of any length: features in chunks, memory that does not grow.

After Medennikov et al., "Streaming Sortformer: Speaker cache-based online speaker diarization with arrival-time
ordering" (2025). NeMo's own ``forward`` makes the features of the whole recording first; here each step's are read
from the file. The activity is the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from diarbench.datasets.io.audio import SAMPLE_RATE
from diarbench.datasets.io.errors import UserError
from nemo.collections.asr.models import SortformerEncLabelModel

MARGIN = 2
"""Feature frames read on either side of those that are wanted, so that a window of the FFT sees the same samples."""

STATISTICS_FRAMES = 6000
"""Feature frames at a time while their mean and deviation are gathered: a minute."""

TINY = 1e-5
"""What NeMo adds to a deviation."""


@dataclass(frozen=True)
class Latency:
    """How far the answer lags behind the audio, before any computing; seconds."""

    chunk_s: float
    right_context_s: float

    @property
    def total_s(self) -> float:
        """Of a frame at a chunk's start: the worst."""
        return self.chunk_s + self.right_context_s

    @property
    def text(self) -> str:
        """For a report."""
        return (
            f"recordings were heard in the streaming form, {self.chunk_s:g} s at a time and {self.right_context_s:g} "
            f"s ahead: live, an answer would come {self.right_context_s:g} to {self.total_s:g} s late, and computing"
        )


def latency(model: SortformerEncLabelModel) -> Latency:
    """The latency that a network's streaming parameters come to."""
    modules, frame_s = model.sortformer_modules, _hop_s(model) * model.encoder.subsampling_factor
    return Latency(modules.chunk_len * frame_s, modules.chunk_right_context * frame_s)


@torch.inference_mode()
def stream(model: SortformerEncLabelModel, audio: Path) -> np.ndarray:
    """Activity (frames, speakers), float32, of a 16 kHz mono file, as ``forward`` gives it in streaming mode.

    Raises UserError where the network's features are normalised in a way that has no form in chunks.
    """
    modules, factor = model.sortformer_modules, int(model.encoder.subsampling_factor)
    state = modules.init_streaming_state(batch_size=1, async_streaming=model.async_streaming, device=model.device)
    nothing = torch.zeros(1, 0, modules.n_spk, device=model.device)
    found = []
    with soundfile.SoundFile(str(audio)) as file:
        features = _Features(model, file)
        for begin in range(0, features.frames, modules.chunk_len * factor):
            end = min(begin + modules.chunk_len * factor, features.frames)
            left = min(modules.chunk_left_context * factor, begin)
            right = min(modules.chunk_right_context * factor, features.frames - end)
            chunk = features.normalised(begin - left, end + right).transpose(1, 2)
            state, activity = model.forward_streaming_step(
                processed_signal=chunk,
                processed_signal_length=torch.tensor([chunk.shape[1]], device=model.device),
                streaming_state=state,
                total_preds=nothing,
                left_offset=left,
                right_offset=right,
            )
            found.append(activity[0].float().cpu().numpy())
    return np.concatenate(found) if found else np.zeros((0, modules.n_spk), np.float32)


class _Features:
    """Mel features of any stretch of a file, as the network's preprocessor makes them of the whole."""

    def __init__(self, model: SortformerEncLabelModel, file: soundfile.SoundFile) -> None:
        settings: Any = model._cfg.preprocessor
        self.file, self.device = file, model.device
        self.hop = round(settings.window_stride * SAMPLE_RATE)
        self.frames = file.frames // self.hop
        self.preprocessor = model.from_config_dict({**settings, "normalize": "NA", "pad_to": 0}).to(model.device).eval()
        self.mean: Any = 0.0
        self.deviation: Any = 1.0
        normalisation = settings.get("normalize", "per_feature")
        if normalisation == "per_feature":
            self._gather()
        elif normalisation not in ("NA", None, False):
            raise UserError(
                f"this Sortformer normalises its features by {normalisation!r}, which cannot be had in chunks; "
                "choose a network that normalises them per feature or not at all"
            )

    def normalised(self, begin: int, end: int) -> torch.Tensor:
        """Frames (1, mels, end - begin)."""
        return (self._raw(begin, end) - self.mean) / self.deviation

    def _raw(self, begin: int, end: int) -> torch.Tensor:
        first = max(0, begin - MARGIN)
        self.file.seek(first * self.hop)
        # At the file's end there is no margin, and none is wanted.
        samples = self.file.read((end + MARGIN - first) * self.hop, dtype="float32")
        waveform = torch.from_numpy(samples)[None].to(self.device)
        features, _ = self.preprocessor(
            input_signal=waveform, length=torch.tensor([len(samples)], device=waveform.device)
        )
        return features[:, :, begin - first : end - first]

    def _gather(self) -> None:
        """Mean and deviation of each mel over the whole file, in a first pass."""
        total = squares = torch.zeros(())
        for begin in range(0, self.frames, STATISTICS_FRAMES):
            block = self._raw(begin, min(begin + STATISTICS_FRAMES, self.frames)).double()
            total, squares = total + block.sum(-1, keepdim=True), squares + block.square().sum(-1, keepdim=True)
        mean = total / self.frames
        variance = (squares - self.frames * mean.square()) / (self.frames - 1)
        self.mean, self.deviation = mean.float(), variance.clamp(min=0).sqrt().float() + TINY


def _hop_s(model: SortformerEncLabelModel) -> float:
    return float(model._cfg.preprocessor.window_stride)
