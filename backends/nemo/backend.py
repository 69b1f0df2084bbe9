"""The NeMo backend. Importing this module does not import NeMo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diarbench.backends.base import InitialWeights
from diarbench.backends.camplusplus.files import camplusplus_description
from diarbench.backends.initial_weights import SCRATCH, weights_in_file, weights_of_run, weights_on_hub
from diarbench.backends.nemo.bounds import check_bounds
from diarbench.backends.nemo.checkpoints import read_config
from diarbench.backends.nemo.presets import SMALL, SPEAKER_EMBEDDING, STREAMING, preset, presets
from diarbench.backends.nemo.small_sortformer.weights import INSTALL, packaged_file, packaged_weights
from diarbench.datasets.io.errors import UserError, did_you_mean
from diarbench.reports.results.run import Weights

if TYPE_CHECKING:
    import torch

    from diarbench.backends.base import Diarizer, SpeakerBounds
    from diarbench.backends.objective import Objective
    from diarbench.backends.recipes.space import RecipeSpace

# The training corpora are those that NVIDIA's model cards name.
PUBLISHED = Weights(
    origin="hub:nvidia/diar_sortformer_4spk-v1",
    pretrained=True,
    licence="CC-BY-NC-4.0",
    training_corpora=("AISHELL-4", "AMI", "DIHARD", "Fisher", "ICSI", "LibriSpeech", "NIST SRE", "VoxConverse"),
)

STREAMING_V2 = Weights(
    origin="hub:nvidia/diar_streaming_sortformer_4spk-v2",
    pretrained=True,
    licence="CC-BY-4.0",
    training_corpora=(*PUBLISHED.training_corpora, "AliMeeting", "DiPCo"),
)


class NemoBackend:
    """NeMo's Sortformer with its hybrid loss, for up to four speakers."""

    name = "nemo"

    def resolve_init(self, init: str) -> InitialWeights:
        """See Backend.

        ``auto`` is NVIDIA's published model if it is in the hub's cache, else the packaged small Sortformer if it is
        installed, else ``scratch``. ``scratch`` is the compact preset; ``scratch:PRESET`` is another preset, such as
        ``scratch:compact-streaming``. ``small`` and ``small-streaming`` are the two forms of the packaged weights.
        """
        if init == "auto":
            return _best_available()
        if init in (SMALL, f"{SMALL}-{STREAMING}"):
            return _packaged_small(init)
        if init.partition(":")[0] == "scratch":
            name = init.partition(":")[2] or "compact"
            if name not in presets():
                raise UserError(
                    f"--init {init}: no such preset{did_you_mean(name, presets())}; presets: {', '.join(presets())}"
                )
            return _from_preset(SCRATCH, None, name)
        if init.startswith("hub:"):
            return weights_of_nvidia(init)
        if init.startswith("run:"):
            return weights_of_run(init, self.name)
        initial = weights_in_file(init, (".nemo", ".ckpt", ".safetensors"))
        assert initial.path is not None
        return _with_fixed_parts(initial, read_config(initial.path)) if initial.path.suffix == ".nemo" else initial

    def check_bounds(self, bounds: SpeakerBounds) -> None:
        """See ChecksBounds."""
        check_bounds(bounds)

    def network(self, initial: InitialWeights, objective: Objective) -> torch.nn.Module:
        """See Backend."""
        from diarbench.backends.nemo.network import SortformerNetwork

        if initial.path:
            network = SortformerNetwork.from_file(initial.path, preset(initial.preset) if initial.preset else None)
        else:
            network = SortformerNetwork.from_config(preset(initial.preset or "compact"))
        return network.train_on(objective)

    def restore(self, checkpoint: Mapping[str, Any]) -> torch.nn.Module:
        """See Backend."""
        from diarbench.backends.nemo.network import SortformerNetwork

        return SortformerNetwork.from_checkpoint(checkpoint)

    def diarizer(self, network: torch.nn.Module, device: str) -> Diarizer:
        """See Backend."""
        from diarbench.backends.nemo.network import SortformerNetwork
        from diarbench.backends.nemo.pipeline import SortformerDiarizer

        assert isinstance(network, SortformerNetwork)
        return SortformerDiarizer(network, device)

    def recipe_space(self) -> RecipeSpace:
        """See SearchesRecipes; Sortformer's two losses may have other weights."""
        from diarbench.backends.recipes.space import usual_space

        weights = {
            "equal": {},
            "arrival": {"ats_weight": 0.75, "pil_weight": 0.25},
            "permutation": {"ats_weight": 0.25, "pil_weight": 0.75},
        }
        return {**usual_space(1e-6, 1e-3), "objective": weights}

    def export(self, network: torch.nn.Module, hyperparameters: Mapping[str, Any], folder: Path) -> str:
        """See Backend; writes a ``.nemo`` file and its post-processing parameters as YAML."""
        from diarbench.backends.nemo.export import export
        from diarbench.backends.nemo.network import SortformerNetwork

        assert isinstance(network, SortformerNetwork)
        return export(network, hyperparameters, folder)


def weights_of_nvidia(init: str) -> InitialWeights:
    """The weights that ``hub:ID`` names; NVIDIA names the file in a repository after the repository."""
    name = init.partition("@")[0].rpartition("/")[2]
    known = {weights.origin.removeprefix("hub:"): weights for weights in (PUBLISHED, STREAMING_V2)}
    initial = weights_on_hub(init, (f"{name}.nemo", "model.safetensors"), known)
    return replace(initial, max_speakers=4) if "4spk" in name else initial


def _best_available() -> InitialWeights:
    published = weights_of_nvidia(PUBLISHED.origin)
    if published.path:
        return published
    if packaged_file():
        return _packaged_small(SMALL)
    origin = f"{SCRATCH.origin} (no pretrained weights are installed; for the small Sortformer: {INSTALL})"
    return _from_preset(SCRATCH.model_copy(update={"origin": origin}), None, "compact")


def _packaged_small(name: str) -> InitialWeights:
    """The packaged small Sortformer in the form of this preset. Raises UserError where it is not installed."""
    weights, path = packaged_weights()
    return _from_preset(weights, path, name)


def _from_preset(weights: Weights, path: Path | None, name: str) -> InitialWeights:
    settings = preset(name)
    return _with_fixed_parts(InitialWeights(weights, path, name, max_speakers=settings["max_num_of_spks"]), settings)


def _with_fixed_parts(initial: InitialWeights, settings: Any) -> InitialWeights:
    """The weights, described with the pretrained parts that a network of this configuration uses but never trains."""
    if not (isinstance(settings, dict) and settings.get(SPEAKER_EMBEDDING)):
        return initial
    return replace(initial, weights=initial.weights.model_copy(update={"fixed_parts": (camplusplus_description(),)}))
