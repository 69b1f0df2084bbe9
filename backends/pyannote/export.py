"""Export a fine-tuned network as a pipeline folder, which pyannote.audio loads if diarbench is installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
import yaml

from diarbench.backends.camplusplus.network import DIMENSION
from diarbench.backends.pyannote.clustering import VBX
from diarbench.backends.pyannote.embedding import load_camplusplus
from diarbench.backends.pyannote.network import PyannoteNetwork
from diarbench.backends.pyannote.plda import write_plda
from diarbench.datasets.io.files import write_atomic
from pyannote.audio import Model
from pyannote.audio.core.task import Problem, Resolution, Specifications


class Embedding(Model):
    """The CAM++ embedding as a model class; exported pipelines refer to its module and class name."""

    dimension = DIMENSION

    def __init__(self, sample_rate: int = 16_000, num_channels: int = 1) -> None:
        super().__init__(sample_rate=sample_rate, num_channels=num_channels)
        self.specifications = Specifications(
            problem=Problem.REPRESENTATION, resolution=Resolution.CHUNK, duration=10.0, classes=None
        )
        self.inner = load_camplusplus()

    def forward(self, waveforms: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:  # type: ignore[override]
        """See `load_camplusplus`."""
        embeddings: torch.Tensor = self.inner(waveforms, weights)
        return embeddings


def export(network: PyannoteNetwork, hyperparameters: Mapping[str, Any], folder: Path, plda: Path | None = None) -> str:
    """Write ``config.yaml``, ``segmentation/``, ``embedding/`` and ``plda/``; returns the code that loads them."""
    for name, model in (("segmentation", network.model), ("embedding", Embedding())):
        (folder / name).mkdir(parents=True)
        checkpoint: dict[str, Any] = {
            "pytorch-lightning_version": lightning.__version__,
            "state_dict": model.state_dict(),
            "hyper_parameters": dict(model.hparams),
        }
        model.on_save_checkpoint(checkpoint)
        torch.save(checkpoint, folder / name / "pytorch_model.bin")
    vbx = hyperparameters["clustering.method"] == VBX
    write_plda(folder / "plda", plda if vbx else None)
    unused = ("method", "min_cluster_size") if vbx else ("Fa", "Fb")
    config = {
        "pipeline": {
            "name": "pyannote.audio.pipelines.SpeakerDiarization",
            "params": {
                "segmentation": "$model/segmentation",
                "segmentation_batch_size": 32,
                "embedding": "$model/embedding",
                "embedding_batch_size": 32,
                "embedding_exclude_overlap": True,
                "plda": "$model/plda",
                "clustering": "VBxClustering" if vbx else "AgglomerativeClustering",
            },
        },
        "params": _nested({k: v for k, v in hyperparameters.items() if k.partition(".")[2] not in unused}),
    }
    write_atomic(folder / "config.yaml", yaml.safe_dump(config, sort_keys=False))
    return f'from pyannote.audio import Pipeline\npipeline = Pipeline.from_pretrained("{folder}")\n'


def _nested(hyperparameters: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Convert ``{"a.b": 1}`` to ``{"a": {"b": 1}}``, the format of a pipeline's parameters."""
    nested: dict[str, dict[str, Any]] = {}
    for name, value in hyperparameters.items():
        group, _, key = name.partition(".")
        nested.setdefault(group, {})[key] = value
    return nested
