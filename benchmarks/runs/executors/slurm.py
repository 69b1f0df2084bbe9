"""Runs on a Slurm cluster, through submitit: one job a run, in job arrays. They go on where the driver ends."""

from __future__ import annotations

import hashlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from diarbench.backends.packages import importable
from diarbench.benchmarks.runs.executors.base import Ended, Event
from diarbench.benchmarks.runs.executors.local import last_line
from diarbench.benchmarks.runs.executors.node import NodeTask, node_task, work_on_node
from diarbench.benchmarks.runs.executors.watch import Watch
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import read_text, write_atomic
from diarbench.reports.results.job import Job
from diarbench.reports.results.run_folder import SLURM, ComparisonFolder, RunFolder

POLL_S = 2.0

QUEUE_S = 10.0
"""How often Slurm is asked for its queue."""

WAIT_S = 60.0
"""The user is told why no run starts when none has started for this long."""

MOST_TIMEOUTS = 100
"""How often a run that exceeds its time limit is put into the queue again."""

WARNINGS = (signal.SIGTERM, signal.SIGUSR2)
"""What Slurm sends before it ends a job: where a node is set down, and submitit's choice for the time limit."""

END_S = 60.0
"""How long a job may take to end after a warning."""

RUNS = "None"
"""The reason that squeue gives for a job that does not wait."""

ARRAY = 1000
"""The most jobs of an array, by Slurm's default."""


class SlurmTask:
    """Works a run; Slurm puts it into the queue again at the time limit, and it goes on from its last epoch."""

    def __call__(self, task: NodeTask) -> tuple[int, str]:
        """The worker's exit status and last words.

        Slurm sends its warnings to all processes of a job. Where the worker ended by one, this process has no result to
        report: submitit's handler queues the job again, or Slurm ends it.
        """
        status, words = work_on_node(task)
        if -status in WARNINGS:
            time.sleep(END_S)
            sys.exit(1)
        return status, words

    def checkpoint(self, task: NodeTask) -> Any:
        """What submitit queues at the time limit."""
        import submitit

        return submitit.helpers.DelayedSubmission(self, task)


class SlurmExecutor:
    """Submits all runs of the comparison in ``out`` to Slurm; ``cluster="local"`` has submitit work them here.

    submitit keeps pickles of the jobs and of their results, which run code where they are read. So each command makes a
    folder of its own for them, which nobody else can have filled before.
    """

    slots = 1_000_000
    queues = True

    def __init__(
        self,
        out: Path,
        cores: int,
        gpus: int = 0,
        memory_gb: float | None = None,
        partition: str | None = None,
        minutes: int = 720,
        cluster: str = "slurm",
    ) -> None:
        if not importable("submitit"):
            raise UserError("--executor slurm: needs submitit: pip install 'diarbench[slurm]'")
        if cluster != "local" and not shutil.which("srun"):
            raise UserError("--executor slurm: there is no srun on this machine; run this command on a login node")
        self.threads: int | None = cores
        self._out, self._cluster, self._name = out, cluster, job_name(out)
        self._parameters = {
            "name": self._name,
            "timeout_min": minutes,
            "cpus_per_task": cores,
            "slurm_additional_parameters": {"requeue": True},  # where a node is lost
            **({"gpus_per_node": gpus} if gpus else {}),
            **({} if memory_gb is None else {"mem_gb": memory_gb}),
            **({} if partition is None else {"slurm_partition": partition}),
        }
        self._waiting: list[tuple[NodeTask, str, Watch]] = []
        """Runs that are submitted together, at the next poll."""
        self._runs: dict[str, tuple[Any, Watch]] = {}
        """The job and the watch of each submitted run, by its name."""
        self._looked_s = 0.0
        self._since = time.monotonic()
        """The time of the last start of a run, or of the last note about why runs wait."""
        self._missing: set[str] = set()
        """Jobs that Slurm did not know when it was asked last."""

    def submit(self, folder: RunFolder, job: Job) -> None:
        """See Executor. All runs until the next poll become one job array."""
        folder.slurm_log.unlink(missing_ok=True)
        self._waiting.append((node_task(folder, job), job.name, Watch(folder, job.recipe["epochs"])))

    def poll(self) -> Iterator[Event | Ended]:
        """See Executor. Raises UserError where Slurm refuses the jobs."""
        self._submit_waiting()
        time.sleep(POLL_S)
        lost: set[str] = set()
        if time.monotonic() - self._looked_s > QUEUE_S:
            self._looked_s = time.monotonic()
            with suppress(OSError, subprocess.CalledProcessError):  # Slurm does not answer for a moment
                queue = self._queue()
                self._cancel(queue)
                lost = self._lost(queue)
                yield from self._why_none_starts(queue)
        for name, (submitted, watch) in list(self._runs.items()):
            yield from (Event(name, event) for event in watch.events())
            if submitted.paths.result_pickle.exists() or submitted.job_id in lost:
                del self._runs[name]
                yield _ended(name, submitted, watch.folder)

    def _submit_waiting(self) -> None:
        for start in range(0, len(self._waiting), ARRAY):
            together = self._waiting[start : start + ARRAY]
            try:
                with self._slurm.batch():
                    jobs = [self._slurm.submit(SlurmTask(), task) for task, _, _ in together]
            except RuntimeError as error:
                self._waiting.clear()
                raise UserError(f"--executor slurm: sbatch refused the jobs: {last_line(str(error))}") from error
            self._runs |= {name: (job, watch) for job, (_, name, watch) in zip(jobs, together, strict=True)}
        self._waiting.clear()

    def _queue(self) -> dict[str, str]:
        """The jobs that wait or run, with the reason for which they wait.

        squeue is asked instead of sacct, which needs Slurm's accounting, and which submitit asks every ten minutes.
        """
        if self._cluster == "local":
            return {job.job_id: RUNS for job, _ in self._runs.values() if not job.done()}
        return dict(line.split(" ", 1) for line in _squeue("--array", "--format=%i %r"))

    def _cancel(self, queue: dict[str, str]) -> None:
        """Take cancelled runs out of the queue; where they run, their workers end by themselves."""
        for job, watch in self._runs.values():
            if queue.get(job.job_id, RUNS) != RUNS and watch.folder.cancelled.exists():
                subprocess.run(["scancel", job.job_id], check=False)

    def _lost(self, queue: dict[str, str]) -> set[str]:
        """Jobs that ended without a result, such as by scancel: two looks at the queue did not find them."""
        missing = {job.job_id for job, _ in self._runs.values()} - set(queue)
        lost, self._missing = missing & self._missing, missing
        return lost

    def _why_none_starts(self, queue: dict[str, str]) -> Iterator[Event]:
        """Tell the user Slurm's reason where no run started for long."""
        reasons = {name: queue.get(job.job_id, RUNS) for name, (job, _) in self._runs.items()}
        if not reasons or RUNS in reasons.values():
            self._since = time.monotonic()
        elif time.monotonic() - self._since > WAIT_S:
            self._since = time.monotonic()
            name, reason = next(iter(reasons.items()))
            yield Event(name, {"note": f"waits in Slurm's queue ({reason}); 'squeue --me' shows all jobs"})

    def __enter__(self) -> Self:
        """Jobs that an earlier command left in the queue are taken out: this one submits their runs again."""
        import submitit

        if self._cluster != "local":
            subprocess.run(["scancel", "--me", "--state=PENDING", f"--name={self._name}"], check=False)
        self._remove_unused()
        self._folder = Path(tempfile.mkdtemp(dir=self._out, prefix=SLURM))  # new, and closed to all other users
        self._slurm = submitit.AutoExecutor(
            folder=self._folder,
            cluster=self._cluster,
            slurm_max_num_timeout=MOST_TIMEOUTS,
            local_max_num_timeout=MOST_TIMEOUTS,
        )
        self._slurm.update_parameters(**self._parameters)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Nothing ends: the same command picks the runs up again, and ``bench cancel`` ends them."""
        if not self._runs and not self._waiting:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._remove_unused()

    def _remove_unused(self) -> None:
        """Remove the folders of earlier commands, unless a job of theirs is left: to be queued again, it needs them."""
        if self._cluster == "local":
            return
        with suppress(OSError, subprocess.CalledProcessError):  # Slurm does not answer for a moment
            if not _squeue(f"--name={self._name}", "--format=%i"):
                for folder in ComparisonFolder(self._out).slurm_folders():
                    shutil.rmtree(folder, ignore_errors=True)


def _squeue(*options: str) -> list[str]:
    """What squeue lists of the user's jobs. Raises OSError and CalledProcessError where it does not answer."""
    command = ["squeue", "--me", "--noheader", *options]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def job_name(out: Path) -> str:
    """The name of a comparison's jobs: also that by which earlier versions submitted them."""
    return f"diarbench-{hashlib.sha256(str(out.resolve() / '.slurm').encode()).hexdigest()[:8]}"


def _ended(name: str, submitted: Any, folder: RunFolder) -> Ended:
    """How a job ended. The log of one without a result is kept with its run."""
    reason = log = ""
    if submitted.paths.result_pickle.exists():
        try:
            return Ended(name, *submitted.result())
        except Exception as error:  # whatever the job raised
            reason = last_line(str(error))
    with suppress(OSError):  # it never started
        log = read_text(submitted.paths.stderr, errors="replace")
    reason = reason or last_line("\n".join(re.findall(r"\*\*\* (.+) \*\*\*", log)) or log) or "ended without a word"
    if log:
        write_atomic(folder.slurm_log, log)
        reason += f"; see {folder.slurm_log.name}"
    return Ended(name, 1, f"Slurm job {submitted.job_id}: {reason}")
