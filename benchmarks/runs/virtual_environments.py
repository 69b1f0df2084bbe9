"""Virtual environments in the user's cache, one a backend: ``bench env create``."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import distributions, version
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlparse

from diarbench.backends import registry
from diarbench.datasets.io.errors import UserError, did_you_mean
from diarbench.datasets.io.files import cache_dir
from diarbench.datasets.io.lock import hold, is_lock
from diarbench.datasets.io.names import require_name
from diarbench.datasets.io.records import Record, write_record

CONSTRAINTS = "constraints.txt"
"""Beside a backend's module: the versions that its environment is pinned to."""


class Made(Record):
    """``environment.json``: written last, so that an environment without it is incomplete."""

    name: str
    requirements: tuple[str, ...]


def folder_of(name: str) -> Path:
    """Where the environment of a backend is."""
    return cache_dir() / "environments" / name


def python_of(name: str) -> Path:
    """The interpreter of the environment that was made for a backend. Raises UserError where there is none."""
    folder = folder_of(name)
    if not (folder / "environment.json").is_file():
        state = "is not complete" if folder.is_dir() else "does not exist"
        raise UserError(f"--env {name}=auto: {folder} {state}; make it: bench env create {name}")
    return folder / "bin" / "python"


def made() -> Iterator[str]:
    """The names of the complete environments."""
    for path in sorted(folder_of("*").parent.glob("*/environment.json")):
        yield path.parent.name


def create(name: str, packages: Sequence[str], run: Callable[[list[str]], int]) -> Path:
    """Make the environment of a backend and install it there; returns its interpreter.

    ``packages``: what installs a third party's backend, for pip; one of our own installs itself. ``run`` runs a command
    and returns its exit status. Raises UserError where the environment exists, and where pip fails: nothing is left.
    """
    require_name(name, "name the backend")
    requirements = (*_diarbench(_extra(name, packages)), *packages)
    folder = folder_of(name)
    if (folder / "environment.json").is_file():
        raise UserError(f"{folder}: exists; to make it again, remove it first")
    with hold(folder):
        for entry in folder.iterdir():  # what a killed command left
            if not is_lock(entry):
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        python = folder / "bin" / "python"
        pinned = [part for path in _constraints(name) for part in ("--constraint", str(path))]
        try:
            for command in (
                [sys.executable, "-m", "venv", str(folder)],
                [str(python), "-m", "pip", "install", *pinned, *requirements],
            ):
                if status := run(command):
                    raise UserError(
                        f"{folder}: {' '.join(command[:4])} ended with status {status}; see its message above"
                    )
            write_record(folder / "environment.json", Made(name=name, requirements=requirements))
        except BaseException:
            shutil.rmtree(folder)
            raise
    return python


def _extra(name: str, packages: Sequence[str]) -> str:
    """The extra of diarbench that installs a backend; empty where other packages do."""
    if packages:
        return ""
    if name not in registry.BUILTIN:
        hint = did_you_mean(name, registry.BUILTIN) or f"; one of {', '.join(registry.BUILTIN)}"
        raise UserError(f"{name}: no backend of diarbench{hint}; or give the packages that install it")
    return f"[{registry.BUILTIN[name].extra}]"


def _diarbench(extra: str) -> tuple[str, ...]:
    """What pip installs as the diarbench that runs here: a checkout where this is one, else the same version."""
    # In a checkout's root its egg-info, which says nothing of this, hides the installed distribution.
    texts = (found.read_text("direct_url.json") for found in distributions(name="diarbench"))
    source = json.loads(next(filter(None, texts), "{}"))
    url = urlparse(source.get("url", ""))
    if url.scheme != "file":
        return (f"diarbench{extra}=={version('diarbench')}",)
    path = f"{unquote(url.path)}{extra}"
    return ("--editable", path) if source.get("dir_info", {}).get("editable") else (path,)


def _constraints(name: str) -> Iterator[Path]:
    """The file that pins a backend of our own, where it has one."""
    if entry := registry.BUILTIN.get(name):
        spec = find_spec(entry.target.rpartition(":")[0].rpartition(".")[0])
        for folder in spec.submodule_search_locations or () if spec else ():
            if (path := Path(folder) / CONSTRAINTS).is_file():
                yield path
