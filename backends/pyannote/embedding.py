"""The CAM++ speaker embedding as a pyannote model. Heavy packages are imported on use."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch

    from diarbench.backends.camplusplus.network import FoldedCamPlusPlus

WINDOW, HOP = 400, 160
"""Length and hop of a feature frame in samples."""

SHORTEST = 10
"""The fewest feature frames (10 ms each) for an embedding."""


class CamPlusPlusEmbedder:
    """Embeddings of overlapping windows, equal to those of pyannote.audio's pipeline with `load_camplusplus`.

    Filter banks are computed once for all windows, and the network only for speakers who speak.
    """

    def __init__(self) -> None:
        self.model = load_camplusplus()
        self.dimension: int = self.model.dimension
        self.shortest_samples: int = self.model.shortest_samples

    def embed(self, samples: torch.Tensor, masks: np.ndarray, window: int, step: int) -> np.ndarray:
        """Embeddings (windows, speakers, 192) of a block of samples (n,) for masks (windows, frames, speakers).

        Of a speaker with hardly any frames it is NaN. Waits for a GPU once.
        """
        import numpy as np
        import torch

        windows, _, speakers = masks.shape
        embeddings = np.full((windows, speakers, self.dimension), np.nan, dtype=np.float32)
        if not masks.any():
            return embeddings
        features_of_windows = self.model.sliding_features(samples, window, step)
        speaking = np.any(masks, axis=1)
        of_speaking = [
            self.model.embedding(features, masks[index, :, speaker], self._network)
            for index, features in zip(range(windows), features_of_windows, strict=True)
            for speaker in np.flatnonzero(speaking[index])
        ]
        embeddings[speaking] = torch.stack(of_speaking).cpu().numpy()
        return embeddings

    @cached_property
    def _network(self) -> FoldedCamPlusPlus:
        network: FoldedCamPlusPlus = self.model.folded()
        return network


def load_camplusplus() -> Any:
    """Load CAM++ as a pyannote Model: waveforms (batch, 1, samples), weights (batch, frames) or None -> (batch, 192).

    Frames with a weight of at most 0.5 are removed from the input. If too few remain, the embedding is NaN, as
    pyannote's clustering expects. A waveform that is too short raises ValueError, from which pyannote determines the
    shortest valid length.
    """
    import numpy as np
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
            masks = np.ones((len(waveforms), 1), dtype=bool) if weights is None else (weights > 0.5).cpu().numpy()
            pairs = zip(waveforms, masks, strict=True)
            return torch.stack([self.embedding(self.features(w[0]), mask) for w, mask in pairs])

        def features(self, samples: torch.Tensor) -> torch.Tensor:
            """Filter-bank features (frames, 80) of samples (n,)."""
            # The network was trained on Kaldi features of 16-bit sample values.
            return kaldi.fbank(samples[None] * 32768, num_mel_bins=MELS, sample_frequency=16_000, dither=0.0)

        def sliding_features(self, samples: torch.Tensor, window: int, step: int) -> Iterator[torch.Tensor]:
            """The `features` of each window; computed once for all windows if the step is a multiple of a frame."""
            if step % HOP:
                yield from (self.features(part) for part in samples.unfold(0, window, step))
                return
            features, frames = self.features(samples), 1 + (window - WINDOW) // HOP
            for start in range(0, len(features) - frames + 1, step // HOP):
                yield features[start : start + frames]

        def embedding(self, features: torch.Tensor, mask: np.ndarray, network: Any = None) -> torch.Tensor:
            """The embedding (192,) of the features whose nearest mask frame is true; NaN if they are too few.

            ``network`` replaces the published network, for example by `folded`.
            """
            nearest = np.arange(len(features)) * len(mask) // len(features)
            chosen = torch.from_numpy(np.flatnonzero(mask[nearest]))
            features = features.index_select(0, chosen.to(features.device, non_blocking=True))
            if len(features) < SHORTEST:
                return torch.full((DIMENSION,), torch.nan, device=features.device)
            network = network or self.camplusplus
            embedding: torch.Tensor = network((features - features.mean(dim=0, keepdim=True))[None])[0]
            return embedding

        def folded(self) -> FoldedCamPlusPlus:
            """The network with batch normalisation folded into its convolutions, which is faster."""
            return FoldedCamPlusPlus(self.camplusplus)

    return CamPlusPlus().eval()
