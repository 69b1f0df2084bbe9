"""The backend of Nemotron-3-Diarization. Importing this module does not import transformers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diarbench.backends.base import InitialWeights
from diarbench.backends.initial_weights import SCRATCH, weights_in_file, weights_of_run, weights_on_hub
from diarbench.backends.nemo.bounds import check_bounds
from diarbench.backends.nemotron.configuration import (
    CONFIG,
    PICKLE,
    PRESETS,
    PROCESSORS,
    WEIGHTS,
    read_snapshot,
    split_mode,
)
from diarbench.datasets.io.errors import UserError, did_you_mean
from diarbench.datasets.io.files import sha256_of
from diarbench.reports.results.run import Weights

if TYPE_CHECKING:
    import torch

    from diarbench.backends.base import Diarizer, SpeakerBounds
    from diarbench.backends.objective import Objective

REPOSITORY = "nvidia/Nemotron-3-Diarization"

PUBLISHED = Weights(
    origin=f"hub:{REPOSITORY}",
    pretrained=True,
    licence="OpenMDW-1.1",
    training_corpora=("AMI", "ICSI", "VoxConverse"),
)
"""The corpora are those of its model card on which systems are also tested: AMI's train and dev, all of ICSI,
VoxConverse's dev and test."""


class NemotronBackend:
    """NVIDIA's Nemotron-3-Diarization: end to end, up to eight speakers, frames of 10 ms, offline or as a stream."""

    name = "nemotron"

    def resolve_init(self, init: str) -> InitialWeights:
        """See Backend.

        ``auto`` is NVIDIA's published network in the hub's cache. ``scratch`` is the compact size,
        ``scratch:published`` NVIDIA's. A path may be a snapshot's folder. ``+MODE`` after any of them, such as
        ``auto+low_latency``, runs the network as a stream.
        """
        start, mode = split_mode(init)
        initial = self._resolve(start)
        return replace(initial, preset=f"{initial.preset or ''}+{mode}") if mode else initial

    def _resolve(self, init: str) -> InitialWeights:
        if init == "auto":
            return _published()
        if init.partition(":")[0] == "scratch":
            name = init.partition(":")[2] or "compact"
            if name not in PRESETS:
                raise UserError(
                    f"--init {init}: no such size{did_you_mean(name, PRESETS)}; sizes: {', '.join(PRESETS)}"
                )
            return InitialWeights(SCRATCH, preset=name, max_speakers=PRESETS[name].model.head_config.num_speakers)
        if init.startswith("hub:"):
            return _on_hub(init)
        if init.startswith("run:"):
            return weights_of_run(init, self.name)
        if Path(init).expanduser().is_dir():
            return _in_snapshot(init)
        return weights_in_file(init, (".safetensors", ".ckpt"))

    def check_bounds(self, bounds: SpeakerBounds) -> None:
        """See ChecksBounds."""
        check_bounds(bounds)

    def network(self, initial: InitialWeights, objective: Objective) -> torch.nn.Module:
        """See Backend."""
        from diarbench.backends.nemotron.network import NemotronNetwork

        name, _, mode = (initial.preset or "").partition("+")
        if initial.path:
            network = NemotronNetwork.from_file(initial.path, mode or None)
        else:
            network = NemotronNetwork(PRESETS[name].model_copy(update={"streaming_mode": mode or None}))
        return network.train_on(objective)

    def restore(self, checkpoint: Mapping[str, Any]) -> torch.nn.Module:
        """See Backend."""
        from diarbench.backends.nemotron.network import NemotronNetwork

        return NemotronNetwork.from_checkpoint(checkpoint)

    def diarizer(self, network: torch.nn.Module, device: str) -> Diarizer:
        """See Backend."""
        from diarbench.backends.nemotron.network import NemotronNetwork
        from diarbench.backends.nemotron.pipeline import NemotronDiarizer

        assert isinstance(network, NemotronNetwork)
        return NemotronDiarizer(network, device)

    def export(self, network: torch.nn.Module, hyperparameters: Mapping[str, Any], folder: Path) -> str:
        """See Backend; writes a snapshot that ``from_pretrained`` loads, and a script that diarizes with it."""
        from diarbench.backends.nemotron.export import export
        from diarbench.backends.nemotron.network import NemotronNetwork

        assert isinstance(network, NemotronNetwork)
        return export(network, hyperparameters, folder)


def _on_hub(init: str) -> InitialWeights:
    initial = weights_on_hub(init, (WEIGHTS,), {REPOSITORY: PUBLISHED}, companions=(CONFIG, PROCESSORS[0]))
    return replace(initial, max_speakers=8) if initial.weights.licence else initial


def _published() -> InitialWeights:
    """NVIDIA's network in the hub's cache. Raises UserError, with what to do, where it is not there."""
    initial = _on_hub(PUBLISHED.origin)
    if initial.path is None:
        raise UserError(
            f"{REPOSITORY} is not in the hub's cache: download it with 'hf download {REPOSITORY}', or start from "
            "random weights with --init nemotron=scratch"
        )
    return initial


def _in_snapshot(init: str) -> InitialWeights:
    """The weights in a local folder. Raises UserError where it is no complete snapshot, or holds a pickle."""
    folder = Path(init).expanduser().resolve()
    architecture = read_snapshot(folder)
    if not (folder / WEIGHTS).is_file():
        hint = f": {PICKLE} is a pickle and is not loaded; save it as {WEIGHTS}" if (folder / PICKLE).exists() else ""
        raise UserError(f"--init {init}: no {WEIGHTS}{hint}")
    path = folder / WEIGHTS  # not resolved: in the hub's cache it is a link, and its target has another name and folder
    weights = Weights(origin=str(folder), pretrained=True, sha256=sha256_of(path))
    return InitialWeights(weights, path, max_speakers=architecture.model.head_config.num_speakers)
