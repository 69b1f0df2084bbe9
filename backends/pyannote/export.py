"""A fine-tuned network as a pipeline folder that pyannote.audio loads, wherever diarbench is installed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
import yaml

from diarbench.backends.camplusplus import DIMENSION
from diarbench.backends.pyannote.decoding import VBX
from diarbench.backends.pyannote.embedding import load_camplusplus, plda_files
from diarbench.backends.pyannote.network import PyannoteNetwork
from diarbench.reports.records import write_whole
from pyannote.audio import Model
from pyannote.audio.core.task import Problem, Resolution, Specifications

PLDA_DIMENSION = 128


class Embedding(Model):
    """The CAM++ embedding as a model that pyannote.audio makes by its name, as a pipeline folder has it."""

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


def export(network: PyannoteNetwork, hyperparameters: Mapping[str, Any], folder: Path) -> str:
    """Write ``config.yaml``, ``segmentation/``, ``embedding/`` and ``plda/``; returns how to load them."""
    for name, model in (("segmentation", network.model), ("embedding", Embedding())):
        (folder / name).mkdir(parents=True)
        checkpoint: dict[str, Any] = {
            "pytorch-lightning_version": lightning.__version__,
            "state_dict": model.state_dict(),
            "hyper_parameters": dict(model.hparams),
        }
        model.on_save_checkpoint(checkpoint)
        torch.save(checkpoint, folder / name / "pytorch_model.bin")
    by_bayes = hyperparameters["clustering.method"] == VBX
    _write_plda(folder / "plda", by_bayes)
    unwanted = ("method", "min_cluster_size") if by_bayes else ("Fa", "Fb")
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
                "clustering": "VBxClustering" if by_bayes else "AgglomerativeClustering",
            },
        },
        "params": _nested({k: v for k, v in hyperparameters.items() if k.partition(".")[2] not in unwanted}),
    }
    write_whole(folder / "config.yaml", yaml.safe_dump(config, sort_keys=False))
    return f'from pyannote.audio import Pipeline\npipeline = Pipeline.from_pretrained("{folder}")\n'


def _write_plda(folder: Path, used: bool) -> None:
    """The PLDA that the clustering takes; where it takes none one that changes nothing, for pyannote wants one."""
    folder.mkdir()
    if used:
        for file in plda_files() or ():
            shutil.copyfile(file, folder / file.name)
        return
    nothing = np.zeros(PLDA_DIMENSION)
    np.savez(
        folder / "xvec_transform.npz", mean1=np.zeros(DIMENSION), mean2=nothing, lda=np.eye(DIMENSION, PLDA_DIMENSION)
    )
    np.savez(folder / "plda.npz", mu=nothing, tr=np.eye(PLDA_DIMENSION), psi=np.ones(PLDA_DIMENSION))


def _nested(hyperparameters: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """``{"a.b": 1}`` as ``{"a": {"b": 1}}``, the form in which a pipeline takes its parameters."""
    nested: dict[str, dict[str, Any]] = {}
    for name, value in hyperparameters.items():
        group, _, key = name.partition(".")
        nested.setdefault(group, {})[key] = value
    return nested
