"""A Sortformer that is told whose voice it hears, and that says who speaks and how many apart from each other.

What it hears is in `frontend`. Attention goes by voices; how many speak follows from the sound around a frame alone
(`counting`).
"""

from __future__ import annotations

from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch.nn import functional

from diarbench.backends.camplusplus import DIMENSION
from diarbench.backends.nemo.counting import Counting, of_sets, whole
from diarbench.backends.nemo.frontend import EIGHT, SOUND, features, made_of
from nemo.collections.asr.models import SortformerEncLabelModel
from nemo.collections.common.parts import form_attention_mask

VOICE = 96
"""Of a frame's numbers, those that the voice comes to: the first."""
SHARPEST = 10.0
"""How much a head's attention goes by voices, at most: from nothing to this, a head's own."""


class VoiceSortformer(SortformerEncLabelModel):
    """NeMo's Sortformer with voices and sound in what the encoder's subsampling makes, and so in what a stream's cache
    holds.

    To each head's scores in the transformer the cosine of two frames' voices is added, times a number of its own.
    """

    def __init__(self, cfg: DictConfig, trainer: Any = None) -> None:
        super().__init__(cfg=cfg, trainer=trainer)
        self.encoder.pre_encode = VoiceSubsampling(self.encoder.d_model)
        self.counting = Counting(self.encoder.d_model - VOICE, self.sortformer_modules.n_spk)
        heads = self.transformer_encoder.layers[0].first_sub_layer.num_attention_heads
        self.register_buffer("sharpness", torch.linspace(0, SHARPEST, heads)[:, None, None], persistent=False)

    def frontend_encoder(
        self, processed_signal: torch.Tensor, processed_signal_length: torch.Tensor, bypass_pre_encode: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """NeMo's, with each frame's voice and sound behind what the encoder makes of it."""
        frames, lengths = processed_signal, processed_signal_length
        if not bypass_pre_encode:
            frames, lengths = self.encoder.pre_encode(x=frames.transpose(1, 2), lengths=lengths)
        encoded, lengths = super().frontend_encoder(frames, lengths, bypass_pre_encode=True)
        return torch.cat([encoded, frames], dim=-1), lengths

    def forward_infer(self, emb_seq: torch.Tensor, emb_seq_length: torch.Tensor) -> torch.Tensor:
        """NeMo's, its attention told how alike two frames' voices are, of the speakers as many as are counted."""
        modules = self.sortformer_modules
        told = self.encoder.d_model
        frames, voices, sound = emb_seq.split([modules.hidden_size, VOICE, told - VOICE], dim=-1)
        voices = functional.normalize(voices, dim=-1)
        there = modules.length_to_mask(emb_seq_length, frames.shape[1])
        alike = (voices @ voices.transpose(1, 2))[:, None]
        encoder = self.transformer_encoder
        attention = form_attention_mask(there, encoder.diag) + self.sharpness * alike
        for layer in encoder.layers:
            frames = layer(frames, attention, frames)
        if encoder.final_layer_norm is not None:
            frames = encoder.final_layer_norm(frames)
        hidden = modules.first_hidden_to_hidden(modules.dropout(functional.relu(frames)))
        who = modules.single_hidden_to_spks(modules.dropout(functional.relu(hidden)))
        return of_sets(who, self.counting(sound * there[..., None])) * there[..., None]

    def _diarize_forward(self, batch: Any) -> torch.Tensor:
        """NeMo's, for its ``diarize``, which is to answer as ours does."""
        return whole(super()._diarize_forward(batch))

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
        return made_of(OmegaConf.to_container(self._cfg.preprocessor))


class VoiceSubsampling(torch.nn.Module):
    """Mels (batch, frames, 80), not normalised, and lengths, to (batch, frames / 8, d_model) and lengths."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.voice = torch.nn.Linear(DIMENSION, VOICE)
        self.sound = torch.nn.Linear(SOUND, d_model - VOICE)
        # Attention goes by voices from the first step, so what is alike must look alike by then.
        torch.nn.init.orthogonal_(self.voice.weight)
        torch.nn.init.zeros_(self.voice.bias)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        heard = x.new_zeros(len(x), -(-x.shape[1] // EIGHT), DIMENSION + SOUND)
        for row, mels, frames in zip(heard, x, lengths.tolist(), strict=True):
            found = features(mels[: int(frames)])
            row[: len(found)] = found
        return self.of_features(heard), -(-lengths // EIGHT)

    def of_features(self, heard: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.voice(heard[..., :DIMENSION]), self.sound(heard[..., DIMENSION:])], dim=-1)
