"""One command a folder: a second one in the same folder would overwrite the first one's records.

The lock is ``flock`` on a file in the folder, which the system releases when its process ends, however it ends. Some
shared disks keep such locks on each machine alone, so the file also names host and process, and its holder touches it.
"""

from __future__ import annotations

import fcntl
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import make_folder
from diarbench.datasets.io.records import Record

TOUCH_S = 30.0
"""How often the holder touches the file."""

STALE_S = 300.0
"""A lock of another machine that was not touched for so long belongs to a process that is gone."""


class Holder(Record):
    """The process that holds a folder."""

    host: str
    pid: int
    since: str


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Hold a comparison's folder for the duration of the block.

    Raises UserError where another process holds it, with its host and process, or where the file cannot be written.
    """
    path = folder / ".lock"
    make_folder(folder)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); choose another --out") from error
    stopped = threading.Event()
    try:
        _lock(path, descriptor)
        here = Holder(host=socket.gethostname(), pid=os.getpid(), since=datetime.now().strftime("%Y-%m-%d %H:%M:%S"))
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, here.model_dump_json().encode(), 0)
        threading.Thread(target=_keep_touching, args=(descriptor, stopped), daemon=True).start()
        yield
        path.unlink(missing_ok=True)
    finally:
        stopped.set()
        os.close(descriptor)


def _lock(path: Path, descriptor: int) -> None:
    """Raises UserError where the file is locked by another process, here or on another machine."""
    other = _read(descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = f"since {other.since} by process {other.pid} on {other.host}" if other else "by another process"
        raise UserError(f"{path.parent}: a command is running here {holder}; wait for it, or stop it") from error
    is_elsewhere = other is not None and other.host != socket.gethostname()
    if is_elsewhere and other and time.time() - os.fstat(descriptor).st_mtime < STALE_S:
        raise UserError(
            f"{path.parent}: a command is running here since {other.since} by process {other.pid} on {other.host}; "
            f"if that machine is gone, remove {path}"
        )


def _read(descriptor: int) -> Holder | None:
    try:
        return Holder.model_validate_json(os.pread(descriptor, 4096, 0))
    except ValidationError:  # a new file, or one that its process had no time to write
        return None


def _keep_touching(descriptor: int, stopped: threading.Event) -> None:
    while not stopped.wait(TOUCH_S):
        try:
            os.utime(descriptor)
        except OSError:
            return
