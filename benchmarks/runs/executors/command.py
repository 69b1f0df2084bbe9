"""The command of a run's process: the same for every executor."""

from __future__ import annotations

import sys
from pathlib import Path

from diarbench.benchmarks.runs.interpreters import ISOLATED
from diarbench.datasets.io.errors import UserError
from diarbench.reports.results.job import Job
from diarbench.reports.results.run_folder import RunFolder

HELD = 75
"""The exit status of a worker whose run another one works at (EX_TEMPFAIL)."""


def worker_command(folder: RunFolder, job: Job) -> list[str]:
    """The command that works the job of a run's folder, in the environment that the job names.

    Another environment's interpreter sees no packages of this one, by PYTHONPATH or in the current folder. Raises
    UserError where it is gone.
    """
    if job.python and not Path(job.python).is_file():
        raise UserError(f"--env {job.backend}={job.python}: no such file any more; make the environment again")
    interpreter = [job.python, *ISOLATED] if job.python else [sys.executable]
    return [*interpreter, "-m", "diarbench.benchmarks.runs.worker", str(folder.job)]
