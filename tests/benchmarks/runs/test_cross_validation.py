"""Cross-validation of the dummy backend on real recordings: folds are run, pooled, compared and reported."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from diarbench.backends.recipes import load as recipes
from diarbench.benchmarks.runs import runner
from diarbench.benchmarks.runs.plan import Plan, check_out, plan
from diarbench.benchmarks.runs.progress import RunProgress
from diarbench.benchmarks.scoring.inputs import read_inputs
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.folds import all_as_test
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.records import read_record
from diarbench.datasets.io.rttm import read_rttm
from diarbench.reports import write as reports
from diarbench.reports.results.comparison import Comparison
from diarbench.reports.results.merge import merge
from diarbench.reports.results.run_folder import ComparisonFolder
from diarbench.reports.results.scores import ErrorSeconds

FOLDS = 3
NAME = "ami-mini-dummy-quick-seed1"


def plans(dataset: Dataset, **changes: Any) -> list[Plan]:
    recipe = recipes.load("quick").model_copy(update={"epochs": 1})
    arguments: dict[str, Any] = {"seeds": [1], "inits": {"dummy": "pretrained"}, "device": "cpu", "folds": FOLDS}
    return plan(["dummy"], [dataset], [recipe], **(arguments | changes))


def run(out: Path, planned: list[Plan]) -> Comparison:
    with RunProgress(Console(file=io.StringIO())) as progress:
        comparison = runner.run(out, planned, "bench run --folds 3", progress)
    return comparison


@pytest.fixture(scope="module")
def done(site: Path, ami_mini: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Comparison]:
    out = tmp_path_factory.mktemp("cv") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        patch.setenv("PYTHONPATH", str(site))
        return out, run(out, plans(ami_mini, repetitions=2))


def test_each_fold_is_a_run_and_is_pooled(done: tuple[Path, Comparison], ami_mini: Dataset) -> None:
    _, comparison = done
    assert [r.name for r in comparison.runs] == [NAME, f"{NAME}-repetition2"]
    assert [r.name for r in comparison.fold_runs[:FOLDS]] == [f"{NAME}-fold{k}of3" for k in range(1, FOLDS + 1)]
    recordings = sorted(r.uri for r in all_as_test(ami_mini).subset("test"))
    for run in comparison.runs:
        rows = [row for row in comparison.rows if row.run == run.name and row.condition == "full"]
        for row in rows:
            assert sorted(part.uri for part in row.files) == recordings
            for number, name in enumerate(run.folds, start=1):
                tested = next(fold.fold.test for fold in comparison.fold_runs if fold.name == name and fold.fold)
                own = [part.uri for part, fold in zip(row.files, row.folds, strict=True) if fold == number]
                assert own == sorted(tested)
            of_folds = [
                other
                for other in comparison.fold_rows
                if other.run in run.folds and (other.stage, other.condition) == (row.stage, row.condition)
            ]
            total = sum(of_folds, ErrorSeconds())
            assert len(of_folds) == FOLDS
            assert (row.total, row.miss, row.false_alarm, row.confusion) == pytest.approx(
                (total.total, total.miss, total.false_alarm, total.confusion)
            )
        assert run.final_stage in {row.stage for row in rows}
        assert run.train_s == pytest.approx(sum(r.train_s or 0 for r in comparison.fold_runs if r.name in run.folds))


def test_the_pooled_rttm_scores_as_the_pooled_row(done: tuple[Path, Comparison]) -> None:
    from diarbench.benchmarks import api

    out, comparison = done
    folder = ComparisonFolder(out)
    reference = folder.reference("ami-mini", "test")
    hypothesis = folder.run(NAME).rttm(comparison.runs[0], "ami-mini", comparison.runs[0].final_stage) / "test"
    assert len(read_inputs(reference, [hypothesis], reference).reference) == 14
    score = api.score(reference, hypothesis, reference)["full"]
    (row,) = [
        row
        for row in comparison.rows
        if (row.run, row.stage, row.condition) == (NAME, comparison.runs[0].final_stage, "full")
    ]
    assert score.errors.der == pytest.approx(row.der)
    assert row.interval and row.interval.units >= 1


def test_two_repetitions_of_a_recording_are_one_recording(done: tuple[Path, Comparison]) -> None:
    _, comparison = done
    assert comparison.contrasts
    for contrast in comparison.contrasts:
        assert contrast.difference.interval.counted == "7 groups of recordings", "of two recordings each"


def test_the_reports_show_pooled_and_per_fold(done: tuple[Path, Comparison]) -> None:
    out, comparison = done
    assert read_record(out / "results.json", Comparison) == comparison
    for path in reports.write_reports([comparison], out):
        text = path.read_text()
        assert "DER by fold" in text and "fold 3 of 3" in text
        assert f"{NAME}-fold2of3: fine-tuning: " in text, "what each fold decided stands under its name"
    assert not any("fine-tuning: " in note for run in comparison.runs for note in run.notes)


def test_a_finished_cross_validation_is_not_run_again_and_is_tuned_further(
    done: tuple[Path, Comparison], ami_mini: Dataset, dummy: None, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(done[0], out)
    check_out(out, plans(ami_mini, repetitions=2))
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/job.json")}
    again = run(out, plans(ami_mini, repetitions=2))
    assert again.rows == done[1].rows
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/job.json")} == before
    run(out, plans(ami_mini))
    with RunProgress(Console(file=io.StringIO())) as progress:
        tuned = runner.tune(out, 2, None, "bench tune", progress)
    assert {run.final_stage for run in tuned.runs} == {"tuned"}
    assert all(len(run.tuning.trials) == 2 for run in tuned.fold_runs if run.tuning)


def test_a_failed_fold_fails_the_pooled_run_with_its_reason(
    done: tuple[Path, Comparison], ami_mini: Dataset, dummy: None, tmp_path: Path
) -> None:
    shutil.copytree(done[0], tmp_path / "out")
    planned = plans(ami_mini)
    planned[1] = Plan(planned[1].job, "", problem="not installed: pip install x")
    comparison = run(tmp_path / "out", planned)
    (pooled,) = comparison.runs
    assert (pooled.state, pooled.failure) == ("failed", f"{NAME}-fold2of3: not installed: pip install x")
    assert not [row for row in comparison.rows if row.run == NAME]
    assert [run.state for run in comparison.fold_runs] == ["done", "failed", "done"]


def test_it_is_not_ranked_with_a_comparison_of_the_dataset_s_own_subsets(done: tuple[Path, Comparison]) -> None:
    out, comparison = done
    own = comparison.model_copy(update={"runs": comparison.fold_runs[:1], "fold_runs": (), "fold_rows": ()})
    groups, reasons = merge({out.parent / "own": own, out: comparison}, out.parent)
    assert len(groups) == 2 and any("one is a cross-validation" in reason for reason in reasons)


def test_what_cannot_be_cross_validated_is_refused(ami_mini: Dataset, sample: Dataset, dummy: None) -> None:
    with pytest.raises(UserError, match="--also-score: other domains cannot be scored in a cross-validation"):
        plans(ami_mini, also_score=[sample])
    with pytest.raises(UserError, match="--repeat: repeats a cross-validation; give --folds too"):
        plans(ami_mini, folds=None, repetitions=2)


def test_the_folds_are_shown_before_they_are_run(dummy: None, tmp_path: Path) -> None:
    arguments = ["run", "--backend", "dummy", "--folds", "7", "--dry-run", "--out", str(tmp_path / "out")]
    shown = subprocess.run(
        [sys.executable, "-m", "diarbench.benchmarks.cli", *arguments], capture_output=True, text=True, check=True
    ).stdout
    assert "7 runs into" in shown and "fold3of7: test tst00, tst01; dev dev00, dev01; train 10 others" in shown
    assert not (tmp_path / "out").exists()


def test_a_pooled_run_has_no_network_and_says_so(done: tuple[Path, Comparison], tmp_path: Path) -> None:
    from diarbench.benchmarks.runs.deploy import TrainedRun

    with pytest.raises(UserError, match=f"pools 3 folds and has no network; give one of them, {NAME}-fold1of3"):
        TrainedRun(done[0] / NAME)
    hypothesis = ComparisonFolder(done[0]).run(f"{NAME}-fold1of3").path / "rttm" / "test"
    assert all(read_rttm(path) for path in hypothesis.iterdir())
