"""The speaker networks that MSDD can stand on: one of NeMo's, such as TitaNet, or CAM++. Neither is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn import functional

from diarbench.backends.msdd.segments import FRAMES_PER_S, SCALES, Scale, frames
from diarbench.datasets.io.audio import SAMPLE_RATE

AT_ONCE = 64
"""Segments in a batch."""


class SpeakerNetwork(Protocol):
    """Embeds segments of speech."""

    def in_window(self, waveform: torch.Tensor, times: np.ndarray) -> torch.Tensor:
        """Embeddings (segments, size) of a training window's samples (n,), for segments (segments, 2) in seconds."""
        ...

    def in_recording(self, waveform: np.ndarray, times: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Embeddings (segments, size) of a recording's samples (n,), for the segments of each scale."""
        ...


class NemoSpeaker:
    """NeMo's ``EncDecSpeakerLabelModel``, with features as in NeMo's MSDD: in training and in inference they differ."""

    def __init__(self, model: Any) -> None:
        self.model = model

    @torch.no_grad()
    def in_window(self, waveform: torch.Tensor, times: np.ndarray) -> torch.Tensor:
        """See SpeakerNetwork. The features are those of the whole window, cut and padded to the longest scale."""
        length = torch.tensor([len(waveform)], device=waveform.device)
        features, _ = self.model.preprocessor(input_signal=waveform[None], length=length)
        longest = int(SCALES[0].window_s * FRAMES_PER_S)
        different, position = np.unique(frames(times), axis=0, return_inverse=True)  # pairs of speakers share segments
        padded = features.new_zeros(len(different), features.shape[1], longest)
        lengths = torch.from_numpy((different[:, 1] - different[:, 0]).clip(max=longest)).to(waveform.device)
        for row, (start, _), size in zip(padded, different, lengths.tolist(), strict=True):
            row[:, :size] = features[0, :, start : start + size]
        batches = zip(padded.split(AT_ONCE), lengths.split(AT_ONCE), strict=True)
        embedded = [self.model.forward_for_export(audio_signal=signal, length=size)[1] for signal, size in batches]
        return torch.cat(embedded)[torch.from_numpy(position.reshape(-1))]

    @torch.inference_mode()
    def in_recording(self, waveform: np.ndarray, times: Sequence[np.ndarray]) -> list[np.ndarray]:
        """See SpeakerNetwork. Each segment has features of its own; one that is shorter than its scale is repeated."""
        return [self._at_scale(waveform, each, scale) for each, scale in zip(times, SCALES, strict=True)]

    def _at_scale(self, waveform: np.ndarray, times: np.ndarray, scale: Scale) -> np.ndarray:
        size = int(scale.window_s * SAMPLE_RATE)
        pieces = [waveform[int(start * SAMPLE_RATE) : int(end * SAMPLE_RATE)][:size] for start, end in times]
        signals = torch.from_numpy(np.stack([_repeated(piece, size) for piece in pieces])).to(self.model.device)
        outputs = [
            self.model(input_signal=part, input_signal_length=torch.full((len(part),), size, device=part.device))[1]
            for part in signals.split(AT_ONCE)
        ]
        embeddings: np.ndarray = torch.cat(outputs).flatten(1).cpu().numpy()
        return embeddings


def _repeated(piece: np.ndarray, size: int) -> np.ndarray:
    """A signal, repeated to a size; as in NeMo, the last part of it comes at the end."""
    repeats, rest = divmod(size, len(piece))
    return np.concatenate([piece] * repeats + ([piece[-rest:]] if rest else []))


class CamPlusPlusSpeaker:
    """CAM++, as in pyannote's default pipeline; always computed on the CPU.

    The network runs once over the audio, in pieces, and a segment's embedding is pooled from its frames, since the
    segments of five scales and of all pairs of speakers would be the same audio thirty times.
    """

    PIECE_S, OUTPUTS_PER_S = 10, 50

    def __init__(self) -> None:
        from diarbench.backends.camplusplus.network import FoldedCamPlusPlus, load

        self.network = FoldedCamPlusPlus(load())

    def in_window(self, waveform: torch.Tensor, times: np.ndarray) -> torch.Tensor:
        """See SpeakerNetwork."""
        return self._embed(waveform.cpu(), times).clone().to(waveform.device)

    def in_recording(self, waveform: np.ndarray, times: Sequence[np.ndarray]) -> list[np.ndarray]:
        """See SpeakerNetwork."""
        counts = [len(each) for each in times]
        return [part.numpy() for part in self._embed(torch.from_numpy(waveform), np.concatenate(times)).split(counts)]

    @torch.no_grad()
    def _embed(self, waveform: torch.Tensor, times: np.ndarray) -> torch.Tensor:
        pieces = list(waveform.split(self.PIECE_S * SAMPLE_RATE))
        if len(pieces) > 1 and len(pieces[-1]) < SAMPLE_RATE:  # too short to be embedded by itself
            pieces[-2:] = [torch.cat(pieces[-2:])]
        outputs = torch.cat([self._frames(piece) for piece in pieces], dim=1)
        starts = np.floor(times[:, 0] * self.OUTPUTS_PER_S).astype(int).clip(max=outputs.shape[1] - 2)
        ends = np.maximum(np.floor(times[:, 1] * self.OUTPUTS_PER_S).astype(int), starts + 2)  # pooling needs two
        pooled = [self.network.stats(outputs[None, :, start:end]) for start, end in zip(starts, ends, strict=True)]
        return torch.cat([self.network.dense(each) for each in pooled])

    def _frames(self, piece: torch.Tensor) -> torch.Tensor:
        """The network's last layer before pooling (channels, frames of 20 ms)."""
        import torchaudio.compliance.kaldi as kaldi

        from diarbench.backends.camplusplus.network import MELS

        padded = functional.pad(piece, (0, 240))  # so that the frames of a piece last as long as it does
        features = kaldi.fbank(padded[None] * 32768, num_mel_bins=MELS, sample_frequency=SAMPLE_RATE, dither=0.0)
        return self.network.frames(features[None])[1][0]
