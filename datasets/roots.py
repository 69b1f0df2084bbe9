"""The folders in which this machine keeps datasets; a job names its dataset by fingerprint, to run on others too."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

from diarbench.datasets.dataset import REFERENCES, Dataset, DatasetInfo
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import cache_dir
from diarbench.datasets.io.records import read_record

ROOTS = "DIARBENCH_DATASET_ROOTS"
"""The environment variable that lists folders of datasets, separated as in PATH."""


def dataset_roots() -> list[Path]:
    """The folders whose subfolders are datasets: those of DIARBENCH_DATASET_ROOTS, then the cache's."""
    return [*_listed(), cache_dir() / "datasets"]


def _listed() -> list[Path]:
    return [Path(folder) for folder in os.environ.get(ROOTS, "").split(os.pathsep) if folder]


def add_dataset_roots(folders: Iterable[Path]) -> None:
    """Put folders before those of DIARBENCH_DATASET_ROOTS, for this process and those that it starts.

    Raises UserError where one is not a folder.
    """
    added = [folder.expanduser().resolve() for folder in folders]
    for folder in added:
        if not folder.is_dir():
            raise UserError(f"--dataset-root {folder}: no such folder; give the folder that your datasets are in")
    os.environ[ROOTS] = os.pathsep.join(dict.fromkeys(map(str, [*added, *_listed()])))


def find_dataset(name: str, root: Path, fingerprint: str) -> Dataset:
    """The dataset with this fingerprint: the one at ``root``, else one in this machine's folders of datasets.

    Raises UserError where none has it.
    """
    for candidate in (root, *_in_roots(name)):
        if _fingerprint(candidate) == fingerprint:
            return Dataset.open(candidate)
    if root.exists() and Dataset.open(root).info.fingerprint != fingerprint:
        raise UserError(f"{root}: changed since this run was planned; choose another --out")
    searched = ", ".join(str(folder) for folder in dataset_roots())
    raise UserError(
        f"{root}: dataset {name} ({fingerprint[:12]}) is not on {socket.gethostname()}, here or in {searched}; copy it "
        f"into one of them, or give the folder that it is in with --dataset-root or {ROOTS}"
    )


def _in_roots(name: str) -> Iterator[Path]:
    """The datasets in the known folders, those of this name first."""
    for folder in dataset_roots():
        yield folder / name
    for folder in dataset_roots():
        yield from (record.parent for record in sorted(folder.glob("*/dataset.json")))
        yield from (record.parent for record in sorted(folder.glob(f"*/{REFERENCES}/*/dataset.json")))


def _fingerprint(root: Path) -> str | None:
    """A dataset's fingerprint; None where there is no dataset, or a damaged one."""
    try:
        return read_record(root / "dataset.json", DatasetInfo).fingerprint
    except UserError:
        return None
