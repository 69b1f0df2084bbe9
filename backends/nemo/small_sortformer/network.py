"""The small Sortformer as a Network: its speaker count is trained too, and its features may be cached."""

from __future__ import annotations

from pathlib import Path

import torch

from diarbench.backends.nemo.losses import AuxiliaryLoss
from diarbench.backends.nemo.network import SortformerNetwork
from diarbench.backends.nemo.small_sortformer.model import SmallSortformer
from diarbench.backends.nemo.small_sortformer.speaker_count import assign_by_rank, counting_loss


class SmallSortformerNetwork(SortformerNetwork):
    """A `SortformerNetwork` whose model is a `SmallSortformer`."""

    model_class = SmallSortformer
    model: SmallSortformer

    def features_fingerprint(self) -> str | None:
        """See CachesFeatures. The streaming form caches nothing: it embeds each chunk as it comes."""
        return None if self.streaming else self.model.features_fingerprint()

    def features(self, waveform: torch.Tensor) -> torch.Tensor:
        """See CachesFeatures."""
        with self.evaluating():
            return self.model.features(waveform.to(self.model.device))

    def auxiliary_losses(self) -> list[AuxiliaryLoss]:
        """In the offline form, the cross entropy of the number of speakers as well."""
        if self.streaming:
            return []
        counting = AuxiliaryLoss(self.model.counting, counting_loss, 1.0, "and cross entropy of the number of speakers")
        return [*super().auxiliary_losses(), counting]

    def activity(self, waveforms: torch.Tensor) -> torch.Tensor:
        """Sortformer's outputs for waveforms (batch, samples), or for cached features (batch, frames, size)."""
        return self.model.from_features(waveforms) if waveforms.ndim == 3 else super().activity(waveforms)

    def decoded_activity(self, activity: torch.Tensor) -> torch.Tensor:
        """As many speakers in each frame as the network counts."""
        return assign_by_rank(activity)

    def loading_code(self, file: Path) -> str:
        """NeMo cannot build this class, so diarbench has to."""
        return (
            "from pathlib import Path\n"
            "from diarbench.backends.nemo.network import SortformerNetwork\n"
            f'model = SortformerNetwork.from_file(Path("{file}")).model.eval()\n'
        )
