"""Sortformer's streaming form on a recording of any length, with constant memory.

After Medennikov et al., "Streaming Sortformer: Speaker cache-based online speaker diarization with arrival-time
ordering" (2025). NeMo's own ``forward`` computes the features of the whole recording first; here, each step reads its
chunk from the file. The activity is the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from diarbench.backends.nemo.decoding import Latency
from diarbench.backends.nemo.toolkit import SortformerEncLabelModel
from diarbench.backends.threads import adapt_threads
from diarbench.datasets.io.audio import SAMPLE_RATE
from diarbench.datasets.io.errors import UserError

MARGIN = 2
"""Extra feature frames read on either side of a chunk, so that its FFT windows cover the same samples."""

STATISTICS_FRAMES = 6000
"""Feature frames per block when computing the mean and standard deviation: one minute."""

EPSILON = 1e-5
"""NeMo adds this to each standard deviation."""


def latency(model: SortformerEncLabelModel) -> Latency:
    """The latency that follows from a network's streaming parameters."""
    modules, frame_s = model.sortformer_modules, _hop_s(model) * model.encoder.subsampling_factor
    return Latency(modules.chunk_len * frame_s, modules.chunk_right_context * frame_s)


@torch.inference_mode()
def stream(model: SortformerEncLabelModel, audio: Path) -> np.ndarray:
    """Activity (frames, speakers), float32, of a 16 kHz mono file, as ``forward`` gives it in streaming mode.

    Raises UserError where the network's feature normalisation cannot be computed in chunks.
    """
    modules, factor = model.sortformer_modules, int(model.encoder.subsampling_factor)
    state = modules.init_streaming_state(batch_size=1, async_streaming=model.async_streaming, device=model.device)
    no_activity = torch.zeros(1, 0, modules.n_spk, device=model.device)
    chunks = []
    with soundfile.SoundFile(str(audio)) as file:
        features = _Features(model, file)
        for begin in range(0, features.frames, modules.chunk_len * factor):
            end = min(begin + modules.chunk_len * factor, features.frames)
            adapt_threads()
            left = min(modules.chunk_left_context * factor, begin)
            right = min(modules.chunk_right_context * factor, features.frames - end)
            chunk = features.normalised(begin - left, end + right).transpose(1, 2)
            state, activity = model.forward_streaming_step(
                processed_signal=chunk,
                processed_signal_length=torch.tensor([chunk.shape[1]], device=model.device),
                streaming_state=state,
                total_preds=no_activity,
                left_offset=left,
                right_offset=right,
            )
            chunks.append(activity[0].float())  # read at the end: nothing waits for a GPU between two chunks
    array: np.ndarray = torch.cat([no_activity[0], *chunks]).cpu().numpy()
    return array


class _Features:
    """Mel features of any part of a file, equal to those that the preprocessor computes from the whole file."""

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
            self._compute_statistics()
        elif normalisation not in ("NA", None, False):
            raise UserError(
                f"this Sortformer normalises its features by {normalisation!r}, which cannot be computed in "
                "chunks; use a network that normalises them per feature or not at all"
            )

    def normalised(self, begin: int, end: int) -> torch.Tensor:
        """Normalised features (1, mels, end - begin)."""
        return (self._raw(begin, end) - self.mean) / self.deviation

    def _raw(self, begin: int, end: int) -> torch.Tensor:
        first = max(0, begin - MARGIN)
        self.file.seek(first * self.hop)
        # At the end of the file there is no margin, exactly as when the whole file is processed.
        samples = self.file.read((end + MARGIN - first) * self.hop, dtype="float32")
        waveform = torch.from_numpy(samples)[None].to(self.device)
        features, _ = self.preprocessor(
            input_signal=waveform, length=torch.tensor([len(samples)], device=waveform.device)
        )
        return features[:, :, begin - first : end - first]

    def _compute_statistics(self) -> None:
        """Mean and standard deviation of each mel over the whole file, in a first pass."""
        sums = squares = torch.zeros(())
        for begin in range(0, self.frames, STATISTICS_FRAMES):
            block = self._raw(begin, min(begin + STATISTICS_FRAMES, self.frames)).double()
            sums, squares = sums + block.sum(-1, keepdim=True), squares + block.square().sum(-1, keepdim=True)
        mean = sums / self.frames
        variance = (squares - self.frames * mean.square()) / (self.frames - 1)
        self.mean, self.deviation = mean.float(), variance.clamp(min=0).sqrt().float() + EPSILON


def _hop_s(model: SortformerEncLabelModel) -> float:
    return float(model._cfg.preprocessor.window_stride)
