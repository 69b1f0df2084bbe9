"""Run the planned jobs, each in its own process and folder, then build the comparison.

``run.json`` in a run's folder is the truth about it. A command that is started again reads it: what is done is not
repeated, what another process works at is waited for, and the rest is handed to the executor.
"""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from diarbench.benchmarks.runs.comparison import build_comparison
from diarbench.benchmarks.runs.devices import check_devices
from diarbench.benchmarks.runs.evaluation import CANCELLED, mark_interrupted, queued_run
from diarbench.benchmarks.runs.executors.base import Ended, Executor
from diarbench.benchmarks.runs.executors.command import HELD
from diarbench.benchmarks.runs.executors.local import LocalExecutor, last_line
from diarbench.benchmarks.runs.executors.watch import Watch
from diarbench.benchmarks.runs.interpreters import check_interpreter, check_known
from diarbench.benchmarks.runs.plan import Plan
from diarbench.benchmarks.runs.progress import RunProgress
from diarbench.benchmarks.runs.tuning import check_speech
from diarbench.datasets.folds import with_fold
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import PARTIAL, cache_dir, read_text, remove_partial
from diarbench.datasets.io.lock import hold, holder_of
from diarbench.datasets.io.names import plural
from diarbench.datasets.io.records import write_record
from diarbench.datasets.roots import find_dataset
from diarbench.reports.results.comparison import Comparison
from diarbench.reports.results.job import Job
from diarbench.reports.results.run import Run
from diarbench.reports.results.run_folder import ComparisonFolder, RunFolder, refuse_links

ABANDONED_S = 3600
"""A partial file in the cache that did not grow for so long belongs to a process that was killed."""

LOOK_S = 1.0
"""How often the folders of runs that other processes work at are looked at."""


def run(
    out: Path,
    plans: Sequence[Plan],
    command: str,
    progress: RunProgress,
    executor: Executor | None = None,
    retry_failed: bool = True,
) -> Comparison:
    """Run every plan that is not done yet, then write ``results.json``. A failed run is part of the comparison.

    ``executor`` is by default this machine, one run after another. Without ``retry_failed``, runs that failed before
    stay as they are. Raises UserError where another command is running in the folder, and, before anything is written,
    where this machine is to work the runs and does not have their device.
    """
    executor = executor or LocalExecutor()
    if isinstance(executor, LocalExecutor):
        asked = (each.job for each in plans if each.job.device != "auto" and not each.problem)
        check_devices(job for job in asked if not _is_done(out, job))
    with hold(out):
        refuse_links(out, may_be_link=True)
        _clean(out)
        driver = Driver(out, executor, progress)
        positions = (f"{number}/{len(plans)}" for number in range(1, len(plans) + 1))
        to_do = [plan for plan, at in zip(plans, positions, strict=True) if driver.is_to_do(plan, at, retry_failed)]
        try:
            with executor:
                driver.work(to_do)
        except BaseException:
            driver.mark_interrupted()
            raise
        progress.work("comparing the runs")
        refuse_links(out, may_be_link=True)  # again: the runs took their time
        comparison = build_comparison(out, [planned.job for planned in plans], command)
        write_record(ComparisonFolder(out).results, comparison)
        return comparison


def _clean(out: Path) -> None:
    """Remove what killed writes left, except in the folders of runs, which their workers clean."""
    for path in out.iterdir():
        if path.is_dir() and not RunFolder(path).job.is_file():
            remove_partial(path)
        elif path.name.endswith(PARTIAL):
            path.unlink(missing_ok=True)
    for cache in ("features", "hashes", "inference"):
        remove_partial(cache_dir() / cache, older_than_s=ABANDONED_S)


@dataclass(frozen=True)
class Underway:
    """A run that was submitted, or that another process works at."""

    folder: RunFolder
    job: Job
    watch: Watch | None = None
    """Follows the run where another process works at it."""


class Driver:
    """Hands runs to an executor and follows them to their end."""

    def __init__(self, out: Path, executor: Executor, progress: RunProgress) -> None:
        self.out, self.executor, self.progress = out, executor, progress
        self.queue: deque[Underway] = deque()
        self.submitted: dict[str, Underway] = {}
        self.elsewhere: dict[str, Underway] = {}
        """Runs that processes of other commands work at."""
        self.looked_s = 0.0

    def is_to_do(self, planned: Plan, position: str, retry_failed: bool) -> bool:
        """Whether a run is neither done nor impossible; tells how it ended otherwise."""
        folder, job = ComparisonFolder(self.out).run(planned.job.name), planned.job
        self.progress.name(job.name, position)
        if planned.problem is not None:
            record = queued_run(job).model_copy(update={"state": "failed", "failure": planned.problem})
            write_record(folder.job, job)
            write_record(folder.run, record)
            self.progress.end(job.name, f"failed: {planned.problem}")
            return False
        before = _record_of(folder, job)
        if before and not folder.job.is_file():  # it was damaged, and the user removed it
            write_record(folder.job, job)
        if before and before.state == "done":
            self.progress.end(job.name, "done before")
            return False
        if before and before.state == "failed" and not retry_failed:
            self.progress.end(job.name, f"failed before: {before.failure}")
            return False
        return True

    def work(self, plans: Sequence[Plan]) -> None:
        """Queue runs and work them."""
        for planned in plans:
            folder = ComparisonFolder(self.out).run(planned.job.name)
            if holder_of(folder.path) is None:
                folder.cancelled.unlink(missing_ok=True)
            job = planned.job
            if self.executor.threads is not None:
                job = job.model_copy(update={"threads": self.executor.threads})
            self._queue(Underway(folder, job))
        self.follow()

    def follow(self) -> None:
        """Work what is queued, to its end."""
        while self.queue or self.submitted or self.elsewhere:
            self._submit()
            self._listen()
            self._look_elsewhere()

    def mark_interrupted(self) -> None:
        """Record that submitted runs were stopped, such as by Ctrl-C, where they do not go on without this process."""
        for underway in self.submitted.values():
            if holder_of(underway.folder.path) is None:
                mark_interrupted(underway.folder)

    def _queue(self, underway: Underway) -> None:
        """Queue a run, or watch it where another process works at it."""
        folder, job = underway.folder, underway.job
        if holder := holder_of(folder.path):
            self.progress.begin(job.name)
            self.progress.on(job.name, {"note": f"goes on by process {holder.pid} on {holder.host}"})
            self.elsewhere[job.name] = Underway(folder, job, Watch(folder, job.recipe["epochs"]))
            return
        # run.json is reset first: a stop between the two writes must not leave the new job marked as done.
        write_record(folder.run, queued_run(job))
        write_record(folder.job, job)
        folder.state.unlink(missing_ok=True)  # a cluster's runs are followed by it
        self.queue.append(Underway(folder, job))

    def _submit(self) -> None:
        while self.queue and len(self.submitted) < self.executor.slots:
            underway = self.queue.popleft()
            if not self.executor.queues:
                self.progress.begin(underway.job.name)
            if underway.folder.cancelled.exists():
                self._settle(underway, Ended(underway.job.name, 1, CANCELLED))
                continue
            try:
                self.executor.submit(underway.folder, underway.job)
            except UserError as error:  # its environment was deleted meanwhile; the other runs go on
                self._settle(underway, Ended(underway.job.name, 1, str(error)))
            else:
                self.submitted[underway.job.name] = underway

    def _listen(self) -> None:
        if not self.submitted:
            time.sleep(LOOK_S)
        for happened in self.executor.poll() if self.submitted else ():
            if not isinstance(happened, Ended):
                self.progress.on(happened.run, happened.content)
                continue
            underway = self.submitted.pop(happened.run)
            if happened.status == HELD or holder_of(underway.folder.path):
                self._queue(underway)  # another process works at it, which may have outlived a cluster's own
            else:
                self._settle(underway, happened)

    def _look_elsewhere(self) -> None:
        if not self.elsewhere or time.monotonic() - self.looked_s < LOOK_S:
            return
        self.looked_s = time.monotonic()
        for name, underway in list(self.elsewhere.items()):
            assert underway.watch is not None
            for event in underway.watch.events():
                self.progress.on(name, event)
            if holder_of(underway.folder.path) is None:
                del self.elsewhere[name]
                record = _record_of(underway.folder, underway.job)
                if record and record.state in ("done", "failed"):
                    self._tell(record)
                else:  # its process was stopped
                    self._queue(underway)

    def _settle(self, underway: Underway, ended: Ended) -> None:
        """Record how a run ended, where its worker could not."""
        folder = underway.folder
        record = folder.read_run() if folder.run.is_file() else queued_run(underway.job)
        if ended.status and record.state not in ("done", "failed"):
            failure = CANCELLED if folder.cancelled.exists() else _failure(ended, record, folder)
            record = record.model_copy(update={"state": "failed", "failure": failure})
            write_record(folder.run, record)
        self._tell(record)

    def _tell(self, record: Run) -> None:
        self.progress.end(record.name, record.state if record.failure is None else f"failed: {record.failure}")


def _record_of(folder: RunFolder, job: Job) -> Run | None:
    """The record of an earlier run of the same job; None where there is none."""
    try:
        record = folder.read_run()
        recorded = folder.read_job().hash if folder.job.is_file() else record.job
    except UserError:  # new, or damaged: the run starts again, from its last checkpoint if it has one
        return None
    return record if recorded == job.hash else None


def _is_done(out: Path, job: Job) -> bool:
    record = _record_of(ComparisonFolder(out).run(job.name), job)
    return record is not None and record.state == "done"


def _failure(ended: Ended, record: Run, folder: RunFolder) -> str:
    how = f"killed by signal {-ended.status}" if ended.status < 0 else f"exit {ended.status}"
    reason = ended.reason or ("out of memory?" if ended.status == -signal.SIGKILL else _last_words(folder))
    return f"{how} while {record.state} ({reason})"


def _last_words(folder: RunFolder) -> str:
    """The last line of a worker's log, into which its standard error goes once it has started."""
    try:
        words = last_line(read_text(folder.log, errors="replace"))
    except OSError:
        return "no log.txt"
    return f"{words}; see log.txt" if words else "see log.txt"


def tune(out: Path, trials: int | None, seconds: float | None, command: str, progress: RunProgress) -> Comparison:
    """Continue tuning the runs of a comparison up to ``trials`` trials or ``seconds`` in total, and score them again.

    Raises UserError where the folder holds no comparison, or where its runs have more trials already.
    """
    if RunFolder(out).job.is_file():
        raise UserError(f"{out}: is one run of a comparison; give the comparison's folder, {out.parent}")
    refuse_links(out, may_be_link=True)
    before = ComparisonFolder(out).read_results()
    command = f"{before.command} && {command}"
    jobs = [ComparisonFolder(out).run(run.name).read_job() for run in before.trained_runs]
    for backend, python in dict.fromkeys((job.backend, job.python) for job in jobs if job.python):
        check_known(python, backend, str(out))
        check_interpreter(python, f"--env {backend}={python}")
    for job in jobs:
        dataset = with_fold(find_dataset(job.dataset, Path(job.dataset_root), job.fingerprint), job.fold)
        check_speech(dataset.subset("dev"), job.tune_condition)
    fewest = min(len(run.tuning.trials) if run.tuning else 0 for run in before.trained_runs)
    if trials is not None and trials < fewest:
        raise UserError(f"{out}: has {plural(fewest, 'trial')} already; ask for more with --trials")
    jobs = [job.model_copy(update={"trials": trials, "tune_seconds": seconds}) for job in jobs]
    return run(out, [Plan(job, job.init) for job in jobs], command, progress)
