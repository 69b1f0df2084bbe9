"""The matrix backend x dataset x recipe x seed: each run in its own process and folder, then one comparison."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

from diarbench.backends import registry
from diarbench.backends.recipes import Recipe
from diarbench.benchmarks.comparison import gather
from diarbench.benchmarks.progress import RunProgress
from diarbench.benchmarks.tuning import TRIALS, check_speech
from diarbench.benchmarks.worker import MEASURED, crowded, run_record
from diarbench.datasets.layout import Dataset
from diarbench.reports.records import (
    NOT_HASHED,
    Comparison,
    Domain,
    Job,
    Run,
    UserError,
    digest,
    read_record,
    write_record,
)


@dataclass(frozen=True)
class Plan:
    """A run that is to be, or the reason why it can't."""

    job: Job
    origin: str
    """Where its first weights come from, as far as is known before it starts."""
    problem: str | None = None
    warnings: tuple[str, ...] = ()
    """What it can't do well, told before it starts."""


@dataclass(frozen=True)
class Tuned:
    """How hyper-parameters are tuned on dev: the ``tune_...`` fields of a Job, ranges by backend."""

    trials: int | None = TRIALS
    seconds: float | None = None
    condition: str = "full"
    space: Mapping[str, dict[str, Any]] = field(default_factory=dict)


UNTUNED = Tuned(trials=0)


def plan(
    backends: Sequence[str],
    datasets: Sequence[Dataset],
    recipes: Sequence[Recipe],
    seeds: Sequence[int],
    inits: Mapping[str, str],
    device: str,
    fractions: Sequence[float] = (1.0,),
    also_score: Sequence[Dataset] = (),
    tuning: Tuned = UNTUNED,
    options: Mapping[str, Any] = MappingProxyType({}),
) -> list[Plan]:
    """All runs of the matrix, in order. Raises UserError for what could never run; reads no audio.

    ``inits`` is ``--init`` by backend, ``options`` are further fields of each Job. A dataset that is also scored is
    not for the runs that are trained on it.
    """
    _check_names([*datasets, *also_score])
    others = {each.info.name: _domain(each) for each in also_score}
    for dataset in datasets if tuning.trials != 0 else ():
        check_speech(dataset.subset("dev"), tuning.condition)
    absent = {backend: registry.missing(backend) for backend in backends}
    starts = {name: registry.load(name).locate(inits[name]) for name, command in absent.items() if not command}
    plans = []
    for dataset, backend, recipe, seed, fraction in product(datasets, backends, recipes, seeds, fractions):
        command, start = absent[backend], starts.get(backend)
        weights = start and start.weights
        for subset in ("train", *MEASURED):
            dataset.subset(subset)
        _check_fraction(dataset, recipe, fraction)
        job = Job(
            backend=backend,
            dataset=dataset.info.name,
            dataset_root=str(dataset.root.resolve()),
            fingerprint=dataset.info.fingerprint,
            recipe=recipe.model_dump(),
            seed=seed,
            init=inits[backend],
            # A hub's file may be downloaded by the run itself, which then records what it got.
            init_sha256=weights.sha256 if weights and not inits[backend].startswith("hub:") else None,
            device=device,
            threads=threads(),
            train_fraction=fraction,
            also_score=tuple(other for name, other in others.items() if name != dataset.info.name),
            trials=tuning.trials,
            tune_seconds=tuning.seconds,
            tune_condition=tuning.condition,
            search_space=tuning.space.get(backend, {}),
            **options,
        )
        plans.append(
            Plan(
                job,
                weights.origin if weights else "?",
                f"not installed: {command}" if command else None,
                crowded(dataset, start) if start else (),
            )
        )
    names = [p.job.name for p in plans]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(
            f"two runs would be called {twice}: ask for each backend, dataset, recipe, seed and fraction once"
        )
    return plans


def threads() -> int:
    """The cores of a run: all, or as many as OMP_NUM_THREADS leaves it on a machine that has other work."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() and int(asked) else os.cpu_count() or 1


def _domain(dataset: Dataset) -> Domain:
    """Raises UserError where it has no test recording to score."""
    if not dataset.recordings.get("test"):
        raise UserError(f"{dataset.root}: no recordings in test.txt; --also-score scores a dataset's test subset")
    info = dataset.info
    return Domain(dataset=info.name, root=str(dataset.root.resolve()), fingerprint=info.fingerprint, corpus=info.corpus)


def _check_names(datasets: Sequence[Dataset]) -> None:
    """Raises UserError where two datasets of one name are not the same: a report could not tell them apart."""
    known: dict[str, Dataset] = {}
    for dataset in datasets:
        other = known.setdefault(dataset.info.name, dataset)
        if other.info.fingerprint != dataset.info.fingerprint:
            raise UserError(
                f"{other.root} and {dataset.root}: two datasets are called {dataset.info.name}; convert one of them "
                "again into a folder of another name"
            )


def _check_fraction(dataset: Dataset, recipe: Recipe, fraction: float) -> None:
    if not 0 < fraction <= 1:
        raise UserError(f"--train-fraction {fraction:g}: not a fraction of the train subset; give one above 0, up to 1")
    train = dataset.info.subsets.get("train")
    if train is not None and fraction * train.scored_s < recipe.window_s:
        raise UserError(
            f"--train-fraction {fraction:g}: {fraction * train.scored_s:.1f} s of {dataset.info.name} is not one "
            f"window of {recipe.window_s:g} s; give a larger one"
        )


def default_out(plans: Sequence[Plan]) -> Path:
    """A folder that the same command finds again, and a command with other settings does not."""
    datasets = "-".join(dict.fromkeys(plan.job.dataset for plan in plans))
    return Path("runs") / f"{datasets}-{digest([plan.job.hash for plan in plans])[:8]}"


def check_out(out: Path, plans: Sequence[Plan]) -> None:
    """Raises UserError where the folder holds anything that these runs would not go on with."""
    if not out.exists():
        return
    if not out.is_dir():
        raise UserError(f"{out}: is a file; choose another --out")
    asked = {plan.job.name: plan.job for plan in plans}
    known = {"results.json", "report.md", "report.html", "leaderboard.md", "plots", "reference", "fusion", *asked}
    for entry in sorted(out.iterdir()):
        if (entry / "job.json").is_file():
            there = read_record(entry / "job.json", Job)
            if entry.name not in asked:
                raise UserError(f"{out}: holds the run {entry.name}, which is not asked for now; choose another --out")
            if there.hash != asked[entry.name].hash:
                raise UserError(f"{entry}: was run with {_difference(there, asked[entry.name])}; choose another --out")
        elif entry.name not in known and not entry.name.startswith("."):
            raise UserError(f"{out}: holds {entry.name}, which is no run's; choose an empty --out")


def run(out: Path, plans: Sequence[Plan], command: str, progress: RunProgress) -> Comparison:
    """Run what is not done yet, then gather everything in ``results.json``. Failed runs are part of the result."""
    for index, planned in enumerate(plans, start=1):
        folder = out / planned.job.name
        progress.begin(planned.job.name, f"{index}/{len(plans)}")
        if planned.problem is None and _done(folder, planned.job):
            progress.end("done before")
            continue
        if planned.problem is None:
            # Not done before there is a job that says what is: else a stop between the two would leave it so.
            write_record(folder / "run.json", run_record(planned.job))
            write_record(folder / "job.json", planned.job)
            record = _work(folder, planned.job, progress)
        else:
            record = run_record(planned.job).model_copy(update={"state": "failed", "failure": planned.problem})
            write_record(folder / "job.json", planned.job)
            write_record(folder / "run.json", record)
        progress.end(record.state if record.failure is None else f"failed: {record.failure}")
    comparison = gather(out, [planned.job for planned in plans], command)
    write_record(out / "results.json", comparison)
    return comparison


def _work(folder: Path, job: Job, progress: RunProgress) -> Run:
    """Run a job in its own process, showing its events; Ctrl-C stops it and leaves it to be gone on with."""
    process = subprocess.Popen(
        [sys.executable, "-m", "diarbench.benchmarks.worker", str(folder / "job.json")],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
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
        process.terminate()
        process.wait()
        raise
    record = read_record(folder / "run.json", Run) if (folder / "run.json").is_file() else run_record(job)
    if process.returncode and record.state != "failed":
        assert process.stderr is not None
        said = process.stderr.read().strip().splitlines()
        killed = f"killed by signal {-process.returncode}" if process.returncode < 0 else f"exit {process.returncode}"
        reason = said[-1] if said else "out of memory?" if process.returncode == -9 else "see log.txt"
        record = record.model_copy(update={"state": "failed", "failure": f"{killed} while {record.state} ({reason})"})
        write_record(folder / "run.json", record)
    return record


def worker_environment(threads: int) -> dict[str, str]:
    """The environment of a run: its share of the cores, no telemetry."""
    return {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        # What lies in the folder that the user stands in is never imported, by no process of the run.
        "PYTHONSAFEPATH": "1",
        "PYANNOTE_METRICS_ENABLED": "0",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "WANDB_MODE": "disabled",
        "TOKENIZERS_PARALLELISM": "false",
    }


def tune(out: Path, trials: int | None, seconds: float | None, command: str, progress: RunProgress) -> Comparison:
    """Go on tuning the runs of a comparison until they have so many trials in all, and gather it again.

    Raises UserError where the folder holds no comparison, or its runs have more trials already.
    """
    if (out / "job.json").is_file():
        raise UserError(f"{out}: is one run of a comparison; give the comparison's folder, {out.parent}")
    before = read_record(out / "results.json", Comparison)
    command = f"{before.command} && {command}"
    jobs = [read_record(out / each.name / "job.json", Job) for each in before.runs]
    for job in jobs:
        check_speech(Dataset.open(Path(job.dataset_root)).subset("dev"), job.tune_condition)
    fewest = min(len(each.tuning.trials) if each.tuning else 0 for each in before.runs)
    if trials is not None and trials < fewest:
        raise UserError(f"{out}: has {fewest} trials already; ask for more with --trials")
    asked = [job.model_copy(update={"trials": trials, "tune_seconds": seconds}) for job in jobs]
    return run(out, [Plan(job, job.init) for job in asked], command, progress)


def _done(folder: Path, job: Job) -> bool:
    """Whether a run is done, and with all that is asked of it now."""
    if not (folder / "run.json").is_file() or read_record(folder / "run.json", Run).state != "done":
        return False
    return read_record(folder / "job.json", Job).hash == job.hash


def _difference(there: Job, asked: Job) -> str:
    for name in Job.model_fields:
        old, new = getattr(there, name), getattr(asked, name)
        if old != new and name not in NOT_HASHED:
            if name == "also_score":
                old, new = (
                    " and ".join(f"{each.dataset} ({each.fingerprint[:12]})" for each in value) or "nothing"
                    for value in (old, new)
                )
            if isinstance(old, dict):
                key = next(key for key in {**old, **new} if old.get(key) != new.get(key))
                name, old, new = f"{name} {key}", old.get(key), new.get(key)
            return f"{name} {old}, not {new}"
    raise AssertionError("two jobs of different hash differ in some field")
