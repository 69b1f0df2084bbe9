"""NVIDIA NeMo: Sortformer, end to end. Light until a method is called."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from diarbench.backends.base import Start
from diarbench.backends.weights import SCRATCH, hub_start, local_file
from diarbench.reports.records import UserError, Weights, closest

if TYPE_CHECKING:
    import torch

    from diarbench.backends.base import Diarizer
    from diarbench.backends.objective import Objective

PUBLISHED = Weights(
    origin="hub:nvidia/diar_sortformer_4spk-v1",
    pretrained=True,
    licence="CC-BY-NC-4.0",
    trained_on=("AISHELL-4", "AMI", "DIHARD", "Fisher", "ICSI", "LibriSpeech", "NIST SRE", "VoxConverse"),
)
"""Trained on what its model card says."""
STREAMING = "streaming"


class NemoBackend:
    """NeMo's Sortformer with its hybrid loss; up to four speakers."""

    name = "nemo"

    def locate(self, init: str) -> Start:
        """See Backend; beside ``scratch`` (the compact preset) there is ``scratch:PRESET``, such as
        ``scratch:compact-streaming``.
        """
        if init == "auto":
            cached = hub(PUBLISHED.origin)
            return cached if cached.path else Start(SCRATCH, preset="compact")
        if init.partition(":")[0] == "scratch":
            preset = init.partition(":")[2] or "compact"
            if preset not in presets():
                raise UserError(f"--init {init}: no such preset{closest(preset, presets())}: {', '.join(presets())}")
            return Start(SCRATCH, preset=preset)
        if init.startswith("hub:"):
            return hub(init)
        return local_file(init, (".nemo",))

    def network(self, start: Start, objective: Objective) -> torch.nn.Module:
        """See Backend."""
        from diarbench.backends.nemo.network import SortformerNetwork

        if start.path:
            network = SortformerNetwork.from_nemo(start.path)
        else:
            network = SortformerNetwork.from_config(preset(start.preset or "compact"))
        return network.train_on(objective)

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


def hub(init: str) -> Start:
    """What ``hub:ID`` stands for: NVIDIA's repositories keep a model under their own name."""
    name = init.rpartition("/")[2]
    return hub_start(init, f"{name}.nemo", {PUBLISHED.origin.removeprefix("hub:"): PUBLISHED})


def presets() -> list[str]:
    """The architectures that can start from scratch: each in its offline form and, ``-streaming``, in chunks."""
    sizes = sorted(Path(entry.name).stem for entry in (files(__package__) / "presets").iterdir())
    return [f"{size}{form}" for size in sizes if size != STREAMING for form in ("", f"-{STREAMING}")]


def preset(name: str) -> dict[str, Any]:
    """A preset's NeMo configuration."""
    size, _, streaming = name.partition("-")
    settings = _settings(size)
    for key, value in _settings(STREAMING).items() if streaming else ():
        settings[key] = {**settings[key], **value} if isinstance(value, dict) else value
    return settings


def _settings(name: str) -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load((files(__package__) / "presets" / f"{name}.yaml").read_text())
    return settings
