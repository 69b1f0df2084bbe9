"""A Sortformer that receives speaker embeddings, and that predicts who speaks apart from how many speak.

Each frame's input is computed in `features`. The transformer attends by the similarity of speaker embeddings; the
number of speakers follows from the sound around a frame alone (`speaker_count`).
"""

from __future__ import annotations

from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch.nn import functional

from diarbench.backends.camplusplus.network import DIMENSION
from diarbench.backends.nemo.small_sortformer.features import SOUND, SUBSAMPLING, fingerprint, frame_features
from diarbench.backends.nemo.small_sortformer.speaker_count import SpeakerCounter, assign_by_rank, speaker_marginals
from diarbench.backends.nemo.toolkit import SortformerEncLabelModel
from nemo.collections.common.parts import form_attention_mask

VOICE = 96
"""Size of the projected speaker embedding, which comes first in a frame's vector."""

SHARPEST = 10.0
"""Largest weight of speaker similarity in attention; the heads have weights from 0 to this."""


class SmallSortformer(SortformerEncLabelModel):
    """NeMo's Sortformer with speaker embeddings and sound in the output of the encoder's subsampling.

    A stream's speaker cache holds that output, so it holds the embeddings too. In the transformer, each head adds the
    cosine of two frames' embeddings, times a weight of its own, to their attention score.
    """

    def __init__(self, cfg: DictConfig, trainer: Any = None) -> None:
        super().__init__(cfg=cfg, trainer=trainer)
        self.encoder.pre_encode = FeatureProjection(self.encoder.d_model)
        self.counting = SpeakerCounter(self.encoder.d_model - VOICE, self.sortformer_modules.n_spk)
        heads = self.transformer_encoder.layers[0].first_sub_layer.num_attention_heads
        self.register_buffer("sharpness", torch.linspace(0, SHARPEST, heads)[:, None, None], persistent=False)

    def frontend_encoder(
        self, processed_signal: torch.Tensor, processed_signal_length: torch.Tensor, bypass_pre_encode: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As in NeMo, with each frame's embedding and sound appended to the encoder's output."""
        frames, lengths = processed_signal, processed_signal_length
        if not bypass_pre_encode:
            frames, lengths = self.encoder.pre_encode(x=frames.transpose(1, 2), lengths=lengths)
        encoded, lengths = super().frontend_encoder(frames, lengths, bypass_pre_encode=True)
        return torch.cat([encoded, frames], dim=-1), lengths

    def forward_infer(self, emb_seq: torch.Tensor, emb_seq_length: torch.Tensor) -> torch.Tensor:
        """As in NeMo, with attention by speaker similarity, and with as many speakers as are counted."""
        modules = self.sortformer_modules
        d_model = self.encoder.d_model
        frames, voices, sound = emb_seq.split([modules.hidden_size, VOICE, d_model - VOICE], dim=-1)
        voices = functional.normalize(voices, dim=-1)
        mask = modules.length_to_mask(emb_seq_length, frames.shape[1])
        similarity = (voices @ voices.transpose(1, 2))[:, None]
        encoder = self.transformer_encoder
        attention = form_attention_mask(mask, encoder.diag) + self.sharpness * similarity
        for layer in encoder.layers:
            frames = layer(frames, attention, frames)
        if encoder.final_layer_norm is not None:
            frames = encoder.final_layer_norm(frames)
        hidden = modules.first_hidden_to_hidden(modules.dropout(functional.relu(frames)))
        speaker_logits = modules.single_hidden_to_spks(modules.dropout(functional.relu(hidden)))
        count_logits = self.counting(sound * mask[..., None])
        return speaker_marginals(speaker_logits, count_logits) * mask[..., None]

    def _diarize_forward(self, batch: Any) -> torch.Tensor:
        """For NeMo's own ``diarize``, so that it gives the same turns as diarbench."""
        return assign_by_rank(super()._diarize_forward(batch))

    def from_features(self, features: torch.Tensor) -> torch.Tensor:
        """``forward`` in the offline form, on a batch of `features` (batch, frames, size)."""
        frames = self.encoder.pre_encode.project(features)
        lengths = torch.full((len(frames),), frames.shape[1], device=frames.device)
        return self.forward_infer(*self.frontend_encoder(frames, lengths, bypass_pre_encode=True))

    @torch.no_grad()
    def features(self, waveform: torch.Tensor) -> torch.Tensor:
        """A waveform (samples,) as the first trained layer receives it: (frames, size)."""
        mels, lengths = self.process_signal(waveform[None], torch.tensor([len(waveform)], device=waveform.device))
        return frame_features(mels[0, :, : int(lengths)].T)

    def features_fingerprint(self) -> str:
        """Changes with everything that `features` depend on, besides the waveform."""
        return fingerprint(OmegaConf.to_container(self._cfg.preprocessor))


class FeatureProjection(torch.nn.Module):
    """Mels (batch, frames, 80), not normalised, and lengths, to (batch, frames / 8, d_model) and lengths."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.voice = torch.nn.Linear(DIMENSION, VOICE)
        self.sound = torch.nn.Linear(SOUND, d_model - VOICE)
        # Attention uses speaker similarity from the first step, so the projection has to keep it from the start.
        torch.nn.init.orthogonal_(self.voice.weight)
        torch.nn.init.zeros_(self.voice.bias)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = x.new_zeros(len(x), -(-x.shape[1] // SUBSAMPLING), DIMENSION + SOUND)
        for row, mels, frames in zip(features, x, lengths.tolist(), strict=True):
            of_row = frame_features(mels[: int(frames)])
            row[: len(of_row)] = of_row
        return self.project(features), -(-lengths // SUBSAMPLING)

    def project(self, features: torch.Tensor) -> torch.Tensor:
        """Features (batch, frames, size) to (batch, frames, d_model)."""
        return torch.cat([self.voice(features[..., :DIMENSION]), self.sound(features[..., DIMENSION:])], dim=-1)
