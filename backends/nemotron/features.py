"""Log mel features of a file, any part of it at a time, so that memory does not grow with the recording."""

from __future__ import annotations

import soundfile
import torch
from transformers import NemotronAsrStreamingFeatureExtractor

from diarbench.datasets.io.audio import SAMPLE_RATE


def mel_features(extractor: NemotronAsrStreamingFeatureExtractor, waveforms: torch.Tensor) -> torch.Tensor:
    """Features (batch, frames, mels) of complete waveforms (batch, samples): one frame per full hop."""
    features = extractor(waveforms.cpu().numpy(), sampling_rate=SAMPLE_RATE)["input_features"]
    return features[:, : waveforms.shape[1] // extractor.hop_length].to(waveforms.device)


class FileFeatures:
    """Features of an open file of 16 kHz mono audio, equal to those that `mel_features` computes from all of it."""

    def __init__(self, extractor: NemotronAsrStreamingFeatureExtractor, file: soundfile.SoundFile) -> None:
        self.extractor, self.file = extractor, file
        self.frames = file.frames // extractor.hop_length

    def __call__(self, begin: int, end: int) -> torch.Tensor:
        """Features (1, end - begin, mels)."""
        hop, half = self.extractor.hop_length, self.extractor.n_fft // 2
        first, last = begin * hop - half, (end - 1) * hop + half
        self.file.seek(max(first, 0))
        samples = self.file.read(last - max(first, 0), dtype="float32")
        features = self.extractor(
            samples[None],
            sampling_rate=SAMPLE_RATE,
            # Only the start of the recording is padded in front, and only its end behind.
            center=first < 0,
            is_last_audio_chunk=last >= self.file.frames,
        )["input_features"]
        skipped = begin if first < 0 else 0
        return features[:, skipped : skipped + end - begin]
