"""The number of torch's threads in a run's process, by the cores that other processes leave free.

Torch's threads wait for each other after each operation, so one thread too many on a busy core costs more than all the
threads gain: two threads beside one busy process were 4 to 20 times slower on two cores than one thread.
"""

from __future__ import annotations

import math
import os
import sys
import time
from typing import NamedTuple

import psutil

INTERVAL_S = 1.0
"""The shortest time over which the free cores are measured."""

TOLERATED = 0.25
"""Use of a core by others that a thread may share it with."""


class _Reading(NamedTuple):
    clock_s: float
    available_s: float
    """Processor time, summed over the cores, in which a core was idle or worked for this process."""


class ThreadsByLoad:
    """Sets torch's number of threads to the number of free cores: at least one, at most ``most``."""

    def __init__(self, most: int) -> None:
        self.most, self.before = most, _read()

    def adapt(self) -> None:
        """Choose anew, unless the last choice is less than a second old."""
        now = _read()
        seconds = now.clock_s - self.before.clock_s
        if seconds < INTERVAL_S:
            return
        threads = suited_to((now.available_s - self.before.available_s) / seconds, self.most)
        self.before = now
        torch = sys.modules.get("torch")
        if torch is not None and threads != torch.get_num_threads():
            torch.set_num_threads(threads)


def suited_to(free_cores: float, most: int) -> int:
    """The number of threads for so many free cores."""
    return min(max(1, math.floor(free_cores + TOLERATED)), most)


_by_load: ThreadsByLoad | None = None


def follow_load(most: int) -> None:
    """From now on, `adapt_threads` gives torch as many threads as there are free cores, at most ``most``."""
    global _by_load
    _by_load = ThreadsByLoad(most)


def adapt_threads() -> None:
    """Adapt the number of torch's threads to the load of the machine, where `follow_load` asked for it.

    Called before each batch and recording. The number changes no more than the last bits of sums.
    """
    if _by_load is not None:
        _by_load.adapt()


def usable_cores() -> list[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _read() -> _Reading:
    times = psutil.cpu_times(percpu=True)
    idle_s = sum(times[core].idle + getattr(times[core], "iowait", 0.0) for core in usable_cores() if core < len(times))
    return _Reading(time.monotonic(), idle_s + time.process_time())
