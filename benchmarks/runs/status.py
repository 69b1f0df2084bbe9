"""Where the runs of a comparison stand, read from their folders; and how to cancel them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from diarbench.benchmarks.runs.estimate import Estimator, spent_s
from diarbench.benchmarks.runs.evaluation import CANCELLED, mark_cancelled
from diarbench.benchmarks.runs.executors.watch import read_epochs
from diarbench.benchmarks.runs.timing import Speed
from diarbench.datasets.io.errors import UserError, did_you_mean
from diarbench.datasets.io.files import write_atomic
from diarbench.datasets.io.lock import Holder, disk_time_s, holder_of
from diarbench.datasets.io.records import Record, read_record
from diarbench.reports.results.job import Job
from diarbench.reports.results.run import Phase
from diarbench.reports.results.run_folder import RunFolder, refuse_links

OVER = ("done", "failed")


class RunStatus(Record):
    """Where one run stands."""

    run: str
    state: str
    """That of ``run.json``; ``interrupted`` also where its process ended without a word."""
    epoch: int | None = None
    epochs: int | None = None
    """Epochs of the recipe; None where nothing is trained."""
    dev_der: float | None = None
    """The lowest on dev so far, as a fraction."""
    host: str | None = None
    """The machine that works the run now."""
    left_s: float | None = None
    """Seconds left, by earlier runs of the same kind; None where there are none, and for a run that is over."""
    failure: str | None = None


def status(out: Path) -> list[RunStatus]:
    """The status of each run in a comparison's folder, by name. Raises UserError where it holds no runs."""
    folders = run_folders(out)
    now_s = disk_time_s(out)
    estimator = Estimator(out)
    return [_status_of(folder, now_s, estimator) for folder in folders]


def run_folders(out: Path) -> list[RunFolder]:
    """The folders of a comparison's runs, without those that pool folds."""
    if RunFolder(out).job.is_file():
        raise UserError(f"{out}: is one run of a comparison; give the comparison's folder, {out.parent}")
    folders = [RunFolder(job.parent) for job in sorted(out.glob("*/job.json"))]
    if not folders:
        raise UserError(f"{out}: holds no runs; give the folder that 'bench run' writes to")
    return folders


def cancel(out: Path, runs: Sequence[str] = ()) -> list[tuple[str, Holder | None]]:
    """Cancel runs that are not over, all where none is named: each ends within seconds, and counts as failed.

    Returns their names with the processes that work them now. Raises UserError where a named run is not there, or over.
    """
    refuse_links(out, may_be_link=True)
    folders = {folder.path.name: folder for folder in run_folders(out)}
    for name in (runs := [name.rstrip("/") for name in runs]):
        if name not in folders:
            raise UserError(f"{out}: holds no run {name}{did_you_mean(name, folders)}; see 'bench status {out}'")
        if (state := _state(folders[name])) in OVER:
            raise UserError(f"{out / name}: is {state} already; see 'bench status {out}'")
    now_s = disk_time_s(out)
    cancelled = []
    for name in runs or folders:
        folder = folders[name]
        if _state(folder) in OVER:
            continue
        write_atomic(folder.cancelled, f"{CANCELLED}\n")  # read by its worker, and by the command that has it queued
        holder = holder_of(folder.path, now_s)
        if holder is None:
            mark_cancelled(folder)
        cancelled.append((name, holder))
    return cancelled


def _status_of(folder: RunFolder, now_s: float, estimator: Estimator) -> RunStatus:
    try:
        job, run = folder.read_job(), folder.read_run()
    except UserError as error:
        return RunStatus(run=folder.path.name, state="unknown", failure=str(error))
    holder = holder_of(folder.path, now_s)
    epochs = read_epochs(folder.epochs) if job.train else []
    stopped = holder is None and run.state not in (*OVER, "queued")
    return RunStatus(
        run=run.name,
        state="interrupted" if stopped else run.state,
        epoch=max((epoch.epoch for epoch in epochs), default=None),
        epochs=job.recipe["epochs"] if job.train else None,
        dev_der=min((epoch.der for epoch in epochs), default=None),
        host=holder.host if holder else None,
        left_s=None if run.state in OVER else _left_s(job, run.state, _phases(folder), len(epochs), estimator),
        failure=run.failure,
    )


def _left_s(job: Job, state: str, phases: Sequence[Phase], epochs: int, estimator: Estimator) -> float | None:
    """What earlier runs took, without what this one has spent and the epochs that it has trained."""
    if (costs := estimator.cost(job)) is None:
        return None
    trained = max(0, epochs - 1) / job.recipe["epochs"] if job.train else 0  # epoch 0 is before training
    training_s = costs.training_s * max(0.0, 1 - trained) if state in ("queued", "training", "interrupted") else 0
    rest_s = costs.rest_s - spent_s(phase for phase in phases if phase.name != "training")
    return training_s + max(0.0, rest_s)


def _phases(folder: RunFolder) -> tuple[Phase, ...]:
    """The phases of a run so far."""
    with suppress(UserError):
        return read_record(folder.speed, Speed).phases
    return ()


def _state(folder: RunFolder) -> str:
    with suppress(UserError):
        return folder.read_run().state
    return "unknown"
