"""Work a run on a node that does not see the comparison's folder: its files go there and back through Ray.

The node works in a temporary folder. It sends the whole folder back when a state or an epoch ends, so that a run whose
node is lost goes on elsewhere from its last epoch.
"""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from diarbench.benchmarks.runs.executors.node import NodeTask, work_on_node
from diarbench.datasets.io.files import PARTIAL, temporary_folder
from diarbench.datasets.io.lock import is_lock
from diarbench.reports.results.run_folder import RunFolder, refuse_links

LOOK_S = 1.0
"""How often a node looks whether its run's folder is to be sent."""


class Home:
    """The folders of runs, on the driver's machine. An actor: nodes call its methods."""

    def __init__(self) -> None:
        self._attempts: dict[str, int] = {}
        """How often each run was fetched; only the last node that fetched it may store it."""

    def fetch(self, folder: str) -> tuple[int, bytes]:
        """The number of this attempt at a run, and its files."""
        self._attempts[folder] = self._attempts.get(folder, 0) + 1
        return self._attempts[folder], pack(Path(folder))

    def store(self, folder: str, attempt: int, content: bytes | None) -> bool:
        """Replace a run's files, where there are new ones, and keep its lock from being taken as abandoned.

        Returns whether the run goes on: not where it was cancelled, or where another node has fetched it.
        """
        if attempt != self._attempts[folder]:
            return False
        if content is not None:
            unpack(content, Path(folder))
        for lock in filter(is_lock, Path(folder).iterdir()):
            os.utime(lock)
        return not RunFolder(Path(folder)).cancelled.exists()


def work_away(task: NodeTask, home: Any) -> tuple[int, str]:
    """Work a run in a temporary folder of this node. Returns the worker's exit status and last words.

    ``home`` is the handle of the actor `Home`.
    """
    import ray

    with tempfile.TemporaryDirectory(prefix="diarbench-") as place:
        folder = Path(place) / Path(task.folder).name
        attempt, content = ray.get(home.fetch.remote(task.folder))
        unpack(content, folder)
        for lock in filter(is_lock, folder.iterdir()):  # of a node that was lost
            lock.unlink()
        here = replace(task, folder=str(folder), command=[*task.command[:-1], str(RunFolder(folder).job)])
        stopped = threading.Event()

        def keep_sending() -> None:
            sent = _version(folder)
            while not stopped.wait(LOOK_S):
                version = _version(folder)
                with suppress(ray.exceptions.RayError):  # such as a disk that is full for a moment
                    content = pack(folder) if version != sent else None
                    if not ray.get(home.store.remote(task.folder, attempt, content)):
                        RunFolder(folder).cancelled.touch()
                    sent = version

        sender = threading.Thread(target=keep_sending, daemon=True)
        sender.start()
        try:
            status, words = work_on_node(here)
        finally:
            stopped.set()
            sender.join()
        ray.get(home.store.remote(task.folder, attempt, pack(folder)))
        return status, words


def pack(folder: Path) -> bytes:
    """A tar archive of a run's files, as they are between two epochs."""
    while True:
        before, content = _version(folder), io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as archive:
            for path in sorted(folder.rglob("*")):
                if path.is_file() and not path.name.endswith(PARTIAL):
                    with suppress(FileNotFoundError):  # replaced or removed at this moment
                        archive.add(path, path.relative_to(folder).as_posix())
        if _version(folder) == before:
            return content.getvalue()


def unpack(content: bytes, folder: Path) -> None:
    """Replace a run's files by those of an archive: its checkpoint last.ckpt late, and run.json last.

    So a stop in between leaves no run that is marked as done and lacks files. Raises UserError for links.
    """
    files = RunFolder(folder)
    with temporary_folder(folder) as place, tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(place / "run", filter="data")
        refuse_links(place / "run")
        new = {path.relative_to(place / "run") for path in (place / "run").rglob("*") if path.is_file()}
        late = [path.relative_to(folder) for path in (files.checkpoint("last"), files.run)]
        for name in sorted(new, key=lambda name: (late.index(name) + 1 if name in late else 0, name)):
            if folder / name == files.run:
                _remove_others(folder, new)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (place / "run" / name).replace(folder / name)


def _remove_others(folder: Path, names: set[Path]) -> None:
    """Remove the files that a run does not have any more."""
    for path in folder.rglob("*"):
        if path.is_file() and path.relative_to(folder) not in names and path != RunFolder(folder).cancelled:
            path.unlink()


def _version(folder: Path) -> tuple[int, ...]:
    """Changes with each epoch and state."""
    files = RunFolder(folder)
    watched = (files.checkpoint("last"), files.epochs, files.state)
    return tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in watched)
