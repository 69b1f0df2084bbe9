"""Files that must have their recorded content while something is made from them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import sha256_of
from diarbench.datasets.io.records import Record

T = TypeVar("T")

logger = logging.getLogger(__name__)

MOST_STATES = 10
"""After so many states of a file in which size, time of change and content were the same, inode and ctime say nothing:
some network disks and FUSE file systems make them up."""


class FileState(NamedTuple):
    """Size, times and number of a file: where none of them moved, nobody touched it."""

    size: int
    changed_ns: int
    """Of the content (mtime). Whoever restores a file may set it back."""
    status_ns: int
    """Of anything (ctime). Nobody can set it back, so a file that was replaced and restored shows it."""
    inode: int

    @classmethod
    def of(cls, path: Path) -> FileState:
        """Raises OSError."""
        stat = path.stat()
        return cls(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)


class FileHash(Record):
    """A file's hash, and the state in which the file had it."""

    size: int
    changed_ns: int
    status_ns: int = 0
    """Until version 0.1 this and the inode were not kept."""
    inode: int = 0
    sha256: str

    @classmethod
    def of(cls, path: Path, known: FileHash | None = None) -> FileHash:
        """``known`` where the file is in that state, else hashed. Raises UserError where it cannot be read."""
        with readable(path):
            state = FileState.of(path)
            if known is not None and known.state == state:
                return known
            return cls(**state._asdict(), sha256=sha256_of(path))

    @property
    def state(self) -> FileState:
        return FileState(self.size, self.changed_ns, self.status_ns, self.inode)


class Watch:
    """Makes things from files only while these have their recorded content.

    A file is hashed where it is in a state in which it was not hashed before: it may only have been touched.
    """

    def __init__(
        self,
        recorded: Mapping[Path, FileHash] | None = None,
        changed: str = "changed while it was used; restore it, and run the same command again",
    ) -> None:
        """A file that is not in ``recorded`` is taken as it is when it is first used.

        ``changed`` is the message about a file with another content.
        """
        self.changed = changed
        self.hashes = {path: file.sha256 for path, file in (recorded or {}).items()}
        self.states = {path: {file.state} for path, file in (recorded or {}).items()}
        """By file, those in which it had its recorded content."""
        self.trusts_ctime = True
        """Whether inode and ctime are used; see MOST_STATES."""

    def sha256(self, path: Path) -> str:
        """The recorded hash of a file. Raises UserError where the file is not recorded and cannot be read."""
        if path not in self.hashes:
            file = FileHash.of(path)
            self.hashes[path], self.states[path] = file.sha256, {file.state}
        return self.hashes[path]

    def read(self, paths: Sequence[Path], make: Callable[[], T]) -> T:
        """What ``make`` returns, made while the files had their recorded content.

        ``make`` is called again where one was touched meanwhile, as it may have been replaced and restored. Raises
        UserError where the content of a file is not the recorded one, or where it is written to without end.
        """
        for _ in range(MOST_STATES + 2):
            before = [self._check(path) for path in paths]
            try:
                made = make()
            except Exception:
                if [self._state(path) for path in paths] == before:
                    raise
            else:
                after = [self._state(path) for path in paths]
                if after == before:
                    return made
            logger.warning("%s: touched while it was used, so this is done again", ", ".join(map(str, paths[:3])))
        raise UserError(
            f"{', '.join(map(str, paths[:3]))}: written to again and again while used; wait until that ends, and run "
            "the same command again"
        )

    def _check(self, path: Path) -> FileState:
        """The state of a file. Raises UserError where its content in this state is not the recorded one."""
        recorded, states, state = self.sha256(path), self.states[path], self._state(path)
        if state in states:
            return state
        with readable(path):
            if sha256_of(path) != recorded:
                raise UserError(f"{path}: {self.changed}")
        # Of the state before the hash: a change since then gives another one.
        states.add(state)
        if self.trusts_ctime and sum(state[:2] == each[:2] for each in states) >= MOST_STATES:
            logger.warning("%s: its inode or ctime moves by itself; only size and time of change are looked at", path)
            self.trusts_ctime = False
        return state

    def _state(self, path: Path) -> FileState:
        with readable(path):
            state = FileState.of(path)
        return state if self.trusts_ctime else state._replace(status_ns=0, inode=0)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Raises UserError in place of an OSError about a file of a dataset."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); restore it, or convert the dataset again"
        ) from error
