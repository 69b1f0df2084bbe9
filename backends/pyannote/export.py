"""Export a fine-tuned network as a pipeline folder, which pyannote.audio loads.

An exported packaged pipeline needs diarbench, which has the class of its embedding; a published one does not.
"""

from __future__ import annotations

import shutil
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
from diarbench.backends.pyannote.published import CLASSES, CONFIG, WEIGHTS, PublishedPipeline
from diarbench.backends.pyannote.wespeaker import load_wespeaker
from diarbench.datasets.io.files import write_atomic
from pyannote.audio import Model
from pyannote.audio.core.task import Problem, Resolution, Specifications

CODE = """\
import soundfile
import torch
from pyannote.audio import Pipeline
from pyannote.core import Segment

pipeline = Pipeline.from_pretrained("{folder}")
# Samples instead of a path, since pyannote reads files only where FFmpeg is installed.
samples, rate = soundfile.read("talk.wav", dtype="float32", always_2d=True)
output = pipeline({{"waveform": torch.from_numpy(samples.T), "sample_rate": rate}})
# The pipeline's last turns may end up to a second after the recording.
turns = output.speaker_diarization.crop(Segment(0, len(samples) / rate))
print(turns)
"""
"""Loads an exported pipeline and diarizes a file with it."""


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


def export_packaged(
    network: PyannoteNetwork, hyperparameters: Mapping[str, Any], folder: Path, plda: Path | None
) -> str:
    """Write the packaged pipeline with a network as a folder of the published form.

    Returns the code that loads it.
    """
    _write_model(folder / "segmentation", network.model)
    _write_model(folder / "embedding", Embedding())
    vbx = hyperparameters["clustering.method"] == VBX
    write_plda(folder / "plda", plda if vbx else None, DIMENSION)
    unused = ("method", "min_cluster_size") if vbx else ("Fa", "Fb")
    used = {key: value for key, value in hyperparameters.items() if key.partition(".")[2] not in unused}
    options = {
        "segmentation_batch_size": 32,
        "embedding_batch_size": 32,
        "embedding_exclude_overlap": True,
        "clustering": "VBxClustering" if vbx else "AgglomerativeClustering",
    }
    return _write_configuration(folder, options, used)


def export_published(
    network: PyannoteNetwork, hyperparameters: Mapping[str, Any], folder: Path, published: PublishedPipeline
) -> str:
    """Write a published pipeline with another network and other values; returns the code that loads it."""
    _write_model(folder / "segmentation", network.model)
    (folder / "embedding").mkdir()
    shutil.copyfile(published.embedding, folder / "embedding" / published.embedding.name)
    write_plda(folder / "plda", published.plda, load_wespeaker(published.embedding).dimension)
    options = published.options.model_dump(exclude={"segmentation", "embedding", "plda"})
    return _write_configuration(folder, options, hyperparameters)


def _write_model(folder: Path, model: Model) -> None:
    """Write a model as pyannote.audio does."""
    folder.mkdir(parents=True)
    checkpoint: dict[str, Any] = {
        "pytorch-lightning_version": lightning.__version__,
        "state_dict": model.state_dict(),
        "hyper_parameters": dict(model.hparams),
    }
    model.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, folder / WEIGHTS)


def _write_configuration(folder: Path, options: Mapping[str, Any], hyperparameters: Mapping[str, Any]) -> str:
    """Write ``config.yaml``; returns the code that loads the folder."""
    places = {part: f"$model/{part}" for part in ("segmentation", "embedding", "plda")}
    config = {
        "dependencies": {"pyannote.audio": "4.0.0"},
        "pipeline": {"name": CLASSES[0], "params": {**places, **options}},
        "params": _nested(hyperparameters),
    }
    write_atomic(folder / CONFIG, yaml.safe_dump(config, sort_keys=False))
    return CODE.format(folder=folder)


def _nested(hyperparameters: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Convert ``{"a.b": 1}`` to ``{"a": {"b": 1}}``, the format of a pipeline's parameters."""
    nested: dict[str, dict[str, Any]] = {}
    for name, value in hyperparameters.items():
        group, _, key = name.partition(".")
        nested.setdefault(group, {})[key] = value
    return nested
