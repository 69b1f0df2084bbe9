"""Check that a dataset's files are still those that its fingerprint was computed from, and that they stay so."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from diarbench.datasets.conversion.converted import FILE_KINDS, fingerprint
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import cache_dir, digest
from diarbench.datasets.io.records import Record, read_record, write_record
from diarbench.datasets.io.watch import FileHash, Watch


class FileHashes(Record):
    """The hashes of a dataset's files when they last had its fingerprint, by path in the dataset."""

    files: dict[str, FileHash]


def watched(dataset: Dataset) -> Dataset:
    """The dataset, checked by `check_unchanged`, whose recordings are only read while their files stay as they are."""
    watch = Watch(check_unchanged(dataset), _changed(dataset))
    return replace(
        dataset,
        recordings={
            subset: tuple(replace(recording, watch=watch) for recording in listed)
            for subset, listed in dataset.recordings.items()
        },
    )


def check_unchanged(dataset: Dataset) -> dict[Path, FileHash]:
    """The hashes of a dataset's files.

    Raises UserError where a file changed since the dataset was converted, with its name where it is known. A file is
    hashed where it was touched since the last check ('bench data check' hashes all). The hashes are kept in the cache
    folder, which may be deleted.
    """
    cache = cache_dir() / "hashes" / f"{digest([str(dataset.root.resolve()), dataset.info.fingerprint])}.json"
    known: dict[str, FileHash] = {}
    with suppress(UserError):  # the first check, or a damaged cache
        known = read_record(cache, FileHashes).files
    current: dict[str, FileHash] = {}
    by_path: dict[Path, FileHash] = {}
    hashes = {}
    for subset, listed in dataset.recordings.items():
        for recording in listed:
            of_recording = {}
            for kind, path in zip(FILE_KINDS, recording.files, strict=True):
                name = str(path.relative_to(dataset.root))
                current[name] = by_path[path] = FileHash.of(path, known.get(name))
                of_recording[kind] = current[name].sha256
            hashes[recording.uri] = (subset, of_recording)
    if fingerprint(hashes) != dataset.info.fingerprint:
        changed = [name for name, file in current.items() if name in known and file.sha256 != known[name].sha256]
        which = f"{dataset.root / changed[0]}: " if changed else f"{dataset.root}: its files "
        raise UserError(which + _changed(dataset))
    if current != known:
        with suppress(UserError):  # a full or read-only disk costs only the time of the next check
            write_record(cache, FileHashes(files=current))
    return by_path


def _changed(dataset: Dataset) -> str:
    return (
        "changed since the dataset was converted; restore it and run the same command again, or accept it with "
        f"'bench data check --fix {dataset.root}' and choose another --out"
    )
