"""Runs of the dummy backend, and workers that are killed at an event."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from diarbench.backends.recipes import load as recipes
from diarbench.benchmarks.runs import runner
from diarbench.benchmarks.runs.environment import worker_environment
from diarbench.benchmarks.runs.evaluation import CANCELLED
from diarbench.benchmarks.runs.executors.base import Executor
from diarbench.benchmarks.runs.plan import Plan
from diarbench.benchmarks.runs.progress import RunProgress
from diarbench.benchmarks.runs.status import cancel
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.records import read_record
from diarbench.reports.results.comparison import Comparison
from diarbench.reports.results.job import Job

Bench = Callable[..., tuple[int, str, str]]
"""Runs ``bench`` with some arguments in this process; returns its exit status, and what it printed to both streams."""


def plan_of(dataset: Dataset, init: str, seed: int = 1) -> Plan:
    """A plan made without its checks, so that errors occur in the worker."""
    job = Job(
        backend="dummy",
        dataset=dataset.info.name,
        dataset_root=str(dataset.root),
        fingerprint=dataset.info.fingerprint,
        recipe=recipes.load("quick").model_copy(update={"epochs": 2}).model_dump(),
        seed=seed,
        init=init,
        init_sha256=None,
        device="cpu",
        threads=1,
    )
    return Plan(job, init)


def kill_when(folder: Path, condition: Callable[[dict[str, Any]], bool]) -> None:
    """Start the worker of a run's folder and kill it at the first event that meets the condition."""
    worker = subprocess.Popen(
        [sys.executable, "-m", "diarbench.benchmarks.runs.worker", folder / "job.json"],
        stdout=subprocess.PIPE,
        env=worker_environment(1),
        text=True,
    )
    assert worker.stdout is not None
    for line in worker.stdout:
        if condition(json.loads(line)):
            worker.send_signal(signal.SIGKILL)
    worker.wait()


def run(out: Path, *plans: Plan, **options: Any) -> tuple[Comparison, str]:
    """The comparison, and the progress that was shown; ``options`` are those of `runner.run`."""
    shown = io.StringIO()
    with RunProgress(Console(file=shown, width=200)) as progress:
        return runner.run(out, plans, "bench run ...", progress, **options), shown.getvalue()


def wait_for(condition: Callable[[], bool], timeout_s: float = 300) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"nothing happened within {timeout_s:g} s"
        time.sleep(0.1)


def assert_same_results(a: Path, b: Path) -> None:
    """The same epochs.csv and RTTM, byte for byte, and the same rows."""
    files = sorted(path.relative_to(a) for path in a.rglob("*") if path.suffix in (".csv", ".rttm"))
    assert len(files) > 8
    for file in files:
        assert (a / file).read_bytes() == (b / file).read_bytes(), file
    rows = [read_record(folder / "results.json", Comparison).rows for folder in (a, b)]
    assert rows[0] == rows[1]


def cancelled_where_told(out: Path, plan: Plan, executor: Executor) -> str:
    """Cancel a run as soon as its executor says that it waits. Returns the progress that was shown."""
    shown = io.StringIO()

    class Cancelling(RunProgress):
        def on(self, run: str, event: dict[str, Any]) -> None:
            super().on(run, event)
            if "note" in event:
                cancel(out)

    with Cancelling(Console(file=shown, width=300)) as progress:
        comparison = runner.run(out, [plan], "bench run ...", progress, executor)
    assert comparison.runs[0].failure == CANCELLED
    return shown.getvalue()
