"""Parts of train and other domains, through the runner with a backend of somebody else's: what is run and told."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from diarbench.backends import recipes
from diarbench.benchmarks import runner
from diarbench.benchmarks.progress import RunProgress
from diarbench.datasets.layout import Dataset
from diarbench.reports import folder as reports
from diarbench.reports.cells import Table, data_table, forgotten_table
from diarbench.reports.explorer import explore
from diarbench.reports.records import Comparison, Job, UserError, read_record, write_record
from diarbench.reports.summary import summarize, verdict

FRACTIONS = (0.1, 0.5, 1.0)


def plans(dataset: Dataset, **changes: Any) -> list[runner.Plan]:
    recipe = recipes.load("quick").model_copy(update={"epochs": 1})
    wanted: dict[str, Any] = {"seeds": [1], "inits": {"dummy": "pretrained"}, "device": "cpu", **changes}
    return runner.plan(["dummy"], [dataset], [recipe], **wanted)


def run(out: Path, asked: list[runner.Plan]) -> Comparison:
    with RunProgress(Console(file=io.StringIO())) as progress:
        return runner.run(out, asked, "bench run ...", progress)


def cells(table: Table | None) -> list[list[str]]:
    assert table is not None
    return [[cell.text for cell in row] for row in table.rows]


def rate(comparison: Comparison, dataset: str, stage: str, run: str) -> float:
    (row,) = [
        row
        for row in comparison.rows
        if (row.dataset, row.stage, row.subset, row.condition, row.run) == (dataset, stage, "test", "full", run)
    ]
    assert row.der is not None
    return row.der


def test_less_data_and_another_domain_are_run_scored_and_told(
    dummy: None, ami_mini: Dataset, sample: Dataset, tmp_path: Path
) -> None:
    asked = plans(ami_mini, fractions=FRACTIONS, also_score=[sample, ami_mini])
    names = [plan.job.name for plan in asked]
    whole = "ami-mini-dummy-quick-seed1"
    assert names == [f"{whole}-fraction0.1", f"{whole}-fraction0.5", whole]
    assert all([domain.dataset for domain in plan.job.also_score] == ["telephone"] for plan in asked)
    comparison = run(tmp_path, asked)
    assert [(each.state, each.train_fraction) for each in comparison.runs] == [("done", f) for f in FRACTIONS]
    assert [each.train_s for each in comparison.runs] == pytest.approx([30, 150, 300])
    assert [each.trained_audio_s for each in comparison.runs] == pytest.approx([30, 150, 300])

    abroad = [row for row in comparison.rows if row.dataset == "telephone"]
    assert {(row.run, row.stage) for row in abroad if row.run} == {(n, s) for n in names for s in STAGES}
    assert {row.stage for row in abroad if row.run is None} == {"silence", "one-speaker"}
    assert {row.subset for row in abroad} == {"test"}
    assert f"{whole}/also/telephone/rttm/test/call.rttm" in comparison.rests_on
    assert "reference/telephone/test/call.uem" in comparison.rests_on

    told = {(c.dataset, c.a, c.b) for c in comparison.contrasts}
    for a, b in (
        ("dummy 10% finetuned", "dummy 50% finetuned"),
        ("dummy 50% finetuned", "dummy 100% finetuned"),
        ("dummy 100% pretrained", "dummy 100% finetuned"),
    ):
        assert ("ami-mini", a, b) in told
    assert ("ami-mini", "dummy 10% finetuned", "dummy 100% finetuned") not in told, "only the next in size"
    start = "dummy 100% pretrained on ami-mini"
    assert ("telephone", start, "dummy 100% finetuned on ami-mini") in told

    summary = summarize(comparison)
    assert summary.datasets == ("ami-mini", "telephone")
    assert [contender.label for contender in summary.of("ami-mini")[0].contenders] == ["dummy 100% finetuned"]
    steps = cells(data_table(summary.of("ami-mini")[0]))
    after = [100 * rate(comparison, "ami-mini", "finetuned", name) for name in names]
    assert [row[:3] for row in steps] == [
        [f"dummy {100 * f:g}% finetuned", hours, f"{der:.1f}"]
        for f, hours, der in zip(FRACTIONS, ("0.00833", "0.0417", "0.0833"), after, strict=True)
    ]
    assert [row[3] for row in steps] == ["-", f"{after[1] - after[0]:+.1f}", f"{after[2] - after[1]:+.1f}"]
    before, now = (100 * rate(comparison, "telephone", stage, whole) for stage in STAGES)
    there = cells(forgotten_table(summary, "ami-mini"))[-1]
    expected = ["dummy 100% finetuned", "telephone", f"{before:.1f}", f"{now:.1f}", f"{now - before:+.1f}"]
    assert there[:5] == expected and " to " in there[5]
    assert "telephone, which none of them was trained on, test set of 1 recording" in verdict(summary, "telephone")

    shown = explore(summary, tmp_path)
    assert f"{whole}, finetuned, on telephone" in {system["name"] for system in shown["systems"]}
    (call,) = [each for each in shown["recordings"] if each["name"] == "call"]
    assert call["audio"]["wav"], "its audio lies in the other dataset"
    reports.write_reports([comparison], tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "What was forgotten" in text and "| dummy | 50 | finetuned |" in text

    again = run(tmp_path, asked)
    assert again.rows == comparison.rows
    runner.check_out(tmp_path, asked)
    with pytest.raises(UserError, match=r"was run with also_score telephone \(\w+\), not nothing"):
        runner.check_out(tmp_path, plans(ami_mini, fractions=FRACTIONS))


STAGES = ("pretrained", "finetuned")


def test_where_it_lies_is_not_what_was_asked(ami_mini: Dataset, sample: Dataset, dummy: None, tmp_path: Path) -> None:
    (job,) = [plan.job for plan in plans(ami_mini, also_score=[sample])]
    moved = job.model_copy(update={"also_score": (job.also_score[0].model_copy(update={"root": "/elsewhere"}),)})
    assert moved.hash == job.hash
    other = job.model_copy(update={"also_score": (job.also_score[0].model_copy(update={"fingerprint": "0"}),)})
    assert other.hash != job.hash


def test_an_older_job_is_of_all_of_train(ami_mini: Dataset, dummy: None, tmp_path: Path) -> None:
    (job,) = [plan.job for plan in plans(ami_mini)]
    write_record(tmp_path / "job.json", job)
    old = tmp_path / "job.json"
    text = old.read_text().replace(' "train_fraction": 1.0,\n', "").replace(',\n "also_score": []', "")
    old.write_text(text)
    assert "train_fraction" not in text
    assert read_record(old, Job) == job


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"fractions": [0.0]}, "--train-fraction 0: not a fraction of the train subset"),
        ({"fractions": [1.5]}, "--train-fraction 1.5: not a fraction"),
        ({"fractions": [0.02]}, "6.0 s of ami-mini is not one window of 10 s"),
        ({"fractions": [0.5, 0.5]}, "two runs would be called ami-mini-dummy-quick-seed1-fraction0.5"),
    ],
)
def test_a_part_that_is_none_is_told_before_anything_runs(
    changes: dict[str, Any], told: str, dummy: None, ami_mini: Dataset
) -> None:
    with pytest.raises(UserError, match=told):
        plans(ami_mini, **changes)


@pytest.mark.parametrize("subset", ["train", "dev", "test"])
def test_a_dataset_without_a_subset_is_refused(subset: str, dummy: None, ami_mini: Dataset, tmp_path: Path) -> None:
    shutil.copytree(ami_mini.root, tmp_path / "copy")
    (tmp_path / "copy" / f"{subset}.txt").write_text("")
    with pytest.raises(UserError, match=rf"no recordings in {subset}\.txt; a run needs train, dev and test"):
        plans(Dataset.open(tmp_path / "copy"))


def test_a_domain_without_test_recordings_or_with_a_taken_name_is_refused(
    dummy: None, ami_mini: Dataset, sample: Dataset, tmp_path: Path
) -> None:
    shutil.copytree(sample.root, tmp_path / "telephone")
    (tmp_path / "telephone" / "test.txt").write_text("")
    with pytest.raises(UserError, match=r"no recordings in test\.txt; --also-score scores a dataset's test subset"):
        plans(ami_mini, also_score=[Dataset.open(tmp_path / "telephone")])
    info = (sample.root / "dataset.json").read_text().replace('"name": "telephone"', '"name": "ami-mini"')
    (tmp_path / "telephone" / "dataset.json").write_text(info)
    with pytest.raises(UserError, match="two datasets are called ami-mini; convert one of them again"):
        plans(ami_mini, also_score=[Dataset.open(tmp_path / "telephone")])
