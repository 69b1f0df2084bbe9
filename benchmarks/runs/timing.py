"""The cost of each phase of a run: seconds and peak memory."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil

from diarbench.datasets.io.records import Record, read_record, write_record
from diarbench.reports.results.run import Phase

T = TypeVar("T")

SAMPLING_S = 0.05


class Speed(Record):
    """``speed.json``."""

    phases: tuple[Phase, ...] = ()


@dataclass
class Cost:
    """The cost of a block of code; filled in when the block ends."""

    seconds: float = 0.0
    peak_memory_mb: float = 0.0
    peak_device_memory_mb: float | None = None
    cached_s: float = 0.0
    """See Phase."""

    def add(self, other: Cost) -> None:
        """Add the cost of earlier work, such as inference that came from a cache."""
        self.seconds += other.seconds
        self.cached_s += other.cached_s
        self.peak_memory_mb = max(self.peak_memory_mb, other.peak_memory_mb)
        self.peak_device_memory_mb = _higher(self.peak_device_memory_mb, other.peak_device_memory_mb)


@contextmanager
def measure_cost() -> Iterator[Cost]:
    """Measure a block of code; memory is sampled 20 times per second.

    An accelerator is synchronized at both ends; its peak memory is what torch reports.
    """
    accelerator = _accelerator()
    if accelerator is not None:
        accelerator.synchronize()
        accelerator.reset_peak_memory_stats()
    cost, peak, stop = Cost(), [_resident_mb()], threading.Event()

    def sample() -> None:
        while not stop.wait(SAMPLING_S):
            peak[0] = max(peak[0], _resident_mb())

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    begun = time.perf_counter()
    try:
        yield cost
        if accelerator is not None:
            accelerator.synchronize()
    finally:
        seconds = time.perf_counter() - begun
        stop.set()
        sampler.join()
        device_mb = None if accelerator is None else accelerator.max_memory_allocated() / 1e6
        cost.add(Cost(seconds, max(peak[0], _resident_mb()), device_mb))


def with_cost(make: Callable[..., T], *arguments: Any) -> tuple[T, Cost]:
    """What ``make`` returns, and its cost."""
    with measure_cost() as cost:
        made = make(*arguments)
    return made, cost


class Stopwatch:
    """Times phases and stores them in a file, so that a resumed run includes the cost of its earlier phases."""

    def __init__(self, path: Path) -> None:
        self.path = path
        cure = "remove it, and run the same command again; the cost of the phases so far is lost"
        self.phases = list(read_record(path, Speed, cure).phases) if path.is_file() else []

    @contextmanager
    def phase(self, name: str, audio_s: float | None = None) -> Iterator[Cost]:
        """Measure a block and add its cost to the phase, unless the block raises."""
        with measure_cost() as cost:
            yield cost
        self.add(name, cost, audio_s)

    def add_real_time_factor(self, name: str, value: float) -> None:
        """Add a recording's real-time factor to a phase that has been measured."""
        (phase,) = (phase for phase in self.phases if phase.name == name)
        self.store(phase.model_copy(update={"real_time_factors": (*phase.real_time_factors, value)}))

    def loaded(self) -> None:
        """End the phase ``loading``, which starts with the process and lasts until training begins."""
        begun = psutil.Process().create_time() - psutil.boot_time()  # seconds since boot: no change of the clock enters
        self.add("loading", Cost(time.clock_gettime(time.CLOCK_BOOTTIME) - begun, _resident_mb()), None)

    def add(self, name: str, cost: Cost, audio_s: float | None) -> None:
        """Add a cost to a phase."""
        before = next((phase for phase in self.phases if phase.name == name), None)
        seconds, cached_s = cost.seconds, cost.cached_s
        if before is not None:
            seconds += before.seconds
            cached_s += before.cached_s
            audio_s = audio_s if before.audio_s is None else before.audio_s + (audio_s or 0)
        self.store(
            Phase(
                name=name,
                seconds=seconds,
                cached_s=cached_s,
                peak_memory_mb=cost.peak_memory_mb,
                peak_device_memory_mb=cost.peak_device_memory_mb,
                audio_s=audio_s,
                real_time_factors=before.real_time_factors if before is not None else (),
            )
        )

    def store(self, phase: Phase) -> None:
        """Replace the phase of the same name, keeping the higher peak memory of the two."""
        for before in [earlier for earlier in self.phases if earlier.name == phase.name]:
            peaks = ("peak_memory_mb", "peak_device_memory_mb")
            phase = phase.model_copy(
                update={name: _higher(getattr(before, name), getattr(phase, name)) for name in peaks}
            )
        self.phases = [earlier for earlier in self.phases if earlier.name != phase.name] + [phase]
        write_record(self.path, Speed(phases=tuple(self.phases)))


def _higher(a: float | None, b: float | None) -> float | None:
    return max((value for value in (a, b) if value is not None), default=None)


def _accelerator() -> Any:
    """torch.cuda where it is in use; never imports torch."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized() else None


def _resident_mb() -> float:
    return float(psutil.Process().memory_info().rss) / 1e6
