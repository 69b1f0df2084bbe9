"""The datasets that can be fetched by name, and where they are stored."""

from __future__ import annotations

import logging
from importlib import import_module
from pathlib import Path
from types import ModuleType

from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.errors import UserError, did_you_mean
from diarbench.datasets.io.files import cache_dir, temporary_folder
from diarbench.datasets.roots import dataset_roots

log = logging.getLogger(__name__)

KNOWN = {
    "ami-mini": "diarbench.datasets.corpora.ami_mini",
    "debian-voices": "diarbench.datasets.corpora.debian_voices",
}
"""The module of each dataset, with SUMMARY, LICENCE and ``fetch(target, downloads)``."""


def known(name: str) -> ModuleType:
    """The module of a known dataset. Raises UserError if the name is unknown."""
    if name not in KNOWN:
        raise UserError(
            f"{name}: neither a known dataset{did_you_mean(name, KNOWN)} nor a folder; see 'bench data list'"
        )
    return import_module(KNOWN[name])


def location(name: str) -> Path:
    """The folder where a known dataset is stored."""
    return cache_dir() / "datasets" / name


def fetch(name: str) -> Dataset:
    """Open a known dataset; fetch and convert it first if necessary."""
    module, target = known(name), location(name)
    if not target.exists():
        _fetch_and_rename(module, target)
    return Dataset.open(target)


def _fetch_and_rename(module: ModuleType, target: Path) -> None:
    """Fetch into a temporary folder and rename it, so that two processes can fetch at the same time."""
    try:
        with temporary_folder(target) as temporary:
            module.fetch(temporary / target.name, cache_dir() / "downloads")
            try:
                (temporary / target.name).rename(target)
            except OSError:
                if not target.exists():
                    raise
    except OSError as error:
        where = error.filename or target
        raise UserError(
            f"{where}: {error.strerror}; free some disk space or set DIARBENCH_CACHE to another folder"
        ) from error


def open_dataset(name_or_path: str) -> Dataset:
    """Open a converted dataset by path or by its name in a folder of datasets, or a known one, which is fetched first.

    Raises UserError if it is neither, or cannot be fetched.
    """
    for path in (Path(name_or_path), *(folder / name_or_path for folder in dataset_roots())):
        if path.is_dir():
            return Dataset.open(path)
    return fetch(name_or_path)
