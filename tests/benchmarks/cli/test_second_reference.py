"""Two references of the same recordings: from ``bench data convert --reference`` to the report."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from run_helpers import Bench, run

from diarbench.backends.recipes import load as recipes
from diarbench.benchmarks.runs.plan import Plan, plan
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.rttm import Turn, write_rttm
from diarbench.reports import write as reports
from diarbench.reports.exports import as_csv


def later(dataset: Dataset, folder: Path, s: float) -> Path:
    """RTTM of the test recordings in which each turn begins later."""
    for recording in dataset.subset("test"):
        turns = [Turn(turn.start_s + s, turn.end_s, turn.speaker) for turn in recording.turns]
        write_rttm(folder / f"{recording.uri}.rttm", recording.uri, [t for t in turns if t.end_s > t.start_s])
    return folder


def plans(dataset: Dataset, **options: Any) -> list[Plan]:
    return plan(["dummy"], [dataset], [recipes.load("quick")], [1], {"dummy": "pretrained"}, "cpu", **options)


@pytest.fixture
def meetings(ami_mini: Dataset, tmp_path: Path) -> Path:
    return Path(shutil.copytree(ami_mini.root, tmp_path / "meetings"))


def test_a_second_reference_is_scored_and_shown_beside_the_first(
    meetings: Path, dummy: None, bench: Bench, tmp_path: Path
) -> None:
    aligned = later(Dataset.open(meetings), tmp_path / "aligned", 0.1)
    status, shown, _ = bench("data", "convert", str(aligned), str(meetings), "--reference", "aligned")
    assert status == 0 and "ami-mini-aligned" in shown
    dataset = Dataset.open(meetings)
    (other,) = dataset.other_references
    for mine, theirs in zip(dataset.subset("test"), other.subset("test"), strict=True):
        assert theirs.audio.samefile(mine.audio) and theirs.regions == mine.regions
        assert theirs.turns[0].start_s == pytest.approx(mine.turns[0].start_s + 0.1)

    (planned,) = plans(dataset, train=False)
    assert [domain.dataset for domain in planned.job.also_score] == ["ami-mini-aligned"]
    assert not any(each.job.also_score for each in plans(dataset, folds=3))
    out = tmp_path / "out"
    comparison, _ = run(out, planned)
    rows = [row for row in comparison.rows if row.run and (row.subset, row.condition) == ("test", "full")]
    speech_s = {row.dataset: row.total for row in rows}
    for each in (dataset, other):
        turns = [turn for recording in each.subset("test") for turn in recording.turns]
        assert speech_s[each.info.name] == pytest.approx(sum(turn.end_s - turn.start_s for turn in turns), abs=0.5)
    assert len(rows) == 2 and speech_s["ami-mini"] > speech_s["ami-mini-aligned"] + 1
    reports.write_reports([comparison], out)
    for text in ((out / "report.md").read_text(), (out / "report.html").read_text(), as_csv([comparison])):
        assert "ami-mini-aligned" in text
    for recording in dataset.subset("test"):
        hypotheses = [out / planned.job.name / f"{also}rttm/test/{recording.uri}.rttm" for also in ("", ALSO)]
        assert hypotheses[0].read_bytes() == hypotheses[1].read_bytes()


ALSO = "also/ami-mini-aligned/"


def test_what_is_no_second_reference_is_refused(meetings: Path, bench: Bench, tmp_path: Path) -> None:
    source = later(Dataset.open(meetings), tmp_path / "aligned", 0.1)
    to = ("data", "convert", str(source), str(meetings), "--reference")
    assert bench(*to, "a/b")[2].startswith("bench: --reference: 'a/b' cannot be a name")
    assert "leave out --split" in bench(*to, "aligned", "--split", "speaker")[2]
    (source / "tst01.rttm").unlink()
    status, _, error = bench(*to, "aligned")
    assert status == 1 and f"bench: {source}: no reference of tst01, in the test subset of {meetings}; add it" in error
    assert not Dataset.open(meetings).other_references
