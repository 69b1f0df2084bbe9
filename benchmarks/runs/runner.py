"""Run the planned jobs, each in its own process and folder, then build the comparison."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from diarbench.benchmarks.runs.comparison import build_comparison
from diarbench.benchmarks.runs.environment import worker_environment
from diarbench.benchmarks.runs.evaluation import mark_interrupted, queued_run
from diarbench.benchmarks.runs.executors.command import worker_command
from diarbench.benchmarks.runs.lock import hold
from diarbench.benchmarks.runs.plan import Plan
from diarbench.benchmarks.runs.progress import RunProgress
from diarbench.benchmarks.runs.tuning import check_speech
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.folds import with_fold
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import cache_dir, remove_partial
from diarbench.datasets.io.names import plural
from diarbench.datasets.io.records import write_record
from diarbench.reports.results.comparison import Comparison
from diarbench.reports.results.job import Job
from diarbench.reports.results.run import Run
from diarbench.reports.results.run_folder import ComparisonFolder, RunFolder

STOP_S = 10
"""How long a worker may take to end before it is killed."""

ABANDONED_S = 3600
"""A partial file in the cache that did not grow for so long belongs to a process that was killed."""


def run(out: Path, plans: Sequence[Plan], command: str, progress: RunProgress) -> Comparison:
    """Run every plan that is not done yet, then write ``results.json``. A failed run is part of the comparison.

    Raises UserError where another command is running in the folder.
    """
    with hold(out):
        remove_partial(out)
        for cache in ("features", "hashes", "inference"):
            remove_partial(cache_dir() / cache, older_than_s=ABANDONED_S)
        return _run(out, plans, command, progress)


def _run(out: Path, plans: Sequence[Plan], command: str, progress: RunProgress) -> Comparison:
    for index, planned in enumerate(plans, start=1):
        folder = ComparisonFolder(out).run(planned.job.name)
        progress.begin(planned.job.name, f"{index}/{len(plans)}")
        if planned.problem is None and _is_done(folder, planned.job):
            progress.end("done before")
            continue
        if planned.problem is None:
            # run.json is reset first: a stop between the two writes must not leave the new job marked as done.
            write_record(folder.run, queued_run(planned.job))
            write_record(folder.job, planned.job)
            record = run_job(folder, planned.job, progress)
        else:
            record = queued_run(planned.job).model_copy(update={"state": "failed", "failure": planned.problem})
            write_record(folder.job, planned.job)
            write_record(folder.run, record)
        progress.end(record.state if record.failure is None else f"failed: {record.failure}")
    progress.work("comparing the runs")
    comparison = build_comparison(out, [planned.job for planned in plans], command)
    write_record(ComparisonFolder(out).results, comparison)
    return comparison


def run_job(folder: RunFolder, job: Job, progress: RunProgress) -> Run:
    """Run the job of a folder in its own process and show its events. Ctrl-C stops the process; the run can resume."""
    status, reason = _work(folder, job, progress)
    record = folder.read_run() if folder.run.is_file() else queued_run(job)
    if status and record.state != "failed":
        ended = f"killed by signal {-status}" if status < 0 else f"exit {status}"
        reason = reason or ("out of memory?" if status == -signal.SIGKILL else _last_words(folder))
        record = record.model_copy(update={"state": "failed", "failure": f"{ended} while {record.state} ({reason})"})
        write_record(folder.run, record)
    return record


def _work(folder: RunFolder, job: Job, progress: RunProgress) -> tuple[int, str]:
    """Returns the worker's exit status and the last line of its standard error."""
    with tempfile.TemporaryFile("w+") as errors:  # a pipe that nobody reads would fill up and stop the worker
        process = subprocess.Popen(
            worker_command(folder, job),
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            stderr=errors,
            text=True,
            env=worker_environment(job.threads),
            start_new_session=True,
        )
        assert process.stdout is not None
        try:
            for line in process.stdout:
                progress.on(json.loads(line))
            process.wait()
        except BaseException:
            _stop(process)
            mark_interrupted(folder)
            raise
        errors.seek(0)
        return process.returncode, _last_line(errors.read())


def _last_words(folder: RunFolder) -> str:
    """The last line of a worker's log, into which its standard error goes once it has started."""
    try:
        words = _last_line(folder.log.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return "no log.txt"
    return f"{words}; see log.txt" if words else "see log.txt"


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]


def _stop(process: subprocess.Popen[str]) -> None:
    """End a worker and the processes that train with it."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
            return


def tune(out: Path, trials: int | None, seconds: float | None, command: str, progress: RunProgress) -> Comparison:
    """Continue tuning the runs of a comparison up to ``trials`` trials or ``seconds`` in total, and score them again.

    Raises UserError where the folder holds no comparison, or where its runs have more trials already.
    """
    if RunFolder(out).job.is_file():
        raise UserError(f"{out}: is one run of a comparison; give the comparison's folder, {out.parent}")
    before = ComparisonFolder(out).read_results()
    command = f"{before.command} && {command}"
    jobs = [ComparisonFolder(out).run(run.name).read_job() for run in before.trained_runs]
    for job in jobs:
        dataset = with_fold(Dataset.open(Path(job.dataset_root)), job.fold)
        check_speech(dataset.subset("dev"), job.tune_condition)
    fewest = min(len(run.tuning.trials) if run.tuning else 0 for run in before.trained_runs)
    if trials is not None and trials < fewest:
        raise UserError(f"{out}: has {plural(fewest, 'trial')} already; ask for more with --trials")
    jobs = [job.model_copy(update={"trials": trials, "tune_seconds": seconds}) for job in jobs]
    return run(out, [Plan(job, job.init) for job in jobs], command, progress)


def _is_done(folder: RunFolder, job: Job) -> bool:
    """Whether the folder holds the finished run of the same job."""
    try:
        return folder.read_run().state == "done" and folder.read_job().hash == job.hash
    except UserError:  # new, or damaged: the run starts again, from its last checkpoint if it has one
        return False
