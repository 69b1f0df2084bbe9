"""Merged comparisons: what is ranked together, what is shown separately and why; leaderboard and exports."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
import typer
from places import FIXTURES
from report_files import small
from report_records import CONDITIONS, make_comparison, make_rows, make_run, two_backends, with_statistics
from typer.testing import CliRunner

from diarbench.benchmarks.cli.report import leaderboard, report
from diarbench.benchmarks.runs.comparison import difference_of
from diarbench.benchmarks.runs.merged import with_contrasts
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.records import read_record, write_record
from diarbench.reports import exports
from diarbench.reports.html import page
from diarbench.reports.leaderboard import find
from diarbench.reports.results.comparison import Comparison
from diarbench.reports.results.job import Domain
from diarbench.reports.results.merge import merge, refuse_copies
from diarbench.reports.summary.headline import headline
from diarbench.reports.summary.summary import summarize
from diarbench.reports.tables.scores import over_seeds

app = typer.Typer()
app.command()(report)
app.command()(leaderboard)


def bench(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def one(miss: float, **changes) -> Comparison:
    """One nemo run that misses this many of 100 s, and silence."""
    run = make_run("nemo", **changes)
    rows = make_rows(run, "finetuned", ("one", 100, miss, 0, 0)) + make_rows(None, "silence", ("one", 100, 100, 0, 0))
    return make_comparison((run,), [row.model_copy(update={"dataset": run.dataset}) for row in rows])


def merged(*comparisons: Comparison) -> tuple[list[Comparison], list[str]]:
    return merge({Path(f"/runs/out{n}"): comparison for n, comparison in enumerate(comparisons)}, Path("/runs"))


def of_seeds(miss_s: float, *seeds: int) -> Comparison:
    """A nemo run a seed, which misses about this many of 10 s in each of twelve recordings."""
    runs = [make_run("nemo", seed=seed) for seed in seeds]
    files = [
        [(f"r{k}", 10, miss_s + 0.1 * (k % 4) + 0.01 * seed, 0, 0) for k in range(12)] for seed in range(len(seeds))
    ]
    rows = [row for run, parts in zip(runs, files, strict=True) for row in make_rows(run, "finetuned", *parts)]
    return make_comparison(tuple(runs), rows)


def test_the_folds_of_a_merged_cross_validation_keep_their_names():
    pooled = one(10)
    (run,) = pooled.runs
    of_fold = make_run("nemo", name="nemo-fold1of3")
    folded = run.model_copy(update={"folds": ("nemo-fold1of3",), "pooled_stage": "finetuned"})
    comparisons, _ = merged(
        pooled.model_copy(update={"runs": (folded,), "fold_runs": (of_fold,)}), one(20, name="other")
    )
    (moved,) = [each for each in comparisons if each.fold_runs]
    assert moved.runs[0].folds == (moved.fold_runs[0].name,) == ("out0/nemo-fold1of3",)
    assert headline(summarize(moved), "mini", Path("out")).standings


def test_a_copy_is_refused():
    with pytest.raises(UserError, match="b: a copy of a, so each run would be counted twice"):
        refuse_copies({Path("a"): one(20), Path("b"): one(20)})
    refuse_copies({Path("a"): one(20), Path("b"): one(21)})


def test_merged_systems_are_compared_by_recording():
    (both,), _ = merged(of_seeds(3, 1), of_seeds(2, 1))
    contrast, *_ = with_contrasts(both).contrasts
    assert (contrast.a, contrast.b) == ("nemo finetuned (out1)", "nemo finetuned (out0)")
    assert contrast.difference.der == pytest.approx(0.1) and contrast.difference.p == 2 / 2**12
    assert contrast.verdict.startswith("nemo finetuned (out1) is better than nemo finetuned (out0) by 10.00 points")
    assert "12 recordings, 12 favour nemo finetuned (out1), 0 favour" in contrast.verdict
    assert "one seed each" in contrast.verdict
    section = summarize(with_contrasts(both)).sections[0]
    assert section.winner == section.contenders[0]


def test_merged_seeds_count_as_seeds():
    (both,), _ = merged(of_seeds(3, 1, 2), of_seeds(2, 1, 2, 3))
    difference = with_contrasts(both).contrasts[0].difference
    assert difference.seeds == (3, 2) and difference.interval.units == 12 and difference.is_significant


def test_repetitions_are_not_called_seeds():
    comparison = of_seeds(3, 1, 2)
    repeated = [row.model_copy(update={"seed": 1}) for row in comparison.rows if row.condition == "full"]
    difference = difference_of(repeated, repeated, {})
    assert difference.seeds == (2, 2) and "2 repetitions each" in difference.verdict("a", "b")


def test_what_training_changed_is_what_varies_between_folds():
    """B is worse by 0, 3 and 6 s in the recordings of three folds, before training as after it."""
    comparison = of_seeds(3, 1, 2)
    a, b = (row for row in comparison.rows if row.condition == "full")
    folds = tuple(number for number in (1, 2, 3) for _ in range(4))
    parts = [
        part.model_copy(update={"miss": part.miss + 3 * (fold - 1)}) for part, fold in zip(b.files, folds, strict=True)
    ]
    a, b = a.model_copy(update={"folds": folds}), b.model_copy(update={"folds": folds, "files": tuple(parts)})
    assert a.run and b.run
    assert difference_of([a], [b], {}).folds == 3 and difference_of([a], [b], {}).p > 0.05
    known = difference_of([a], [b], {}, {a.run: a, b.run: b})
    assert known.folds is None and known.p < 0.01


def test_the_seeds_of_a_repetition_are_one_measurement():
    """Seeds share the division of their repetition: four runs are two repetitions."""
    comparison = of_seeds(3, 1, 2)
    a, b = (row for row in comparison.rows if row.condition == "full")
    worse = b.model_copy(update={"files": tuple(part.model_copy(update={"miss": part.miss + 1}) for part in b.files)})
    difference = difference_of([a, b, a, worse], [a, b, a, b], {})
    assert difference.seeds == (2, 2) and difference.replicate == "repetition"
    half = sum(len(row.files) for row in (a,)) * 0.5 * 0.5 / a.total
    assert difference.der == pytest.approx(-half), "one of four runs has a second more error a recording"


def test_other_recordings_are_not_compared():
    (both,), _ = merged(of_seeds(3, 1), one(20))
    assert with_contrasts(both).contrasts == ()


def test_an_oracle_is_never_ranked_first_and_a_copy_not_at_all(tmp_path):
    run = make_run("nemo")
    rows = [
        *make_rows(run, "finetuned", ("one", 100, 30, 0, 0)),
        *make_rows(run, "oracle-clustering", ("one", 100, 5, 0, 0)),
        *make_rows(None, "silence", ("one", 100, 100, 0, 0)),
    ]
    for out in ("out", "out-copied"):
        write_record(tmp_path / out / "results.json", make_comparison((run,), rows))
    board = find(tmp_path)
    assert [row[1].text for row in board.boards[0].scores.rows] == ["finetuned", "silence", "oracle clustering"]
    assert board.notes == [f"left out: {tmp_path / 'out-copied'}: a copy of {tmp_path / 'out'}"]


def test_the_same_data_and_protocol_are_one_comparison():
    (both,), apart = merged(one(30), one(20))
    assert apart == []
    assert [run.name for run in both.runs] == ["out0/mini-nemo-base-seed1", "out1/mini-nemo-base-seed1"]
    section = summarize(both).sections[0]
    assert [(line.origin, line.stage) for line in section.lines] == [
        ("out0", "finetuned"),
        ("out1", "finetuned"),
        ("-", "silence"),
    ]
    # the same seed in two comparisons is no spread over seeds
    assert over_seeds(section) is None
    answer = headline(summarize(both), "mini", Path())
    assert [(s.name, s.best.der) for s in answer.standings] == [("nemo (out1)", 0.2), ("nemo (out0)", 0.3)]


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (one(20, fingerprint="0" * 64), "the recordings or references differ"),
        (one(20).model_copy(update={"conditions": CONDITIONS[:1]}), "different protocols"),
        (one(20, dataset="other"), "Different datasets are shown separately"),
    ],
)
def test_what_cannot_be_ranked_is_shown_separately_with_the_reason(other, why):
    groups, apart = merged(one(30), other)
    assert [len(group.runs) for group in groups] == [1, 1]
    assert len(apart) == 1
    assert why in apart[0]


def test_the_merged_page_finds_each_comparisons_files(tmp_path):
    comparisons = {tmp_path / name: small(tmp_path / name) for name in ("a", "b")}
    ((both,), _) = merge(comparisons, tmp_path)
    from diarbench.reports.html.explorer import explore

    drawn = explore(summarize(both), tmp_path)
    assert [system["name"] for system in drawn["systems"] if system["final"]] == [
        "a/mini-pyannote-base-seed1, finetuned",
        "a/mini-nemo-base-seed1, finetuned",
        "b/mini-pyannote-base-seed1, finetuned",
        "b/mini-nemo-base-seed1, finetuned",
    ]
    assert len([error for error in drawn["worst"] if error[2:4] == [10000, 18000]]) == 2
    assert "a/mini-nemo-base-seed1" in page.render(both, tmp_path)


def test_report_of_two_prints_and_writes_only_where_asked(tmp_path):
    for name, miss in (("a", 30), ("b", 20)):
        write_record(tmp_path / name / "results.json", one(miss))
    printed = bench("report", tmp_path / "a", tmp_path / "b")
    assert printed.exit_code == 0
    assert not list(tmp_path.glob("*/report*"))
    bench("report", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "both")
    assert "../a" in (tmp_path / "both" / "report.md").read_text()


def test_report_of_two_datasets_writes_two(tmp_path):
    write_record(tmp_path / "a" / "results.json", one(30))
    write_record(tmp_path / "b" / "results.json", one(20, dataset="other"))
    printed = bench("report", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "both")
    assert "not ranked against" in printed.stdout
    assert {path.name for path in (tmp_path / "both").glob("*.*")} == {
        "report-1.md",
        "report-1.html",
        "report-2.md",
        "report-2.html",
    }


def test_leaderboard_is_sorted_and_kept(tmp_path):
    for name, miss in (("deep/a", 30), ("b", 20)):
        write_record(tmp_path / "runs" / name / "results.json", one(miss))
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "results.json").write_text("{")
    (tmp_path / "runs" / "b").rename(tmp_path / "other disk")
    (tmp_path / "runs" / "b").symlink_to(tmp_path / "other disk")
    tmp_path /= "runs"
    board = find(tmp_path)
    assert [[cell.text for cell in row][:4] for row in board.boards[0].scores.rows] == [
        ["b", "nemo", "finetuned", "20.0"],
        ["deep/a", "nemo", "finetuned", "30.0"],
        ["-", "reference", "silence", "100"],
    ]
    assert "broken" in board.notes[0]
    printed = bench("leaderboard", tmp_path)
    assert printed.exit_code == 0
    assert ["b", "nemo", "finetuned", "20.0"] in [line.split()[:4] for line in printed.stdout.splitlines()]
    assert "| b | nemo | finetuned | 20.0 |" in (tmp_path / "leaderboard.md").read_text()


def test_leaderboard_of_nothing_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"no readable results\.json"):
        bench("leaderboard", tmp_path)


def test_json_and_csv_hold_the_records_seconds(tmp_path):
    write_record(tmp_path / "results.json", with_statistics(is_significant=True))
    rows = json.loads(bench("report", tmp_path, "--format", "json").stdout)
    full = next(
        row for row in rows if (row["backend"], row["stage"], row["condition"]) == ("nemo", "finetuned", "full")
    )
    assert (full["miss"], full["false_alarm"], full["confusion"], full["total"], full["der"]) == (40, 10, 30, 100, 0.8)
    assert (full["der_low"], full["der_high"]) == (pytest.approx(0.75), pytest.approx(0.85))
    table = list(csv.DictReader(io.StringIO(bench("report", tmp_path, "--format", "csv").stdout)))
    assert [row["der"] for row in table] == [str(row["der"]) for row in rows]
    assert not (tmp_path / "report.md").exists()


def test_latex_is_a_table_a_condition():
    text = exports.as_latex([two_backends()])
    assert text.count("\\begin{tabular}{llrrrrrl}") == 3
    assert "pyannote & finetuned & 40.0 & - & 12.0 & 6.0 & 22.0 & a c e \\\\" in text
    assert "DER \\%" in text


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@x", "\tx", 'a,"b"\nc'])
def test_no_spreadsheet_takes_a_name_for_a_formula(name):
    run = make_run(name, recipe=name)
    text = exports.as_csv([make_comparison((run,), make_rows(run, "finetuned", (name, 10, 1, 1, 1)))])
    for row in csv.DictReader(io.StringIO(text)):
        assert row["backend"].removeprefix("'") == name
        assert not row["backend"].startswith(("=", "+", "-", "@", "\t"))


def test_latex_specials_stay_text():
    run = make_run("a&b_c%\\x{}$#^~<|>[1]\n")
    text = exports.as_latex([make_comparison((run,), make_rows(run, "finetuned", ("one", 10, 1, 1, 1)))])
    assert (
        "a\\&b\\_c\\%\\textbackslash{}x\\{\\}\\$\\#\\textasciicircum{}\\textasciitilde{}\\textless{}"
        "\\textbar{}\\textgreater{}{[}1]\\textbackslash{}n & finetuned" in text
    )


REPORTS = FIXTURES / "reports"
OLD = sorted(REPORTS.rglob("*.json"))


@pytest.mark.parametrize("path", OLD, ids=lambda path: str(path.relative_to(REPORTS)))
def test_old_records_are_still_drawn(path, tmp_path):
    (tmp_path / "results.json").write_bytes(path.read_bytes())
    assert read_record(path, Comparison).rows
    assert bench("report", tmp_path).exit_code == 0
    assert "finetuned" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_there_are_old_records():
    assert len(OLD) >= 3


def test_reference_systems_on_dev_alone_are_drawn_too(tmp_path):
    rows = make_rows(None, "silence", ("one", 10, 10, 0, 0), subset="dev")
    write_record(tmp_path / "results.json", make_comparison((), rows))
    assert "No scores on the test set" in bench("report", tmp_path).stdout
    assert bench("leaderboard", tmp_path).exit_code == 0


def scored_on_calls(miss: float, fingerprint: str) -> Comparison:
    """The same run, which also misses this many of 100 s of the dataset calls; 10 before fine-tuning."""
    home = one(30, also_score=(Domain(dataset="calls", root="/nowhere", fingerprint=fingerprint, corpus="C"),))
    rows = [
        row.model_copy(update={"dataset": "calls"})
        for run, stage, seconds in (
            (home.runs[0], "pretrained", 10),
            (home.runs[0], "finetuned", miss),
            (None, "silence", 100),
        )
        for row in make_rows(run, stage, ("call", 100, seconds, 0, 0))
    ]
    return home.model_copy(update={"rows": (*home.rows, *rows)})


def test_the_same_other_domain_stays_with_the_runs_that_were_scored_on_it():
    (both,), apart = merged(scored_on_calls(15, "f"), scored_on_calls(12, "f"))
    assert apart == []
    summary = summarize(both)
    assert summary.datasets == ("mini", "calls")
    lines = summary.of("calls")[0].lines
    assert [(line.origin, line.stage, line.is_out_of_domain) for line in lines if line.stage == "finetuned"] == [
        ("out0", "finetuned", True),
        ("out1", "finetuned", True),
    ]
    assert [line.stage for line in lines].count("silence") == 1


def test_a_different_domain_of_the_same_name_is_left_out():
    (both,), apart = merged(scored_on_calls(15, "f"), scored_on_calls(12, "g"))
    assert apart == ["calls: left out of the report on mini: other recordings under the same name"]
    assert summarize(both).datasets == ("mini",)
    assert "nemo (out0)" in [standing.name for standing in headline(summarize(both), "mini", Path()).standings]
