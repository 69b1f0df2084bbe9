"""The CAM++ speaker embedding as a pyannote model. Heavy packages are imported on use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


FRAMES_AT_ONCE = 16_000
"""Feature frames in a batch on a GPU, with padding: the network takes 31 kB for each, 0.5 GB. A block of 16 windows
with one speaker each is a batch. On a CPU an embedding is a batch of its own, which has no padding to compute."""


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
        features, starts = self.model.sliding_features(samples, window, step)
        chosen = masks[:, nearest_frames(self.model.num_feature_frames(window), masks.shape[1])]
        lengths = chosen.sum(axis=1)
        found = np.argwhere(lengths >= SHORTEST)
        found = found[np.argsort(lengths[tuple(found.T)], kind="stable")[::-1]]  # similar lengths side by side
        rows = [starts[index] + np.flatnonzero(chosen[index, :, speaker]) for index, speaker in found]
        outputs = [
            self._network(*_padded(features, batch))
            for batch in batches(rows, FRAMES_AT_ONCE if samples.is_cuda else 0)
        ]
        if outputs:
            embeddings[tuple(found.T)] = torch.cat(outputs).cpu().numpy()
        return embeddings

    @cached_property
    def _network(self) -> FoldedCamPlusPlus:
        network: FoldedCamPlusPlus = self.model.folded()
        return network


def batches(rows: Sequence[np.ndarray], most: int) -> Iterator[Sequence[np.ndarray]]:
    """Rows, of which the longest come first, in batches of at most ``most`` frames with padding, or of one row."""
    first = 0
    while first < len(rows):
        count = max(1, most // len(rows[first]))
        yield rows[first : first + count]
        first += count


def _padded(features: torch.Tensor, rows: Sequence[np.ndarray]) -> tuple[torch.Tensor, list[int]]:
    """The features (rows, frames, 80) at each row's indices, of which the first are the most, and their numbers.

    A shorter row is continued with its last features.
    """
    import numpy as np
    import torch

    indices = np.stack([np.pad(row, (0, len(rows[0]) - len(row)), mode="edge") for row in rows])
    on_device = torch.from_numpy(indices.reshape(-1)).to(features.device, non_blocking=True)
    return features.index_select(0, on_device).view(*indices.shape, -1), [len(row) for row in rows]


def nearest_frames(frames: int, mask_frames: int) -> np.ndarray:
    """For each of so many feature frames, the index of the nearest frame of a mask over the same time."""
    import numpy as np

    return np.arange(frames) * mask_frames // frames


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

        def num_feature_frames(self, samples: int) -> int:
            """The number of `features` of so many samples."""
            return 1 + (samples - WINDOW) // HOP

        def sliding_features(self, samples: torch.Tensor, window: int, step: int) -> tuple[torch.Tensor, np.ndarray]:
            """Features (frames, 80) of all windows, and the index at which each window's begin.

            They are computed once for all windows if the step is a multiple of a frame.
            """
            windows, frames = 1 + (len(samples) - window) // step, self.num_feature_frames(window)
            if step % HOP:
                features = torch.cat([self.features(part) for part in samples.unfold(0, window, step)])
                return features, np.arange(windows) * frames
            return self.features(samples), np.arange(windows) * (step // HOP)

        def embedding(self, features: torch.Tensor, mask: np.ndarray) -> torch.Tensor:
            """The embedding (192,) of the feature frames where the mask is true; NaN if there are too few."""
            chosen = torch.from_numpy(np.flatnonzero(mask[nearest_frames(len(features), len(mask))]))
            features = features.index_select(0, chosen.to(features.device, non_blocking=True))
            if len(features) < SHORTEST:
                return torch.full((DIMENSION,), torch.nan, device=features.device)
            embedding: torch.Tensor = self.camplusplus((features - features.mean(dim=0, keepdim=True))[None])[0]
            return embedding

        def folded(self) -> FoldedCamPlusPlus:
            """The network with batch normalisation folded into its convolutions, which is faster."""
            return FoldedCamPlusPlus(self.camplusplus)

    return CamPlusPlus().eval()
