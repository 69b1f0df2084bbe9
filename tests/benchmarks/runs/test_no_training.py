"""Evaluation alone: pretrained systems on a dataset of a test set, tuned on dev where there is one."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_helpers import run

from diarbench.backends.recipes import load as recipes
from diarbench.benchmarks import api
from diarbench.benchmarks.runs.plan import Plan, TuningOptions, plan
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.errors import UserError
from diarbench.reports.results.run_folder import RunFolder
from diarbench.reports.write import write_reports


def planned(dataset: Dataset, init: str = "pretrained", **changes: object) -> list[Plan]:
    tuning = TuningOptions(trials=3)
    return plan(
        *(["dummy"], [dataset], [recipes.load("quick")], [1], {"dummy": init}, "cpu"),
        **{"tuning": tuning, "train": False, **changes},  # type: ignore[arg-type]
    )


def test_a_test_set_alone_is_scored(dummy: None, sample: Dataset, tmp_path: Path) -> None:
    plans = planned(sample)
    assert [each.job.name for each in plans] == ["telephone-dummy-pretrained-seed1"]
    assert plans[0].job.trials == 0, "there is no dev to tune on"
    comparison, _ = run(tmp_path, *plans)
    (only,) = comparison.runs
    assert only.state == "done" and only.final_stage == "pretrained"
    assert only.epochs == () and only.best_epoch is None
    assert {(row.stage, row.subset) for row in comparison.rows if row.run} == {("pretrained", "test")}
    assert any(phase.name == "diarizing" and phase.audio_s for phase in only.phases)
    files = RunFolder(tmp_path / only.name)
    assert files.checkpoint("best").is_file() and (files.path / "rttm" / "test" / "call.rttm").is_file()
    written = write_reports([comparison], tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert written and "pretrained" in text
    assert "Recipe quick" not in text and "recipe quick" not in text and "one seed" not in text, "nothing was trained"
    assert all(contrast.difference.seeds is None for contrast in comparison.contrasts)


def test_the_pretrained_system_is_tuned_on_dev_where_there_is_one(
    dummy: None, ami_mini: Dataset, tmp_path: Path
) -> None:
    comparison, _ = run(tmp_path, *planned(ami_mini))
    (only,) = comparison.runs
    assert only.state == "done" and only.final_stage == "tuned"
    assert only.tuning is not None and len(only.tuning.trials) == 3
    stages = {(row.stage, row.subset) for row in comparison.rows if row.run}
    assert stages == {(stage, subset) for stage in ("pretrained", "tuned") for subset in ("dev", "test")}


def test_what_cannot_be_evaluated_is_one_line(dummy: None, ami_mini: Dataset, sample: Dataset) -> None:
    with pytest.raises(UserError, match=r"no recordings in train\.txt"):
        planned(sample, train=True, tuning=TuningOptions(trials=0))
    with pytest.raises(UserError, match="--no-train: dummy has no pretrained weights with --init scratch"):
        planned(sample, init="scratch")
    with pytest.raises(UserError, match="--folds: nothing is trained with --no-train"):
        planned(ami_mini, folds=2)
    with pytest.raises(UserError, match="--no-train: nothing is trained, so recipes make no difference"):
        api.plan(["nemo"], recipes=["quick", "guide-1-adam"], train=False)
    with pytest.raises(UserError, match="--require-training: nothing is trained with --no-train"):
        api.plan(["nemo"], train=False, require_training=True)
