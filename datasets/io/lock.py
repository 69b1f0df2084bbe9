"""One process a folder: a second one in the same folder would overwrite the first one's records.

The highest of the numbered files ``.lock.N`` in a folder is its lock. Its holder touches it, and the system releases
``flock`` on it when the holder ends, however it ends. A lock is abandoned where this machine's process has ended, or
where another machine's has not touched it for long, by the time of the disk that both share. Whoever finds it so
creates the next number, which succeeds once; a holder that sees a higher number has lost the folder.
"""

from __future__ import annotations

import _thread
import errno
import fcntl
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from pydantic import Field, ValidationError

from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import PARTIAL, make_folder, open_file, read_bytes
from diarbench.datasets.io.records import Record

TOUCH_S = 15.0
"""How often the holder touches the lock."""

STALE_S = 180.0
"""A lock of another machine that was not touched for so long is abandoned."""

PREFIX = ".lock."


class Holder(Record):
    """The process that holds a folder."""

    host: str = Field(max_length=300)
    pid: int
    since: str = Field(max_length=30)


class HeldError(UserError):
    """Another process holds the folder."""


@contextmanager
def hold(folder: Path, on_lost: Callable[[], None] = _thread.interrupt_main) -> Iterator[None]:
    """Hold a folder for the duration of the block.

    ``on_lost`` is called from another thread where the folder was lost to another process, which happens only to a
    process that stood still for minutes. Raises HeldError where another process holds the folder, with its host and
    process, and UserError where the folder cannot be written.
    """
    make_folder(folder)
    path, descriptor = _take(folder)
    stopped = threading.Event()
    threading.Thread(target=_keep_touching, args=(path, descriptor, stopped, on_lost), daemon=True).start()
    try:
        yield
    finally:
        stopped.set()
        path.unlink(missing_ok=True)
        os.close(descriptor)


def holder_of(folder: Path, now_s: float | None = None) -> Holder | None:
    """The process that holds a folder; None where none does. ``now_s`` is the disk's time, where it is known."""
    locks = _locks(folder)
    return _holder_of(locks[-1], now_s) if locks else None


def release(folder: Path, pid: int) -> None:
    """Remove the lock of a process of this machine that was killed: other machines need not wait until it is stale."""
    for lock in _locks(folder)[-1:]:
        holder = _read(lock)
        if holder and (holder.host, holder.pid) == (socket.gethostname(), pid):
            lock.unlink(missing_ok=True)


def disk_time_s(folder: Path) -> float:
    """The time by the clock of the folder's disk, which stamps the files of all machines that share it."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=PREFIX, suffix=PARTIAL) as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:  # a disk that is full or read-only
        return time.time()


def _take(folder: Path) -> tuple[Path, int]:
    """Create the folder's next lock, with its descriptor. Raises HeldError where another process holds the folder."""
    here = Holder(host=socket.gethostname(), pid=os.getpid(), since=datetime.now().strftime("%Y-%m-%d %H:%M:%S"))
    try:
        # Written and locked before it has its name, so that nobody sees half a lock.
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=PREFIX, suffix=PARTIAL)
        try:
            os.write(descriptor, here.model_dump_json().encode())
            with suppress(OSError):  # a disk without flock
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return _link(Path(name), folder), descriptor
        except BaseException:
            os.close(descriptor)
            raise
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from error


def _link(file: Path, folder: Path) -> Path:
    """Give a file the name of the folder's next lock, and remove the earlier locks."""
    while True:
        earlier = _locks(folder)
        if earlier and (holder := _holder_of(earlier[-1])):
            raise HeldError(
                f"{folder}: a command is running here since {holder.since} by process {holder.pid} on {holder.host}; "
                "wait for it, or stop it"
            )
        path = folder / f"{PREFIX}{_number(earlier[-1]) + 1 if earlier else 1}"
        try:
            path.hardlink_to(file)
        except FileExistsError:  # another process was faster
            continue
        for lock in earlier:
            lock.unlink(missing_ok=True)
        return path


def _holder_of(lock: Path, now_s: float | None = None) -> Holder | None:
    """The process that holds a lock; None where it is abandoned."""
    holder = _read(lock)
    if holder is None:
        return None
    if holder.host == socket.gethostname() and (is_locked := _is_flocked(lock)) is not None:
        return holder if is_locked else None
    try:
        age_s = (disk_time_s(lock.parent) if now_s is None else now_s) - lock.stat().st_mtime
    except OSError:  # released meanwhile
        return None
    return holder if abs(age_s) < STALE_S else None  # a lock of the future came with a copy of the folder


def _locks(folder: Path) -> list[Path]:
    """The folder's locks by number; only the last counts."""
    return sorted(filter(is_lock, folder.glob(f"{PREFIX}*")), key=_number)


def is_lock(path: Path) -> bool:
    """Whether a file is the lock of its folder, by its name."""
    return path.name.startswith(PREFIX) and path.name.removeprefix(PREFIX).isdecimal()


def _number(lock: Path) -> int:
    return int(lock.name.removeprefix(PREFIX))


def _read(lock: Path) -> Holder | None:
    """The holder; None for a lock that is damaged, was removed meanwhile, or is a link to another file."""
    try:
        return None if lock.is_symlink() else Holder.model_validate_json(read_bytes(lock))
    except (OSError, ValidationError):
        return None


def _is_flocked(lock: Path) -> bool | None:
    """Whether a process of this machine has the lock; None where the disk cannot tell."""
    try:
        with open_file(lock) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except BlockingIOError:
        return True
    except OSError as error:
        return False if error.errno == errno.ENOENT else None


def _keep_touching(path: Path, descriptor: int, stopped: threading.Event, on_lost: Callable[[], None]) -> None:
    while not stopped.wait(TOUCH_S):
        try:
            os.utime(descriptor)
            is_lost = path not in (locks := _locks(path.parent)) or locks[-1] != path
        except OSError:
            continue  # a disk that is away for a moment
        if is_lost and not stopped.is_set():
            on_lost()
            return
