"""Datasets whose files a test has changed on purpose."""

from __future__ import annotations

from pathlib import Path

from diarbench.datasets.checking.check import check
from diarbench.datasets.checking.files import current_fingerprint
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.records import write_record


def accept_files(root: Path) -> Dataset:
    """Write the fingerprint of the files as they are now into ``dataset.json``."""
    dataset = Dataset.open(root)
    recordings = [recording for listed in dataset.recordings.values() for recording in listed]
    fingerprint = current_fingerprint(check(root).audio, recordings)
    write_record(root / "dataset.json", dataset.info.model_copy(update={"fingerprint": fingerprint}))
    return Dataset.open(root)
