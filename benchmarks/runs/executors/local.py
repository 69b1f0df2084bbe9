"""Runs on this machine, several side by side."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import IO, Self

from diarbench.benchmarks.runs.environment import given_threads, worker_environment
from diarbench.benchmarks.runs.executors.base import Ended, Event
from diarbench.benchmarks.runs.executors.command import worker_command
from diarbench.reports.results.job import Job
from diarbench.reports.results.run_folder import RunFolder

STOP_S = 10
"""How long workers may take to end before they are killed."""

POLL_S = 0.5


class LocalExecutor:
    """Works up to ``slots`` runs at a time, which share this machine's cores.

    Each has as many threads as there are free cores, or its share of those that OMP_NUM_THREADS gives.
    """

    queues = False

    def __init__(self, slots: int = 1) -> None:
        self.slots = slots
        given = given_threads()
        self.threads = None if given is None else max(1, given // slots)
        self._happened: SimpleQueue[Event | Ended] = SimpleQueue()
        self._processes: dict[str, subprocess.Popen[str]] = {}

    def submit(self, folder: RunFolder, job: Job) -> None:
        """See Executor. The worker ends with this process."""
        errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 a pipe that nobody reads would fill up and stop the worker
        process = subprocess.Popen(
            worker_command(folder, job),
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            stderr=errors,
            text=True,
            env=worker_environment(job.threads),
            start_new_session=True,
        )
        self._processes[job.name] = process
        threading.Thread(target=self._listen, args=(job.name, process, errors), daemon=True).start()

    def poll(self) -> Iterable[Event | Ended]:
        """See Executor."""
        with suppress(Empty):
            yield from self._until_empty(self._happened.get(timeout=POLL_S))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End the workers that are left, and the processes that train with them."""
        for how in (signal.SIGTERM, signal.SIGKILL):
            left = [process for process in self._processes.values() if process.poll() is None]
            for process in left:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, how)
            deadline = time.monotonic() + STOP_S
            for process in left:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(max(0, deadline - time.monotonic()))

    def _listen(self, run: str, process: subprocess.Popen[str], errors: IO[str]) -> None:
        assert process.stdout is not None
        with errors, process.stdout:
            for line in process.stdout:
                with suppress(ValueError):  # a line that a kill cut short, or that the interpreter printed by itself
                    self._happened.put(Event(run, json.loads(line)))
            status = process.wait()
            errors.seek(0)
            self._happened.put(Ended(run, status, last_line(errors.read())))

    def _until_empty(self, first: Event | Ended) -> Iterator[Event | Ended]:
        item = first
        while True:
            if isinstance(item, Ended):
                del self._processes[item.run]
            yield item
            item = self._happened.get_nowait()


def last_line(text: str) -> str:
    """The last line of a text that is not empty."""
    return (text.strip().splitlines() or [""])[-1]
