"""NVIDIA NeMo: Sortformer, end to end. Light until a method is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from diarbench.backends.base import Start
from diarbench.backends.nemo.archive import config_in
from diarbench.backends.weights import SCRATCH, camplusplus_in_words, hub_start, local_file, run_start
from diarbench.reports.records import UserError, Weights, closest, sha256_of

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
STREAMING_V2 = Weights(
    origin="hub:nvidia/diar_streaming_sortformer_4spk-v2",
    pretrained=True,
    licence="CC-BY-4.0",
    trained_on=(*PUBLISHED.trained_on, "AliMeeting", "DiPCo"),
)
"""Both trained on what their model cards say."""
PACKAGED = Weights(
    origin="small Sortformer (diarbench)", pretrained=True, licence="GPL-2.0-only", trained_on=("Debian voices", "AMI")
)
"""Trained here: docs/small-sortformer.md."""
SMALL, STREAMING = "small", "streaming"
VOICES = "voices"
"""Of a configuration: the speaker embedding that a network is told, beside the mels; see `voices`."""


class NemoBackend:
    """NeMo's Sortformer with its hybrid loss; up to four speakers."""

    name = "nemo"

    def locate(self, init: str) -> Start:
        """See Backend; beside ``scratch`` (the compact preset) there is ``scratch:PRESET``, such as
        ``scratch:compact-streaming``, and ``small`` and ``small-streaming``, both forms of what comes with diarbench.
        """
        if init == "auto":
            cached = hub(PUBLISHED.origin)
            return cached if cached.path else packaged(SMALL)
        if init in (SMALL, f"{SMALL}-{STREAMING}"):
            return packaged(init)
        if init.partition(":")[0] == "scratch":
            name = init.partition(":")[2] or "compact"
            if name not in presets():
                raise UserError(f"--init {init}: no such preset{closest(name, presets())}: {', '.join(presets())}")
            return _start(SCRATCH, None, name)
        if init.startswith("hub:"):
            return hub(init)
        if init.startswith("run:"):
            return run_start(init, self.name)
        start = local_file(init, (".nemo", ".ckpt", ".safetensors"))
        assert start.path is not None
        return _with_parts(start, config_in(start.path)) if start.path.suffix == ".nemo" else start

    def network(self, start: Start, objective: Objective) -> torch.nn.Module:
        """See Backend."""
        from diarbench.backends.nemo.network import SortformerNetwork

        if start.path:
            network = SortformerNetwork.from_file(start.path, preset(start.preset) if start.preset else None)
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

    def export(self, network: torch.nn.Module, hyperparameters: Mapping[str, Any], folder: Path) -> str:
        """See Backend: a ``.nemo`` file, and its post-processing as YAML."""
        from diarbench.backends.nemo.export import export
        from diarbench.backends.nemo.network import SortformerNetwork

        assert isinstance(network, SortformerNetwork)
        return export(network, hyperparameters, folder)


def packaged(form: str) -> Start:
    """The small Sortformer that comes with diarbench, in the form of this preset."""
    path = Path(str(files(__package__) / "weights" / "small-sortformer.nemo"))
    return _start(PACKAGED.model_copy(update={"sha256": sha256_of(path)}), path, form)


def _start(weights: Weights, path: Path | None, form: str) -> Start:
    settings = preset(form)
    return _with_parts(Start(weights, path, form, max_speakers=settings["max_num_of_spks"]), settings)


def _with_parts(start: Start, settings: Any) -> Start:
    """The start with the fixed parts that a network of this configuration has."""
    if not (isinstance(settings, dict) and settings.get(VOICES)):
        return start
    return replace(start, weights=start.weights.model_copy(update={"fixed_parts": (camplusplus_in_words(),)}))


def hub(init: str) -> Start:
    """What ``hub:ID`` stands for: NVIDIA's repositories keep a model under their own name."""
    name = init.partition("@")[0].rpartition("/")[2]
    known = {weights.origin.removeprefix("hub:"): weights for weights in (PUBLISHED, STREAMING_V2)}
    start = hub_start(init, (f"{name}.nemo", "model.safetensors"), known)
    return replace(start, max_speakers=4) if "4spk" in name else start


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
