"""Datasets by name, those that can be fetched and where they are kept; and sources by format, found by sniffing."""

from __future__ import annotations

import logging
import tempfile
from importlib import import_module
from pathlib import Path
from types import ModuleType

from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.errors import UserError, did_you_mean
from diarbench.datasets.io.files import cache_dir

log = logging.getLogger(__name__)

KNOWN = {
    "ami-mini": "diarbench.datasets.corpora.ami_mini",
    "debian-voices": "diarbench.datasets.corpora.debian_voices",
}
"""Name -> module with SUMMARY, LICENCE and ``fetch(target, downloads)``."""


def known(name: str) -> ModuleType:
    """The module of a known dataset. Raises UserError where there is none of that name."""
    if name not in KNOWN:
        raise UserError(
            f"{name}: no dataset of this name{did_you_mean(name, KNOWN)}, and no such folder; see 'bench data list'"
        )
    return import_module(KNOWN[name])


def location(name: str) -> Path:
    """Where a known dataset is, or will be."""
    return cache_dir() / "datasets" / name


def fetch(name: str) -> Dataset:
    """A known dataset, fetched and converted where it is not yet."""
    module, target = known(name), location(name)
    if not target.exists():
        _fetch_apart(module, target)
    return Dataset.open(target)


def _fetch_apart(module: ModuleType, target: Path) -> None:
    """Fetch into a folder of our own and rename, so that two processes may fetch at once."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as temporary:
            module.fetch(Path(temporary) / target.name, cache_dir() / "downloads")
            try:
                (Path(temporary) / target.name).rename(target)
            except OSError:
                if not target.exists():
                    raise
    except OSError as error:
        where = error.filename or target
        raise UserError(f"{where}: {error.strerror}; free some room or set DIARBENCH_CACHE") from error


def open_dataset(name_or_path: str) -> Dataset:
    """A converted dataset by its path, or a known one by its name, fetched where it is not yet.

    Raises UserError where it is neither, or cannot be fetched.
    """
    path = Path(name_or_path)
    return Dataset.open(path) if path.is_dir() else fetch(name_or_path)
