"""Run jobs in several processes; a UserError is returned as a result."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context, parent_process, resource_tracker
from typing import Any, TypeVar

from diarbench.datasets.conversion.corpus import SourceRecording
from diarbench.datasets.io.errors import UserError

T = TypeVar("T")

R = TypeVar("R")


def in_parallel(work: Callable[[T], R], jobs: Iterable[T], workers: int) -> Iterator[R | UserError]:
    """Yield the results of jobs as they finish; a UserError is yielded, not raised.

    Jobs are taken from the iterable only as needed. One worker means this process.
    """
    if workers <= 1:
        for job in jobs:
            try:
                yield work(job)
            except UserError as error:
                yield error
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_end_with_parent)
    pending: set[Future[R]] = set()
    try:
        for job in jobs:
            with _interrupts_blocked():
                pending.add(pool.submit(work, job))
            if len(pending) >= 4 * workers:
                finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from map(_outcome, finished)
        yield from map(_outcome, wait(pending).done)
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """Let this process end when the one that started it was killed; it would wait for work without end."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _outcome(future: Future[R]) -> R | UserError:
    try:
        return future.result()
    except UserError as error:
        return error
    except BrokenExecutor as error:
        raise UserError(
            "a worker process died, perhaps because memory ran out; try again with fewer --workers"
        ) from error


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block SIGINT while workers start. They inherit the mask and ignore Ctrl-C; this process stops them."""
    resource_tracker.ensure_running()  # starting it later would unblock SIGINT
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def results_of(make: Callable[[Any], SourceRecording], jobs: Iterator[Any], workers: int) -> Iterator[SourceRecording]:
    """Yield the results of jobs as they finish, and raise the first UserError."""
    for result in in_parallel(make, jobs, workers):
        if isinstance(result, UserError):
            raise result
        yield result
