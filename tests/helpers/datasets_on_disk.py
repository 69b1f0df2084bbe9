"""Datasets whose files a test has changed on purpose."""

from __future__ import annotations

from pathlib import Path

from diarbench.datasets.conversion.converted import FILE_KINDS, fingerprint
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.files import sha256_of
from diarbench.datasets.io.records import write_record


def accept_files(root: Path) -> Dataset:
    """Write the fingerprint of the files as they are now into ``dataset.json``."""
    dataset = Dataset.open(root)
    hashes = {
        r.uri: (subset, dict(zip(FILE_KINDS, map(sha256_of, (r.audio, r.rttm, r.uem)), strict=True)))
        for subset, listed in dataset.recordings.items()
        for r in listed
    }
    write_record(root / "dataset.json", dataset.info.model_copy(update={"fingerprint": fingerprint(hashes)}))
    return Dataset.open(root)
