"""NVIDIA NeMo: Sortformer, end to end. Light until a method is called."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from diarbench.backends.base import Start
from diarbench.backends.weights import SCRATCH, cached_hub_file, download_hub_file, local_file
from diarbench.reports.records import UserError, Weights, closest, sha256_of

if TYPE_CHECKING:
    import torch

    from diarbench.backends.base import Diarizer

PUBLISHED = "nvidia/diar_sortformer_4spk-v1"
TRAINED_ON = ("AISHELL-4", "AMI", "DIHARD", "Fisher", "ICSI", "LibriSpeech", "NIST SRE", "VoxConverse")
"""What the published Sortformer has seen, says its model card."""


class NemoBackend:
    """NeMo's Sortformer with its hybrid loss; up to four speakers."""

    name = "nemo"

    def locate(self, init: str) -> Start:
        """See Backend; beside ``scratch`` (the compact preset) there is ``scratch:PRESET``."""
        if init == "auto":
            return self._at_hand() or Start(SCRATCH, None, "compact")
        if init.partition(":")[0] == "scratch":
            preset = init.partition(":")[2] or "compact"
            if preset not in presets():
                raise UserError(f"--init {init}: no such preset{closest(preset, presets())}: {', '.join(presets())}")
            return Start(SCRATCH, None, preset)
        if init.startswith("hub:"):
            return Start(Weights(origin=init, pretrained=True), None)
        return local_file(init, (".nemo",))

    def network(self, start: Start) -> torch.nn.Module:
        """See Backend."""
        from diarbench.backends.nemo.network import SortformerNetwork

        if start.preset:
            return SortformerNetwork.from_config(preset(start.preset))
        if start.path is None:
            repository = start.weights.origin.removeprefix("hub:")
            return SortformerNetwork.from_nemo(download_hub_file(repository, nemo_file(repository)))
        return SortformerNetwork.from_nemo(start.path)

    def restore(self, checkpoint: Mapping[str, Any]) -> torch.nn.Module:
        """See Backend."""
        from diarbench.backends.nemo.network import SortformerNetwork

        network = SortformerNetwork.from_config(checkpoint["architecture"])
        network.load_state_dict(checkpoint["weights"])
        return network

    def diarizer(self, network: torch.nn.Module, device: str) -> Diarizer:
        """See Backend."""
        from diarbench.backends.nemo.network import SortformerNetwork
        from diarbench.backends.nemo.pipeline import SortformerDiarizer

        assert isinstance(network, SortformerNetwork)
        return SortformerDiarizer(network, device)

    def _at_hand(self) -> Start | None:
        """The published Sortformer, where an earlier download left it."""
        path = cached_hub_file(PUBLISHED, nemo_file(PUBLISHED))
        if path is None:
            return None
        weights = Weights(
            origin=f"hub:{PUBLISHED}",
            pretrained=True,
            sha256=sha256_of(path),
            licence="CC-BY-NC-4.0",
            trained_on=TRAINED_ON,
        )
        return Start(weights, path)


def nemo_file(repository: str) -> str:
    """The name under which a hub repository of NVIDIA's keeps its model."""
    return f"{repository.rpartition('/')[2]}.nemo"


def presets() -> list[str]:
    """The architectures that can start from scratch."""
    return sorted(Path(entry.name).stem for entry in (files(__package__) / "presets").iterdir())


def preset(name: str) -> dict[str, Any]:
    """A preset's NeMo configuration."""
    settings: dict[str, Any] = yaml.safe_load((files(__package__) / "presets" / f"{name}.yaml").read_text())
    return settings
