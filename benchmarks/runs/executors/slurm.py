"""Runs on a Slurm cluster, through submitit: one job a run. They go on where the driver ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from diarbench.backends.packages import importable
from diarbench.benchmarks.runs.executors.base import Ended, Event
from diarbench.benchmarks.runs.executors.local import last_line
from diarbench.benchmarks.runs.executors.node import NodeTask, node_task, work_on_node
from diarbench.benchmarks.runs.executors.watch import Watch
from diarbench.datasets.io.errors import UserError
from diarbench.reports.results.job import Job
from diarbench.reports.results.run_folder import RunFolder

POLL_S = 2.0

MOST_TIMEOUTS = 100
"""How often a run that exceeds its time limit is put into the queue again."""


class SlurmTask:
    """Works a run; Slurm puts it into the queue again at the time limit, and it goes on from its last epoch."""

    def __call__(self, task: NodeTask) -> tuple[int, str]:
        """The worker's exit status and last words."""
        return work_on_node(task)

    def checkpoint(self, task: NodeTask) -> Any:
        """What submitit queues at the time limit."""
        import submitit

        return submitit.helpers.DelayedSubmission(self, task)


class SlurmExecutor:
    """Submits all runs to Slurm; ``cluster="local"`` has submitit work them on this machine."""

    slots = 1_000_000
    queues = True

    def __init__(
        self,
        log: Path,
        cores: int,
        gpus: int = 0,
        memory_gb: float | None = None,
        partition: str | None = None,
        minutes: int = 720,
        cluster: str = "slurm",
    ) -> None:
        if not importable("submitit"):
            raise UserError("--executor slurm: needs submitit: pip install 'diarbench[slurm]'")
        import submitit

        self.threads: int | None = cores
        self._runs: dict[str, tuple[Any, Watch]] = {}
        """The job and the watch of each submitted run, by its name."""
        try:
            self._slurm = submitit.AutoExecutor(
                folder=log, cluster=cluster, slurm_max_num_timeout=MOST_TIMEOUTS, local_max_num_timeout=MOST_TIMEOUTS
            )
        except RuntimeError as error:
            raise UserError(f"--executor slurm: {last_line(str(error))}; run this command on a login node") from error
        self._slurm.update_parameters(
            name="diarbench",
            timeout_min=minutes,
            cpus_per_task=cores,
            **({"gpus_per_node": gpus} if gpus else {}),
            **({} if memory_gb is None else {"mem_gb": memory_gb}),
            **({} if partition is None else {"slurm_partition": partition}),
        )

    def submit(self, folder: RunFolder, job: Job) -> None:
        """See Executor."""
        submitted = self._slurm.submit(SlurmTask(), node_task(folder, job))
        self._runs[job.name] = submitted, Watch(folder, job.recipe["epochs"])

    def poll(self) -> Iterator[Event | Ended]:
        """See Executor."""
        time.sleep(POLL_S)
        for name, (submitted, watch) in list(self._runs.items()):
            yield from (Event(name, event) for event in watch.events())
            if submitted.done():
                del self._runs[name]
                yield self._ended(name, submitted)

    def _ended(self, name: str, submitted: Any) -> Ended:
        try:
            return Ended(name, *submitted.result())
        except Exception as error:  # the job was cancelled or killed, or its process could not start
            return Ended(name, 1, f"Slurm job {submitted.job_id}: {last_line(str(error))}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Nothing ends: the same command picks the runs up again, and ``bench cancel`` ends them."""
