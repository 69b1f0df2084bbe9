"""Check that a dataset's files are still those that its fingerprint was computed from."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from diarbench.datasets.conversion.converted import FILE_KINDS, fingerprint
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import cache_dir, digest, sha256_of
from diarbench.datasets.io.records import Record, read_record, write_record


class FileHash(Record):
    """A file's hash, and the size and time of change by which it is known to be current."""

    size: int
    changed_ns: int
    sha256: str


class FileHashes(Record):
    """The hashes of a dataset's files when they last had its fingerprint, by path in the dataset."""

    files: dict[str, FileHash]


def check_unchanged(dataset: Dataset) -> None:
    """Raises UserError where a file changed since the dataset was converted, with its name where it is known.

    A file is hashed where its size or time of change is not that of the last check ('bench data check' hashes all). The
    hashes are kept in the cache folder, which may be deleted.
    """
    cache = cache_dir() / "hashes" / f"{digest([str(dataset.root.resolve()), dataset.info.fingerprint])}.json"
    known: dict[str, FileHash] = {}
    with suppress(UserError):  # the first check, or a damaged cache
        known = read_record(cache, FileHashes).files
    current: dict[str, FileHash] = {}
    hashes = {}
    for subset, listed in dataset.recordings.items():
        for recording in listed:
            of_recording = {}
            for kind, path in zip(FILE_KINDS, recording.files, strict=True):
                name = str(path.relative_to(dataset.root))
                current[name] = _hash(path, known.get(name))
                of_recording[kind] = current[name].sha256
            hashes[recording.uri] = (subset, of_recording)
    if fingerprint(hashes) != dataset.info.fingerprint:
        changed = [name for name, file in current.items() if name in known and file.sha256 != known[name].sha256]
        which = f"{dataset.root / changed[0]}: changed" if changed else f"{dataset.root}: its files changed"
        raise UserError(
            f"{which} since the dataset was converted; restore it, or accept it with 'bench data check --fix "
            f"{dataset.root}' and choose another --out"
        )
    if current != known:
        with suppress(UserError):  # a full or read-only disk costs only the time of the next check
            write_record(cache, FileHashes(files=current))


def _hash(path: Path, known: FileHash | None) -> FileHash:
    try:
        stat = path.stat()
        if known and (known.size, known.changed_ns) == (stat.st_size, stat.st_mtime_ns):
            return known
        return FileHash(size=stat.st_size, changed_ns=stat.st_mtime_ns, sha256=sha256_of(path))
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); restore it, or convert the dataset again"
        ) from error
