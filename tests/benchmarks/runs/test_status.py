"""Where runs stand, and how long they will take, from records alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from run_helpers import plan_of

from diarbench.backends.training.loggers import write_epochs
from diarbench.benchmarks.cli.console import duration
from diarbench.benchmarks.runs.evaluation import queued_run
from diarbench.benchmarks.runs.status import RunStatus, cancel, status
from diarbench.benchmarks.runs.timing import Speed
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.lock import hold
from diarbench.datasets.io.records import write_record
from diarbench.reports.results.run import Epoch, Phase
from diarbench.reports.results.run_folder import ComparisonFolder, RunFolder

EPOCHS = [
    Epoch(
        **dict.fromkeys(("loss_val_segmentation", "loss_val_vad", "loss_val", "confusion", "false_alarm"), 0.1),
        epoch=epoch,
        der=der,
        miss=0.2,
        threshold=0.5,
    )
    for epoch, der in enumerate((0.5, 0.3, 0.4))
]


def add(out: Path, dataset: Dataset, seed: int, epochs: int, **fields: Any) -> RunFolder:
    job = plan_of(dataset, "scratch", seed).job
    job = job.model_copy(update={"recipe": {**job.recipe, "epochs": epochs}})
    folder = ComparisonFolder(out).run(job.name)
    write_record(folder.job, job)
    write_record(folder.run, queued_run(job).model_copy(update=fields))
    return folder


@pytest.fixture
def out(ami_mini: Dataset, tmp_path: Path) -> Path:
    """A run that is done, one that waits, one that was stopped after two of four epochs, and one that failed."""
    out = tmp_path / "out"
    phases = [
        Phase(name=name, seconds=seconds, cached_s=cached_s, peak_memory_mb=1)
        for name, seconds, cached_s in (("training", 20, 0), ("diarizing", 5, 0), ("diarizing finetuned dev", 7, 7))
    ]
    folder = add(out, ami_mini, 1, 2, state="done", phases=tuple(phases))
    folder.scores.write_text("{}")
    add(out, ami_mini, 2, 8)
    write_epochs(add(out, ami_mini, 3, 4, state="training").epochs, EPOCHS)
    add(out, ami_mini, 4, 2, state="failed", failure="out of memory")
    (out / "plots").mkdir()
    return out


def test_states_epochs_dev_der_and_time_left_are_read_from_the_folders(out: Path) -> None:
    name = "ami-mini-dummy-quick-seed"
    done, queued, stopped, failed = status(out)
    assert done == RunStatus(run=f"{name}1", state="done", epochs=2)
    assert queued == RunStatus(run=f"{name}2", state="queued", epochs=8, left_s=8 * 10 + 5)
    assert stopped == RunStatus(run=f"{name}3", state="interrupted", epoch=2, epochs=4, dev_der=0.3, left_s=2 * 10 + 5)
    assert failed == RunStatus(run=f"{name}4", state="failed", epochs=2, failure="out of memory")
    with hold(out / f"{name}3"):
        running = status(out)[2]
    assert running.state == "training" and running.host
    spent = Phase(name="diarizing pretrained dev", seconds=2, peak_memory_mb=1)
    write_record(out / f"{name}3" / "speed.json", Speed(phases=(spent,)))
    assert status(out)[2].left_s == 2 * 10 + 5 - 2


def test_a_damaged_record_costs_its_line_only(out: Path) -> None:
    (out / "ami-mini-dummy-quick-seed2" / "run.json").write_text("{")
    before, damaged, *_ = status(out)
    assert before.state == "done"
    assert damaged.state == "unknown" and damaged.failure and "run.json: not a valid Run" in damaged.failure


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": {"epochs": None}}, "recipe: epochs: Input should be a valid integer"),
        ({"recipe": {"epochs": 0}}, "recipe: epochs: Input should be greater than or equal to 1"),
        ({"recipe": {"epochs": "five"}}, "recipe: epochs: Input should be a valid integer"),
        ({"recipe": {"epochs": 10**400}}, "recipe: epochs: Input should be less than or equal to"),
        ({"recipe": {"mix": None}}, "recipe: mix: Input should be a valid tuple"),
        ({"recipe": {"freeze": None}}, "recipe: freeze: Input should be a valid dictionary"),
        ({"train_fraction": 0}, "train_fraction: Input should be greater than 0"),
        ({"train_fraction": 1e-320}, None),
    ],
)
def test_a_job_that_cannot_be_costs_its_line_only(change: dict[str, Any], message: str | None, out: Path) -> None:
    """That of a run that is done, from which the time left of the others is estimated."""
    folder = out / "ami-mini-dummy-quick-seed1"
    job = json.loads((folder / "job.json").read_text())
    (folder / "job.json").write_text(json.dumps({**job, **change, "recipe": job["recipe"] | change.get("recipe", {})}))
    damaged, *others = status(out)
    assert [run.state for run in others] == ["queued", "interrupted", "failed"]
    assert all(run.left_s is None or duration(run.left_s) for run in others)
    assert damaged.state == ("unknown" if message else "done")
    assert message is None or (damaged.failure and message in damaged.failure)


def test_what_cannot_be_shown_or_cancelled_is_told(out: Path) -> None:
    name = "ami-mini-dummy-quick-seed"
    with pytest.raises(UserError, match=r"empty: holds no runs; give the folder that 'bench run' writes to"):
        status(out / "empty")
    with pytest.raises(UserError, match=r"seed1: is one run of a comparison; give the comparison's folder, "):
        status(out / f"{name}1")
    with pytest.raises(UserError, match=rf"holds no run {name}22 \(did you mean {name}2\?\); see 'bench status "):
        cancel(out, [f"{name}2", f"{name}22"])
    with pytest.raises(UserError, match=rf"{name}1: is done already"):
        cancel(out, [f"{name}1"])
    assert [run.state for run in status(out)] == ["done", "queued", "interrupted", "failed"], "nothing is cancelled"


def test_runs_that_nobody_works_at_are_cancelled_at_once(out: Path) -> None:
    assert [holder for _, holder in cancel(out, ["ami-mini-dummy-quick-seed2/"])] == [None]
    assert [holder for _, holder in cancel(out)] == [None]
    assert [run.failure for run in status(out)] == [None, *["cancelled by 'bench cancel'"] * 2, "out of memory"]
