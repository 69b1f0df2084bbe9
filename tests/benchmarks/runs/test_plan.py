"""Train fractions and other domains, through the runner with a third party's backend."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from run_helpers import plan_of

from diarbench.backends.base import SpeakerBounds
from diarbench.backends.recipes import load as recipes
from diarbench.benchmarks.runs import runner
from diarbench.benchmarks.runs.plan import Plan, check_out, default_out, plan
from diarbench.benchmarks.runs.progress import RunProgress
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import digest
from diarbench.datasets.io.names import LONGEST_BYTES
from diarbench.datasets.io.records import read_record, write_record
from diarbench.reports import write as reports
from diarbench.reports.formatting import percent, points
from diarbench.reports.html.explorer import explore
from diarbench.reports.results.comparison import Comparison
from diarbench.reports.results.job import Job
from diarbench.reports.summary.headline import headline
from diarbench.reports.summary.summary import summarize
from diarbench.reports.tables.changes import data_table, forgotten_table
from diarbench.reports.tables.table import Table

FRACTIONS = (0.1, 0.5, 1.0)


def plans(dataset: Dataset, **changes: Any) -> list[Plan]:
    recipe = recipes.load("quick").model_copy(update={"epochs": 1})
    arguments: dict[str, Any] = {"seeds": [1], "inits": {"dummy": "pretrained"}, "device": "cpu", **changes}
    return plan(["dummy"], [dataset], [recipe], **arguments)


def run(out: Path, planned: list[Plan]) -> Comparison:
    with RunProgress(Console(file=io.StringIO())) as progress:
        return runner.run(out, planned, "bench run ...", progress)


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


def test_train_fractions_and_another_domain_are_run_scored_and_reported(
    dummy: None, ami_mini: Dataset, sample: Dataset, tmp_path: Path
) -> None:
    planned = plans(ami_mini, fractions=FRACTIONS, also_score=[sample, ami_mini])
    names = [plan.job.name for plan in planned]
    full_train = "ami-mini-dummy-quick-seed1"
    assert names == [f"{full_train}-fraction0.1", f"{full_train}-fraction0.5", full_train]
    assert all([domain.dataset for domain in plan.job.also_score] == ["telephone"] for plan in planned)
    comparison = run(tmp_path, planned)
    assert [(run.state, run.train_fraction) for run in comparison.runs] == [("done", f) for f in FRACTIONS]
    assert [run.train_s for run in comparison.runs] == pytest.approx([30, 150, 300])
    assert [run.trained_audio_s for run in comparison.runs] == pytest.approx([30, 150, 300])

    out_of_domain = [row for row in comparison.rows if row.dataset == "telephone"]
    assert {(row.run, row.stage) for row in out_of_domain if row.run} == {(n, s) for n in names for s in STAGES}
    assert {row.stage for row in out_of_domain if row.run is None} == {"silence", "one-speaker"}
    assert {row.subset for row in out_of_domain} == {"test"}
    assert f"{full_train}/also/telephone/rttm/test/call.rttm" in comparison.source_hashes
    assert "reference/telephone/test/call.uem" in comparison.source_hashes

    compared = {(c.dataset, c.a, c.b) for c in comparison.contrasts}
    for a, b in (
        ("dummy 10% finetuned", "dummy 50% finetuned"),
        ("dummy 50% finetuned", "dummy 100% finetuned"),
        ("dummy 100% pretrained", "dummy 100% finetuned"),
    ):
        assert ("ami-mini", a, b) in compared
    assert ("ami-mini", "dummy 10% finetuned", "dummy 100% finetuned") not in compared, "only the next in size"
    start = "dummy 100% pretrained on ami-mini"
    assert ("telephone", start, "dummy 100% finetuned on ami-mini") in compared

    summary = summarize(comparison)
    assert summary.datasets == ("ami-mini", "telephone")
    assert [contender.label for contender in summary.of("ami-mini")[0].contenders] == ["dummy 100% finetuned"]
    steps = cells(data_table(summary.of("ami-mini")[0]))
    after = [100 * rate(comparison, "ami-mini", "finetuned", name) for name in names]
    assert [row[:3] for row in steps] == [
        [f"dummy {100 * f:g}% finetuned", hours, percent(der / 100)]
        for f, hours, der in zip(FRACTIONS, ("0.00833", "0.0417", "0.0833"), after, strict=True)
    ]
    assert [row[3] for row in steps] == ["-", points((after[1] - after[0]) / 100), points((after[2] - after[1]) / 100)]
    before, now = (100 * rate(comparison, "telephone", stage, full_train) for stage in STAGES)
    last_row = cells(forgotten_table(summary, "ami-mini"))[-1]
    expected = [
        "dummy 100% finetuned",
        "telephone",
        percent(before / 100),
        percent(now / 100),
        points((now - before) / 100),
    ]
    assert last_row[:5] == expected and last_row[5] == "-", "one recording has no interval"
    where = headline(summary, "telephone", tmp_path).where
    assert where.startswith("telephone (no system was trained on it), test of 1 recording (")

    explorer = explore(summary, tmp_path)
    assert f"{full_train}, finetuned, on telephone" in {system["name"] for system in explorer["systems"]}
    (call,) = [recording for recording in explorer["recordings"] if recording["name"] == "call"]
    assert call["audio"]["wav"], "its audio lies in the other dataset"
    reports.write_reports([comparison], tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "DER before and after fine-tuning, on the training domain" in text and "| dummy | 50 | finetuned |" in text

    again = run(tmp_path, planned)
    assert again.rows == comparison.rows
    check_out(tmp_path, planned)
    with pytest.raises(UserError, match=r"was run with also_score telephone \(\w+\), not nothing"):
        check_out(tmp_path, plans(ami_mini, fractions=FRACTIONS))


STAGES = ("pretrained", "finetuned")


def test_the_hash_ignores_where_a_domain_is_stored(
    ami_mini: Dataset, sample: Dataset, dummy: None, tmp_path: Path
) -> None:
    (job,) = [plan.job for plan in plans(ami_mini, also_score=[sample])]
    moved = job.model_copy(update={"also_score": (job.also_score[0].model_copy(update={"root": "/elsewhere"}),)})
    assert moved.hash == job.hash
    other = job.model_copy(update={"also_score": (job.also_score[0].model_copy(update={"fingerprint": "0"}),)})
    assert other.hash != job.hash


def test_the_identity_of_a_run_is_what_was_asked_and_not_where(
    ami_mini: Dataset, dummy: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = plan_of(ami_mini, "first/weights.bin").job.model_copy(update={"init_sha256": "content"})
    elsewhere = {"dataset_root": "/elsewhere", "device": "cuda", "threads": 96, "init": "run:second"}
    moved = job.model_copy(update=elsewhere)
    assert moved.hash == job.hash and moved.former_hash != job.former_hash
    write_record(tmp_path / "out" / job.name / "job.json", job)
    check_out(tmp_path / "out", [Plan(moved, "")])
    other = moved.model_copy(update={"init": "auto"})
    with pytest.raises(UserError, match=r"was run with init first/weights\.bin, not auto; choose another --out"):
        check_out(tmp_path / "out", [Plan(other, "")])
    assert job.model_copy(update={"init_sha256": "changed"}).hash != job.hash
    others, own = ({**job.recipe, "layer_rates": {name: {"*": 0.1}}} for name in ("pyannote", "dummy"))
    assert job.model_copy(update={"recipe": others}).hash == job.hash != job.model_copy(update={"recipe": own}).hash

    monkeypatch.chdir(tmp_path)
    assert default_out([Plan(moved, "")]) == default_out([Plan(job, "")])
    former = Path("runs") / f"ami-mini-{digest([job.former_hash])[:8]}"
    former.mkdir(parents=True)
    assert default_out([Plan(job, "")]) == former, "a comparison of version 0.1 goes on in its folder"


def test_a_job_without_a_train_fraction_uses_all_of_train(ami_mini: Dataset, dummy: None, tmp_path: Path) -> None:
    (job,) = [plan.job for plan in plans(ami_mini)]
    write_record(tmp_path / "job.json", job)
    old = tmp_path / "job.json"
    text = old.read_text().replace(' "train_fraction": 1.0,\n', "").replace(',\n "also_score": []', "")
    old.write_text(text)
    assert "train_fraction" not in text
    assert read_record(old, Job) == job


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fractions": [0.0]}, "--train-fraction 0: not a fraction of the train subset"),
        ({"fractions": [1.5]}, "--train-fraction 1.5: not a fraction"),
        ({"fractions": [0.02]}, "6.0 s of ami-mini is less than one window of 10 s"),
        ({"fractions": [0.5, 0.5]}, "two runs would be called ami-mini-dummy-quick-seed1-fraction0.5"),
    ],
)
def test_an_invalid_train_fraction_is_rejected_before_anything_runs(
    changes: dict[str, Any], message: str, dummy: None, ami_mini: Dataset
) -> None:
    with pytest.raises(UserError, match=message):
        plans(ami_mini, **changes)


@pytest.mark.parametrize("subset", ["train", "dev", "test"])
def test_a_dataset_without_a_subset_is_rejected(subset: str, dummy: None, ami_mini: Dataset, tmp_path: Path) -> None:
    shutil.copytree(ami_mini.root, tmp_path / "copy")
    (tmp_path / "copy" / f"{subset}.txt").write_text("")
    with pytest.raises(UserError, match=rf"no recordings in {subset}\.txt; a run needs train, dev and test"):
        plans(Dataset.open(tmp_path / "copy"))


@pytest.mark.parametrize("subset", ["dev", "test"])
def test_a_subset_without_speech_is_rejected_since_its_rates_would_be_undefined(
    subset: str, dummy: None, ami_mini: Dataset, tmp_path: Path
) -> None:
    """Turns outside the UEM are no speech either."""
    shutil.copytree(ami_mini.root, tmp_path / "copy")
    first, *others = Dataset.open(tmp_path / "copy").subset(subset)  # type: ignore[arg-type]
    first.uem.write_text(f"{first.uri} 1 0.0 0.001\n")
    first.rttm.write_text(f"SPEAKER {first.uri} 1 1.0 1.0 <NA> <NA> A <NA> <NA>\n")
    plans(Dataset.open(tmp_path / "copy"))
    for recording in others:
        recording.rttm.write_text("")
    with pytest.raises(UserError, match=rf"{subset}\.txt: nobody speaks in these recordings, so no"):
        plans(Dataset.open(tmp_path / "copy"))


def test_unreadable_audio_is_rejected_before_anything_runs(dummy: None, ami_mini: Dataset, tmp_path: Path) -> None:
    shutil.copytree(ami_mini.root, tmp_path / "copy")
    audio = Dataset.open(tmp_path / "copy").subset("train")[0].audio
    content = audio.read_bytes()
    for wrong, message in ((b"no audio", "not readable audio"), (content[: len(content) // 2], "truncated")):
        audio.unlink()
        audio.write_bytes(wrong)
        with pytest.raises(UserError, match=f"{audio.name}: {message}"):
            plans(Dataset.open(tmp_path / "copy"))


def test_too_little_to_train_on_does_not_blame_an_option(dummy: None, ami_mini: Dataset, tmp_path: Path) -> None:
    shutil.copytree(ami_mini.root, tmp_path / "copy")
    for recording in Dataset.open(tmp_path / "copy").subset("train"):
        recording.uem.write_text(f"{recording.uri} 1 0.0 0.5\n")
    with pytest.raises(UserError, match=r"train\.txt: 5\.0 s of annotated audio, less than one window of 10 s"):
        plans(Dataset.open(tmp_path / "copy"))


def test_a_domain_without_test_recordings_or_with_a_duplicate_name_is_rejected(
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


@pytest.mark.parametrize("init", ["auto", "auto+low_latency"])
def test_a_backend_whose_weights_must_be_downloaded_does_not_stop_the_others(
    init: str, dummy: None, ami_mini: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    inits = {"dummy": "scratch", "nemotron": init}
    recipe = recipes.load("quick")
    other, waiting = plan(["dummy", "nemotron"], [ami_mini], [recipe], [1], inits, "cpu")
    assert other.problem is None
    assert (
        waiting.problem is not None
        and "download it with 'hf download nvidia/Nemotron-3-Diarization'" in waiting.problem
    )
    with pytest.raises(UserError, match="no such size"):
        plan(["dummy", "nemotron"], [ami_mini], [recipe], [1], {**inits, "nemotron": "scratch:x"}, "cpu")


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        (SpeakerBounds(2, None), "nemo: at least 2 speakers: an end-to-end network has no least number of speakers"),
        (SpeakerBounds(6, 6), "nemo: exactly 6 speakers: its network separates at most 4"),
    ],
)
def test_bounds_that_a_backend_cannot_keep_are_refused_before_anything_runs(
    bounds: SpeakerBounds, message: str, ami_mini: Dataset
) -> None:
    arguments: dict[str, Any] = {"inits": {"nemo": "scratch", "pyannote": "scratch"}, "device": "cpu", "bounds": bounds}
    quick = recipes.load("quick")
    assert plan(["pyannote"], [ami_mini], [quick], [1], **arguments)[0].job.min_speakers == bounds.least
    with pytest.raises(UserError, match=message):
        plan(["pyannote", "nemo"], [ami_mini], [quick], [1], **arguments)
    eight = quick.model_copy(update={"objective": quick.objective.model_copy(update={"outputs": 8})})
    if bounds.exactly:
        assert plan(["nemo"], [ami_mini], [eight], [1], **arguments)[0].job.max_speakers == 6


def test_the_default_folder_of_many_datasets_has_a_name_of_bounded_length(ami_mini: Dataset) -> None:
    first = plan_of(ami_mini, "scratch")
    many = [Plan(first.job.model_copy(update={"dataset": f"{number}-{'회' * 60}"}), "") for number in range(5)]
    name, other = (default_out(each).name for each in (many, many[:4]))
    assert len(name.encode()) <= LONGEST_BYTES and name.startswith("0-회")
    assert name != other and name[:-9] == other[:-9], "the hash at the end tells them apart"
    assert default_out([first]).name.startswith("ami-mini-")
