"""The CAM++ speaker embedding as a pyannote model, and the PLDA that may come with it. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

WINDOW, HOP = 400, 160
"""Samples of a feature frame, and from one to the next."""

SHORTEST = 10
"""Feature frames (of 10 ms) below which there is no telling a voice."""


def load_camplusplus() -> Any:
    """A pyannote Model: ``forward(waveforms (batch, 1, samples), weights (batch, frames) or None)`` to (batch, 192).

    Frames of weight below one half are dropped before the network sees them. Where too few are left the embedding
    is NaN, as pyannote's clustering expects; a waveform that is too short as it is raises ValueError, from which
    pyannote works out the shortest that will do.
    """
    import torch
    import torchaudio.compliance.kaldi as kaldi

    from diarbench.backends.camplusplus.network import DIMENSION, MELS, FoldedCamPlusPlus, load
    from pyannote.audio import Model

    class CamPlusPlus(Model):
        dimension = DIMENSION
        shortest_samples = WINDOW + (SHORTEST - 1) * HOP

        def __init__(self) -> None:
            super().__init__(sample_rate=16_000, num_channels=1)
            self.camplusplus = load()

        def forward(  # type: ignore[override]
            self, waveforms: torch.Tensor, weights: torch.Tensor | None = None
        ) -> torch.Tensor:
            if waveforms.shape[-1] < self.shortest_samples:
                raise ValueError(f"{waveforms.shape[-1]} samples are too few for an embedding")
            masks = torch.ones(len(waveforms), 1, device=waveforms.device) if weights is None else weights
            found = [self.embedding(self.features(w[0]), mask > 0.5) for w, mask in zip(waveforms, masks, strict=True)]
            return torch.stack(found)

        def features(self, samples: torch.Tensor) -> torch.Tensor:
            """Filter banks (frames, 80) of samples (n,)."""
            # Kaldi's filter bank expects 16-bit sample values, as the network was trained.
            return kaldi.fbank(samples[None] * 32768, num_mel_bins=MELS, sample_frequency=16_000, dither=0.0)

        def sliding_features(self, samples: torch.Tensor, window: int, step: int) -> Iterator[torch.Tensor]:
            """`features` of each window of the samples; made once where a step is of whole frames."""
            if step % HOP:
                yield from (self.features(part) for part in samples.unfold(0, window, step))
                return
            whole, frames = self.features(samples), 1 + (window - WINDOW) // HOP
            for start in range(0, len(whole) - frames + 1, step // HOP):
                yield whole[start : start + frames]

        def embedding(self, features: torch.Tensor, mask: torch.Tensor, network: Any = None) -> torch.Tensor:
            """The embedding (192,) of those features whose nearest frame of the mask is true; NaN if too few are.

            ``network`` is what stands in for the published network, such as `folded`.
            """
            nearest = torch.arange(len(features), device=features.device) * len(mask) // len(features)
            features = features[mask[nearest]]
            if len(features) < SHORTEST:
                return torch.full((DIMENSION,), torch.nan, device=features.device)
            network = network or self.camplusplus
            embedding: torch.Tensor = network((features - features.mean(dim=0, keepdim=True))[None])[0]
            return embedding

        def folded(self) -> FoldedCamPlusPlus:
            """The network in the form in which it is the fastest."""
            return FoldedCamPlusPlus(self.camplusplus)

    return CamPlusPlus().eval()
