"""The interface of executors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

from diarbench.reports.results.job import Job
from diarbench.reports.results.run_folder import RunFolder


@dataclass(frozen=True)
class Event:
    """What a worker reports while it works."""

    run: str
    content: dict[str, Any]


@dataclass(frozen=True)
class Ended:
    """A worker's process ended; what it achieved is in ``run.json``."""

    run: str
    status: int
    """Its exit status; negative: the signal that killed it."""
    reason: str = ""
    """Its last words, where there are any."""


class Executor(Protocol):
    """Starts the workers of runs, somewhere. Leaving the context ends what would not outlive the driver."""

    slots: int
    """How many runs may be submitted at a time."""
    threads: int | None
    """Threads of each run; None: as many as the job says."""
    queues: bool
    """Whether a submitted run may wait before it starts."""

    def submit(self, folder: RunFolder, job: Job) -> None:
        """Start the worker of a run's folder, or put it into a queue."""
        ...

    def poll(self) -> Iterable[Event | Ended]:
        """What happened since the last call; waits a moment for something to happen."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...
