"""The command of a run's process: the same for every executor."""

from __future__ import annotations

import sys

from diarbench.reports.results.job import Job
from diarbench.reports.results.run_folder import RunFolder

HELD = 75
"""The exit status of a worker whose run another one works at (EX_TEMPFAIL)."""


def worker_command(folder: RunFolder, job: Job) -> list[str]:
    """The command that works the job of a run's folder."""
    return [sys.executable, "-m", "diarbench.benchmarks.runs.worker", str(folder.job)]
