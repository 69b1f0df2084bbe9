"""A published pipeline of pyannote.audio: ``config.yaml``, a segmentation network, a speaker embedding and a PLDA.

It is a folder of that form, or a repository on the Hugging Face hub. Configuration and files are read without running
code from them: its classes come from a fixed list, its weights are tensors only. No toolkit is imported here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, ValidationError

from diarbench.backends.base import HubFiles, InitialWeights
from diarbench.backends.initial_weights import SCRATCH, cached_hub_file, download_weights
from diarbench.backends.pyannote.plda import FILES as PLDA_FILES
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import sha256_of
from diarbench.datasets.io.names import check_relative_path
from diarbench.datasets.io.records import Record, first_problem
from diarbench.datasets.io.yaml_files import read_yaml
from diarbench.reports.results.run import Pipeline

CONFIG, WEIGHTS = "config.yaml", "pytorch_model.bin"

VBX = "VBxClustering"

CLASSES = (
    "pyannote.audio.pipelines.SpeakerDiarization",
    "pyannote.audio.pipelines.speaker_diarization.SpeakerDiarization",
)


class Known(Record):
    """Facts about a repository that its files do not contain."""

    name: str
    licence: str
    segmentation_3_0: bool = False
    """Whether its segmentation network is segmentation-3.0."""


KNOWN = {
    "pyannote/speaker-diarization-community-1": Known(name="community-1", licence="CC-BY-4.0"),
    "pyannote/speaker-diarization-3.1": Known(name="speaker-diarization-3.1", licence="MIT", segmentation_3_0=True),
}
"""The published pipelines that `bench doctor` looks for, by repository."""


class _Strict(Record):
    model_config = ConfigDict(strict=True)


class Options(_Strict):
    """``pipeline.params`` in a configuration: where the parts are, and how they are put together."""

    segmentation: str
    embedding: str
    plda: str | None = None
    clustering: Literal["VBxClustering", "AgglomerativeClustering"] = VBX  # type: ignore[assignment]
    segmentation_batch_size: int = Field(default=1, ge=1, le=10_000)
    embedding_batch_size: int = Field(default=1, ge=1, le=10_000)
    embedding_exclude_overlap: bool = False


class _Pipeline(_Strict):
    name: str
    params: Options


class Segmentation(_Strict):
    """Hyper-parameters of the segmentation; only a network with one sigmoid per speaker has a threshold."""

    min_duration_off: float = Field(ge=0, le=60)
    threshold: float | None = Field(default=None, gt=0, lt=1)


class Vbx(_Strict):
    """Hyper-parameters of VBx clustering."""

    threshold: float = Field(gt=0, le=2)
    Fa: float = Field(gt=0, le=100)
    Fb: float = Field(gt=0, le=1000)


class Agglomerative(_Strict):
    """Hyper-parameters of agglomerative clustering."""

    method: Literal["average", "centroid", "complete", "median", "single", "ward", "weighted"]
    min_cluster_size: int = Field(ge=1, le=10_000)
    threshold: float = Field(ge=0, le=2)


class _Configuration(_Strict):
    version: Any = None
    dependencies: dict[str, Any] = Field(default_factory=dict)
    pipeline: _Pipeline
    params: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class PublishedPipeline:
    """A pipeline whose configuration was read and whose files are on this machine."""

    source: str
    """``hub:ID``, ``hub:ID@REVISION`` or the path of its folder."""
    options: Options
    hyperparameters: Mapping[str, Any]
    """The published values, by ``segmentation.NAME`` and ``clustering.NAME``."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """By their paths in a folder of the published form."""

    @property
    def segmentation(self) -> Path:
        return self.files[f"segmentation/{WEIGHTS}"]

    @property
    def embedding(self) -> Path:
        return self.files[f"embedding/{WEIGHTS}"]

    @property
    def plda(self) -> Path | None:
        """The folder of the PLDA's files; None where the configuration names none."""
        file = self.files.get(f"plda/{PLDA_FILES[0]}")
        return file.parent if file else None

    @property
    def clusters_by_vbx(self) -> bool:
        return self.options.clustering == VBX

    @property
    def known(self) -> Known | None:
        return KNOWN.get(repository_of(self.source))

    def record(self) -> Pipeline:
        """Its name, origin and the hash of each file."""
        name = self.known.name if self.known else self.source.rstrip("/").rpartition("/")[2]
        licence = self.known.licence if self.known else None
        hashes = {name: sha256_of(file) for name, file in self.files.items()}
        return Pipeline(name=name, source=self.source, licence=licence, files=hashes)


def repository_of(source: str) -> str:
    """The repository in ``hub:ID`` or ``hub:ID@REVISION``."""
    return source.removeprefix("hub:").partition("@")[0]


def open_pipeline(source: str, download: bool = False) -> PublishedPipeline:
    """Read a pipeline's configuration and find its files; with ``download``, those on the hub are fetched.

    Raises UserError for anything but a pipeline of the published form, and where a file is missing.
    """
    home = _HubRepository(source, download) if source.startswith("hub:") else _Folder(source)
    config = home.file(CONFIG)
    options, hyperparameters = read_configuration(config)
    files = {CONFIG: config}
    for part, place, names in _wanted(options):
        where, prefix = _locate(home, config, part, place, download)
        files |= {f"{part}/{name}": where.file(f"{prefix}{name}") for name in names}
    return PublishedPipeline(source, options, hyperparameters, files)


def read_configuration(path: Path) -> tuple[Options, dict[str, Any]]:
    """The parts and the hyper-parameters in a ``config.yaml``.

    Raises UserError, with the key, for a pipeline of another kind, and for keys and values that are not on the list.
    """
    content = read_yaml(path)
    if not isinstance(content, dict) or not isinstance(content.get("pipeline"), dict):
        raise UserError(f"{path}: not the configuration of a pyannote.audio pipeline (no 'pipeline')")
    if (name := content["pipeline"].get("name")) not in CLASSES:
        raise UserError(f"{path}: pipeline.name: {str(name)[:80]} is not supported; expected {CLASSES[0]}")
    _check_version(path, content)
    config = _validated(path, "", _Configuration, content)
    options = config.pipeline.params
    if unknown := sorted(config.params.keys() - {"segmentation", "clustering"}):
        raise UserError(f"{path}: params.{unknown[0][:80]}: not supported; expected segmentation and clustering")
    kind = Vbx if options.clustering == VBX else Agglomerative
    values = {
        "segmentation": _validated(path, "params.segmentation.", Segmentation, config.params.get("segmentation", {})),
        "clustering": _validated(path, "params.clustering.", kind, config.params.get("clustering", {})),
    }
    if options.clustering == VBX and options.plda is None:
        raise UserError(f"{path}: pipeline.params.plda: missing, and {VBX} needs a PLDA")
    return options, {
        f"{group}.{key}": value
        for group, chosen in values.items()
        for key, value in chosen.model_dump(exclude_none=True).items()
    }


def _check_version(path: Path, content: Mapping[str, Any]) -> None:
    """Raises UserError where the configuration is of an older pyannote.audio than 3, or of a newer one than here."""
    dependencies = content.get("dependencies")
    required = dependencies.get("pyannote.audio") if isinstance(dependencies, dict) else None
    written = content.get("version") or required
    if written is None:
        return
    number = re.search(r"\d+", str(written))
    major, here = int(number.group()) if number else 0, version("pyannote.audio")
    if major < 3:
        raise UserError(f"{path}: a pipeline of pyannote.audio {str(written)[:20]}; those of 3 and later are supported")
    if major > int(here.partition(".")[0]):
        raise UserError(f"{path}: a pipeline of pyannote.audio {str(written)[:20]}, newer than {here} here")


def _validated(path: Path, prefix: str, kind: type[Any], content: Any) -> Any:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{path}: {prefix}{first_problem(error)[:300]}") from error


def _wanted(options: Options) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Each part, its place as the configuration gives it, and the names of its files."""
    yield "segmentation", options.segmentation, (WEIGHTS,)
    yield "embedding", options.embedding, (WEIGHTS,)
    if options.plda is not None:
        yield "plda", options.plda, PLDA_FILES


def _locate(
    home: _Folder | _HubRepository, config: Path, part: str, place: str, download: bool
) -> tuple[_Folder | _HubRepository, str]:
    """The folder or repository of a part, and the path of the part in it.

    Raises UserError for anything but ``$model/FOLDER`` and a repository's name.
    """
    refused = UserError(
        f"{config}: pipeline.params.{part}: {place[:80]} is not supported; expected $model/FOLDER, inside the "
        "pipeline's folder, or OWNER/NAME on the hub"
    )
    if place.startswith("$model/"):
        try:
            return home, f"{check_relative_path(place.removeprefix('$model/'))}/"
        except ValueError as error:
            raise refused from error
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w.-]+)?", place, re.ASCII):
        raise refused
    return _HubRepository(f"hub:{place}", download), ""


class _Folder:
    """A pipeline's folder on this machine."""

    def __init__(self, source: str) -> None:
        self.root = Path(source)
        if not self.root.is_dir():
            raise UserError(f"--pipeline {source}: no such folder; expected a folder with {CONFIG}, or hub:OWNER/NAME")

    def file(self, name: str) -> Path:
        """Raises UserError where it is missing or a link leads out of the folder."""
        path = self.root / name
        if not path.is_file():
            raise UserError(f"{path}: no such file, which the pipeline needs")
        # In the hub's cache, the files of a snapshot are links into the repository's blobs.
        inside = self.root.resolve()
        inside = inside.parent.parent if inside.parent.name == "snapshots" else inside
        if not path.resolve().is_relative_to(inside):
            raise UserError(f"{path}: a link that leads out of the pipeline's folder; refused")
        return path


class _HubRepository:
    """A repository on the Hugging Face hub, in its client's cache or to be downloaded."""

    def __init__(self, source: str, download: bool) -> None:
        self.repository, _, revision = source.removeprefix("hub:").partition("@")
        self.revision, self.download = revision or None, download

    def file(self, name: str) -> Path:
        """Raises UserError where it is neither in the cache nor can be downloaded."""
        files = HubFiles(self.repository, (name,), self.revision)
        path = cached_hub_file(files)
        if path is None and not self.download:
            page = f"after consent at https://huggingface.co/{self.repository}"
            command = f"hf download {self.repository}"
            raise UserError(f"hub:{self.repository}: {name} is not in the hub's cache: {command}, {page}")
        path = path or download_weights(InitialWeights(SCRATCH, hub=files)).path
        assert path is not None
        return path
