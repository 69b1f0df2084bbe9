"""Files: hashes, atomic writes, searches below a folder, and the cache folder."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import json
import logging
import os
import shutil
import stat
import tempfile
import time
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.names import visible

log = logging.getLogger(__name__)

PARTIAL = ".partial"
"""The suffix of hidden files and folders that are not written to their end."""


def cache_dir() -> Path:
    """Where fetched datasets are kept; the environment variable DIARBENCH_CACHE moves it."""
    import platformdirs

    return Path(os.environ.get("DIARBENCH_CACHE") or platformdirs.user_cache_path("diarbench"))


def nfc(text: str) -> str:
    """Unicode's composed form, in which names are compared."""
    return unicodedata.normalize("NFC", text)


def files(root: Path, suffixes: Iterable[str]) -> list[Path]:
    """Files below a folder with one of the suffixes in any case, sorted, without hidden ones; links are followed.

    A link to a file that does not exist is logged. Raises UserError as `all_files` does.
    """
    wanted = set(suffixes)
    found = [path for path in all_files(root) if path.suffix.lower() in wanted and not path.name.startswith(".")]
    for path in found:
        if path.is_symlink() and not path.exists():
            log.warning("%s: a link to a file that does not exist", path)
    return sorted(path for path in found if path.is_file())


def all_files(root: Path) -> Iterator[Path]:
    """Everything below a folder that is not a folder; links to folders are followed.

    A folder that cannot be read is logged. Raises UserError for a link to a folder that contains it.
    """

    def skip(error: OSError) -> None:
        log.warning("%s: cannot be read (%s)", error.filename, error.strerror)

    for folder, subfolders, names in os.walk(root, onerror=skip, followlinks=True) if root.is_dir() else ():
        for path in (Path(folder, name) for name in subfolders):
            if path.is_symlink() and _is_loop(path, root):
                raise UserError(f"{path}: a link to a folder that contains it; remove the link")
        yield from (Path(folder, name) for name in names)


def _is_loop(link: Path, root: Path) -> bool:
    """Whether a link below the root leads to a folder on the way to it, through other links too."""
    target = link.resolve()
    way = link.parents[: len(link.relative_to(root).parts)]
    return any(folder.resolve().is_relative_to(target) for folder in way)


def refuse_outside(path: Path, root: Path) -> None:
    """Raises UserError where a link leads from a path in a folder to a place outside it."""
    if not path.resolve().is_relative_to(root.resolve()):
        raise UserError(f"{path}: a link leads out of {root}; put the file itself there")


LARGEST_BYTES = 500_000_000
"""Of a file that is read at once. A sparse file of any size takes no room in an archive."""


def open_file(path: Path) -> io.BufferedReader:
    """Open a regular file, to read its bytes. Every file that may be a stranger's is opened by this.

    Raises OSError for anything else: a pipe would wait for a writer, and a device has no end.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # not blocking: a pipe without a writer opens at once
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def read_bytes(path: Path, is_own: bool = False) -> bytes:
    """The content of a file. Raises OSError as `open_file` does, and for a file of more than LARGEST_BYTES.

    A file that ``is_own``, such as a checkpoint of this run, may be of any size.
    """
    with open_file(path) as file:
        if not is_own and os.fstat(file.fileno()).st_size > LARGEST_BYTES:
            raise OSError(errno.EFBIG, f"larger than {LARGEST_BYTES:,} bytes", str(path))
        return file.read()


def read_text(path: Path, encoding: str = "utf-8", errors: str = "strict") -> str:
    """The content of a text file, its lines ended by ``\\n``.

    Raises OSError as `read_bytes` does, and UnicodeDecodeError.
    """
    return read_bytes(path).decode(encoding, errors).replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: Path, text: str | None = None, where: str = "", unique_keys: bool = True) -> Any:
    """The content of a JSON file, or of a part of it in ``text``.

    Raises UserError with ``file:line``, and for an object with repeated keys unless ``unique_keys`` is false.
    """
    try:
        content = read_text(path, "utf-8-sig") if text is None else text
        return json.loads(content, object_pairs_hook=object_of if unique_keys else None)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except (ValueError, RecursionError) as error:
        line = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) and text is None else ""
        raise UserError(f"{where or str(path) + line}: cannot be read as JSON ({error})") from error


def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object with these keys and values. Raises ValueError for a repeated key, where `json` keeps the last."""
    content = dict(pairs)
    if len(content) < len(pairs):
        key, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"an object has the key {visible(key)[:40]} more than once; keep one of them")
    return content


LARGEST_HASHED_BYTES = 10**10
"""A day of audio has 3 GB, and the largest published weights half of one. A sparse file is hashed for hours."""


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes.

    Raises OSError as `open_file` does, and for a file of more than LARGEST_HASHED_BYTES.
    """
    with open_file(path) as file:
        if os.fstat(file.fileno()).st_size > LARGEST_HASHED_BYTES:
            raise OSError(errno.EFBIG, f"larger than {LARGEST_HASHED_BYTES:,} bytes", str(path))
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: Any) -> str:
    """A hash, as sixteen hexadecimal digits, of a JSON-like value or a record."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def check_file(path: Path) -> None:
    """Raises UserError where an audio file is a folder or absent."""
    if not path.is_file():
        raise UserError(f"{path}: {'is a folder, not an audio file' if path.is_dir() else 'no such audio file'}")


def make_folder(folder: Path) -> None:
    """Create a folder where it is missing. Raises UserError where no file can be written to it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = "is a file" if folder.is_file() else f"cannot be written ({error.strerror})"
        raise UserError(f"{folder}: {reason}; choose another folder") from error


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all: temporary name beside it, flush to disk, rename.

    Raises UserError where the disk refuses, naming the file.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=PARTIAL, delete=False) as file:
            temporary = Path(file.name)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot be written ({error.strerror}); free some room or choose another") from error


def remove_partial(folder: Path, older_than_s: float = 0) -> None:
    """Remove what `write_atomic` left below a folder when its process was killed.

    ``older_than_s``: for a folder in which other processes may be writing.
    """
    for path in folder.rglob(f".*{PARTIAL}"):
        with suppress(OSError):  # another process removed it, or the disk is read-only
            if time.time() - path.stat().st_mtime >= older_than_s:
                path.unlink()


@contextmanager
def temporary_folder(target: Path) -> Iterator[Path]:
    """A hidden folder beside a file or folder that is being made; removed at the end.

    Such folders of the same target whose process was killed are removed first: its lock ended with it.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for folder in target.parent.glob(f".{target.name}.*{PARTIAL}"):
        with suppress(OSError), (folder / ".lock").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
    with (
        tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.", suffix=PARTIAL) as name,
        (Path(name) / ".lock").open("w") as lock,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Path(name)
