"""The closing summary: at most 15 lines of 80 columns, whatever the comparison holds."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from report_records import (
    CLEAR,
    CLEAR_CONTRASTS,
    make_comparison,
    make_contrast,
    make_rows,
    make_run,
    staged,
    two_backends,
    with_statistics,
)
from rich.cells import cell_len
from rich.console import Console

from diarbench.reports.results.comparison import Comparison
from diarbench.reports.terminal import SUMMARY_LINES, print_comparison, print_summary

OUT = Path("runs/real")


def summary(*comparisons: Comparison, width: int = 80) -> str:
    out = io.StringIO()
    print_summary(comparisons, OUT, [OUT / "report.md", OUT / "report.html"], Console(file=out, width=width))
    return out.getvalue()


def test_the_answer_is_on_ten_lines():
    text = summary(staged(CLEAR, *CLEAR_CONTRASTS))
    assert text.splitlines() == [
        "mini, test of 2 recordings (1.7 min of speech), full: collar 0 s, overlap scored",
        "DER %     pretrained  finetuned  tuned",
        "pyannote         6.9        7.3    3.5",
        "nemo            31.9       11.9   10.4",
        "pyannote tuned leads nemo tuned by 6.9 points (1.7 to 14.2, p = 0.016); one",
        "seed.",
        "Fine-tuning: pyannote not shown to help (0.4 points worse), nemo 20.0 points",
        "better",
        "Tuning: pyannote 3.8 points better, nemo not shown to help (1.5 points better)",
        "Report  runs/real/report.html",
        "Next    bench diarize talk.wav --run runs/real/mini-pyannote-base-seed1",
    ]


def many_systems() -> Comparison:
    return staged({f"system{n}": {"pretrained": 50.0, "finetuned": 30.0 + n, "tuned": 29.0 + n} for n in range(40)})


def many_datasets(number: int) -> Comparison:
    runs = [
        make_run(backend, dataset=f"set{n}", name=f"set{n}-{backend}")
        for n in range(number)
        for backend in ("pyannote", "nemo")
    ]
    rows = [row for run in runs for row in make_rows(run, "finetuned", ("one", 100, len(run.backend), 0, 0))]
    return make_comparison(tuple(runs), rows)


def long_names() -> Comparison:
    rates = {"x" * 200: {"pretrained": 20.0, "finetuned": 10.0}, "y" * 200: {"finetuned": 11.0}}
    return staged(rates, make_contrast(f"{'x' * 200} finetuned", f"{'y' * 200} finetuned", 1, 0.3, -3, 3))


def with_failures(number: int) -> Comparison:
    failed = [make_run(f"b{n}", state="failed", failure="no memory left " * 20, epochs=()) for n in range(number)]
    comparison = staged(CLEAR, *CLEAR_CONTRASTS)
    return comparison.model_copy(update={"runs": (*comparison.runs, *failed)})


ODD = {
    "no winner": two_backends(),
    "statistics": with_statistics(is_significant=False),
    "one system": staged({"nemo": {"finetuned": 20.0}}),
    "40 systems": many_systems(),
    "3 datasets": many_datasets(3),
    "30 datasets": many_datasets(30),
    "long names": long_names(),
    "1 failed": with_failures(1),
    "40 failed": with_failures(40),
    "all failed": make_comparison((make_run("nemo", state="failed", failure="killed", epochs=()),), []),
    "nothing": make_comparison((), []),
}


@pytest.mark.parametrize("name", ODD)
def test_the_summary_is_at_most_15_lines_of_80_columns(name):
    lines = summary(ODD[name]).splitlines()
    assert len(lines) <= SUMMARY_LINES == 15
    assert max(map(len, lines[:-1]), default=0) <= 80 or name == "long names"
    assert not any(line.startswith(" ") for line in lines)


def test_names_of_wide_characters_keep_the_columns_and_the_width():
    """Two cells a character; and a name is broken at none of its hyphens."""
    name, other = "회의-녹음-화자-분리", "a-toolkit-with-hyphens"
    lines = summary(staged({name: {"finetuned": 10.0}, other: {"finetuned": 11.0}})).splitlines()
    assert max(map(cell_len, lines)) <= 80
    assert len({cell_len(line) for line in lines[1:4]}) == 1, "the figures are below their header"
    text = " ".join(lines[4:])
    assert name in text and other in text


def test_failed_runs_have_their_line_and_reason():
    lines = [line for line in summary(with_failures(1)).splitlines() if "ailed" in line]
    assert lines[0].startswith("Failed: mini-b0-base-seed1: failed: no memory left")
    assert "Failed: 38 more runs: see the report" in summary(with_failures(40))


def test_what_is_left_out_is_counted():
    assert "and 33 more systems: see the report" in summary(ODD["40 systems"])
    assert "more datasets: see the report" in summary(ODD["30 datasets"])


def test_several_comparisons_share_the_lines():
    text = summary(two_backends(), many_datasets(2))
    assert len(text.splitlines()) <= 15
    assert all(f"set{n}" in text for n in range(2)) and "mini" in text


@pytest.mark.parametrize("name", ["statistics", "40 systems", "no winner"])
def test_words_are_never_broken(name):
    """Every word of the tables at 80 columns is a word of the tables on a very wide terminal."""
    narrow, wide = (io.StringIO() for _ in range(2))
    print_comparison(ODD[name], Console(file=narrow, width=80))
    print_comparison(ODD[name], Console(file=wide, width=400))
    words = {word for word in narrow.getvalue().split() if set(word) != {"─"}}
    split_tables = {"losses", "rates", "on", "dev", "windows;"}  # of the epochs, on a narrow terminal
    assert words - split_tables <= set(wide.getvalue().split())
    assert max(map(len, narrow.getvalue().splitlines())) <= 80


def test_words_that_fit_no_column_are_shortened_in_the_middle():
    out = io.StringIO()
    print_comparison(ODD["long names"], Console(file=out, width=80))
    assert "xxx…xxx" in out.getvalue() and max(map(len, out.getvalue().splitlines())) <= 80
