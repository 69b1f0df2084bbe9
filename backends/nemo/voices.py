"""A Sortformer that is told whose voice it hears: of CAM++, the embedding of the second around each frame, by which
attention goes, and what its first block makes of the frame, which tells where two speak at once.

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
from omegaconf import DictConfig, OmegaConf
from torch.nn import functional

from diarbench.backends import camplusplus
from diarbench.backends.camplusplus import BLOCK_CHANNELS, DIMENSION, MELS, FoldedCamPlusPlus, load
from diarbench.backends.weights import camplusplus_files
from diarbench.reports.records import digest, sha256_of
from nemo.collections.asr.models import SortformerEncLabelModel
from nemo.collections.common.parts import form_attention_mask

EIGHT = 8
"""Mel frames in a frame of Sortformer's."""
VOICE = 96
"""Of a frame's numbers, those that the voice comes to: the first."""
SHARPEST = 10.0
"""How much a head's attention goes by voices, at most: from nothing to this, a head's own."""
POOLED, STRIDE = 52, 4
"""CAM++'s frames of 20 ms in an embedding, some second of them, and from one embedding to the next."""
LEVEL, SPREAD = -8.0, 4.0
"""What log mels of speech are around, whatever the recording."""
BLOCK = 2000
"""Mel frames that CAM++ hears at a time, at most: 20 s, so that memory does not grow with a recording."""


class VoiceSortformer(SortformerEncLabelModel):
    """NeMo's Sortformer with voices in what the encoder's subsampling makes, and so in what a stream's cache holds.

    To each head's scores in the transformer the cosine of two frames' voices is added, times a number of its own.
    """

    def __init__(self, cfg: DictConfig, trainer: Any = None) -> None:
        super().__init__(cfg=cfg, trainer=trainer)
        self.encoder.pre_encode = VoiceSubsampling(self.encoder.d_model)
        heads = self.transformer_encoder.layers[0].first_sub_layer.num_attention_heads
        self.register_buffer("sharpness", torch.linspace(0, SHARPEST, heads)[:, None, None], persistent=False)

    def frontend_encoder(
        self, processed_signal: torch.Tensor, processed_signal_length: torch.Tensor, bypass_pre_encode: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """NeMo's, with each frame's voice behind what the encoder makes of it."""
        frames, lengths = processed_signal, processed_signal_length
        if not bypass_pre_encode:
            frames, lengths = self.encoder.pre_encode(x=frames.transpose(1, 2), lengths=lengths)
        encoded, lengths = super().frontend_encoder(frames, lengths, bypass_pre_encode=True)
        return torch.cat([encoded, frames[..., :VOICE]], dim=-1), lengths

    def forward_infer(self, emb_seq: torch.Tensor, emb_seq_length: torch.Tensor) -> torch.Tensor:
        """NeMo's, its attention told how alike two frames' voices are."""
        frames, voices = emb_seq[..., :-VOICE], functional.normalize(emb_seq[..., -VOICE:], dim=-1)
        there = self.sortformer_modules.length_to_mask(emb_seq_length, frames.shape[1])
        alike = (voices @ voices.transpose(1, 2))[:, None]
        encoder = self.transformer_encoder
        attention = form_attention_mask(there, encoder.diag) + self.sharpness * alike
        for layer in encoder.layers:
            frames = layer(frames, attention, frames)
        if encoder.final_layer_norm is not None:
            frames = encoder.final_layer_norm(frames)
        found: torch.Tensor = self.sortformer_modules.forward_speaker_sigmoids(frames) * there[..., None]
        return found

    def of_features(self, features: torch.Tensor) -> torch.Tensor:
        """``forward`` in the offline form, of `features` in a batch, (batch, frames, size)."""
        frames = self.encoder.pre_encode.of_features(features)
        lengths = torch.full((len(frames),), frames.shape[1], device=frames.device)
        return self.forward_infer(*self.frontend_encoder(frames, lengths, bypass_pre_encode=True))

    @torch.no_grad()
    def features(self, waveform: torch.Tensor) -> torch.Tensor:
        """What is made of a waveform (samples,) before anything that is trained: (frames, size)."""
        mels, lengths = self.process_signal(waveform[None], torch.tensor([len(waveform)], device=waveform.device))
        return features(mels[0, :, : int(lengths)].T)

    @property
    def frontend(self) -> str:
        """Changes with whatever `features` follow from, beside the waveform."""
        code = (Path(__file__), Path(camplusplus.__file__), *camplusplus_files())
        return digest([OmegaConf.to_container(self._cfg.preprocessor), [sha256_of(file) for file in code]])


class VoiceSubsampling(torch.nn.Module):
    """Mels (batch, frames, 80), not normalised, and lengths, to (batch, frames / 8, d_model) and lengths."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.voice = torch.nn.Linear(DIMENSION, VOICE)
        self.sound = torch.nn.Linear(MELS + BLOCK_CHANNELS, d_model - VOICE)
        # Attention goes by voices from the first step, so what is alike must look alike by then.
        torch.nn.init.orthogonal_(self.voice.weight)
        torch.nn.init.zeros_(self.voice.bias)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        heard = x.new_zeros(len(x), -(-x.shape[1] // EIGHT), DIMENSION + MELS + BLOCK_CHANNELS)
        for row, mels, frames in zip(heard, x, lengths.tolist(), strict=True):
            found = features(mels[: int(frames)])
            row[: len(found)] = found
        return self.of_features(heard), -(-lengths // EIGHT)

    def of_features(self, heard: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.voice(heard[..., :DIMENSION]), self.sound(heard[..., DIMENSION:])], dim=-1)


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
