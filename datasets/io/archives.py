"""Archives: limits on what they unpack to, and members read without a file written."""

from __future__ import annotations

import gzip
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import IO

from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import open_file

LARGEST_RATIO = 4
"""Weights hardly compress. An archive that unpacks to more than so many times its size is refused."""
MOST_MEMBERS = 1000
LARGEST_TEXT_RATIO = 50
"""The same for text, such as a manifest."""
ALLOWANCE_BYTES = 64_000_000
"""A small archive may unpack to this, whatever its ratio."""


def check_zip(source: Path | str, file: Path | IO[bytes], size: int) -> None:
    """Check a ZIP file, the format of torch and numpy, by the sizes in its directory.

    Raises UserError where it would unpack to far more than its ``size`` in bytes, and zipfile's own errors where it is
    damaged.
    """
    with zipfile.ZipFile(file) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > _limit(size):
        raise _too_large(source, size, unpacked)


def check_unpacked(source: Path | str, size: int, unpacked: int) -> None:
    """Raises UserError where ``size`` bytes of text or of samples would unpack to far more."""
    if unpacked > ALLOWANCE_BYTES + LARGEST_TEXT_RATIO * size:
        raise _too_large(source, size, unpacked)


def read_tar_member(path: Path, name: str) -> bytes:
    """The content of one member of a tar archive, plain or compressed by gzip; nothing is written to disk.

    Raises UserError where the archive is damaged, has no such regular file, or would unpack to far more than its size.
    """
    try:
        with open_file(path) as file, _unzipped(file) as unzipped:
            limited = _Limited(unzipped, path, path.stat().st_size)
            with tarfile.open(fileobj=limited, mode="r:") as archive:  # type: ignore[call-overload]
                for number, member in enumerate(archive):
                    if number > MOST_MEMBERS or member.size < 0:
                        raise UserError(f"{path}: damaged, or not the archive of a network")
                    if Path(member.name).name == name:
                        if not member.isreg() or member.issparse():
                            raise UserError(f"{path}: its {name} is a link or another special file; refused")
                        content = archive.extractfile(member)
                        assert content is not None
                        return bytes(content.read())
    except (tarfile.TarError, EOFError, OSError, zlib.error, ValueError, KeyError, RecursionError) as error:
        raise UserError(f"{path}: damaged, truncated or not a tar archive ({error})") from error
    raise UserError(f"{path}: contains no {name}")


def check_gzip(path: Path) -> None:
    """Check a compressed text by unpacking it, without keeping it.

    Raises UserError where it is damaged or unpacks to far more than its size.
    """
    unpacked = 0
    try:
        size = path.stat().st_size
        with open_file(path) as compressed, gzip.GzipFile(fileobj=compressed) as file:
            while block := file.read(1_000_000):
                unpacked += len(block)
                check_unpacked(path, size, unpacked)
    except (EOFError, OSError, zlib.error) as error:
        raise UserError(f"{path}: damaged or truncated ({error})") from error


def _unzipped(file: IO[bytes]) -> IO[bytes]:
    """The file, decompressed where it is a gzip file."""
    is_gzip = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    return gzip.GzipFile(fileobj=file) if is_gzip else file  # type: ignore[return-value]


class _Limited:
    """A file that is read no further than the limit for an archive of ``size`` bytes."""

    def __init__(self, file: IO[bytes], source: Path, size: int) -> None:
        self.file, self.source, self.size = file, source, size

    def read(self, count: int) -> bytes:
        self._check(self.file.tell() + count)
        return self.file.read(count)

    def seek(self, position: int) -> int:
        if position < self.file.tell() - tarfile.RECORDSIZE:
            raise tarfile.ReadError("a negative size leads backwards")
        self._check(position)
        return self.file.seek(position)

    def tell(self) -> int:
        return self.file.tell()

    def _check(self, position: int) -> None:
        if position > _limit(self.size):
            raise _too_large(self.source, self.size, position)


def _limit(size: int) -> int:
    return ALLOWANCE_BYTES + LARGEST_RATIO * size


def _too_large(source: Path | str, size: int, unpacked: int) -> UserError:
    return UserError(f"{source}: {size:,} bytes that would unpack to {unpacked:,} or more; refused")
