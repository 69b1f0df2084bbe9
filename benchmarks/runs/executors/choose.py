"""The executors by name."""

from __future__ import annotations

from diarbench.benchmarks.runs.executors.base import Executor
from diarbench.benchmarks.runs.executors.local import LocalExecutor
from diarbench.datasets.io.errors import check_choice

EXECUTORS = ("local",)


def make_executor(name: str, jobs: int) -> Executor:
    """The executor of this name. Raises UserError where there is none, or where an option is not its own."""
    check_choice("executor", name, EXECUTORS)
    return LocalExecutor(jobs)
