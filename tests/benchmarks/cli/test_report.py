"""``bench report`` renders all reports from ``results.json`` alone."""

from __future__ import annotations

import os
import re

import pytest
import typer
from report_records import two_backends
from typer.testing import CliRunner

from diarbench.benchmarks.cli.report import report
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.lock import HeldError, hold
from diarbench.datasets.io.records import write_record

app = typer.Typer()
app.command()(report)


def bench_report(*arguments):
    """Uses the real argument parser; errors are raised, not caught."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def test_from_results_alone(tmp_path):
    write_record(tmp_path / "results.json", two_backends())
    result = bench_report(tmp_path)
    assert result.exit_code == 0
    assert "40.0" in result.stdout
    assert "\x1b" not in result.stdout
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "| pyannote | finetuned | 40.0 |" in markdown
    assert "<h1>" in (tmp_path / "report.html").read_text(encoding="utf-8")
    linked = re.findall(r"\]\((plots/[^)]*)\)", markdown)
    assert len(linked) == 3
    for picture in linked:
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")


def test_the_same_records_give_the_same_bytes(tmp_path):
    written = []
    for _ in range(2):
        write_record(tmp_path / "results.json", two_backends())
        bench_report(tmp_path)
        written.append({path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()})
    assert written[0] == written[1]


def test_two_commands_do_not_write_into_one_folder_at_once(tmp_path):
    """The pages of one comparison would show the plots of another."""
    one, both = tmp_path / "one", tmp_path / "both"
    write_record(one / "results.json", two_backends())
    with hold(both):
        message = rf"^{re.escape(str(both))}: a command is running here since .* by process {os.getpid()} on "
        with pytest.raises(HeldError, match=message):
            bench_report(one, "--out", both)
        assert [path.name for path in both.iterdir()] == [".lock.1"]
    assert bench_report(one, "--out", both).exit_code == 0
    assert sorted(path.name for path in both.iterdir()) == ["plots", "report.html", "report.md"]


def test_a_folder_without_results_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"no results\.json"):
        bench_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_folder_is_told_with_the_right_one(tmp_path):
    comparison = tmp_path / "runs" / "first"
    write_record(comparison / "results.json", two_backends())
    (comparison / "one-run").mkdir()
    (comparison / "one-run" / "run.json").touch()
    (comparison / "link").symlink_to(comparison)
    for arguments, message in (
        ([tmp_path / "runs"], rf"runs: holds several comparisons; pass them \({comparison}\), or rank all with"),
        ([comparison / "one-run"], rf"one-run: the folder of one run; pass its comparison's, {comparison}$"),
        ([tmp_path / "absent"], "absent: no such folder"),
        ([comparison, comparison / "link"], "link: given twice; a comparison cannot be merged with itself"),
    ):
        with pytest.raises(UserError, match=message):
            bench_report(*arguments)


def test_results_of_a_later_schema_are_rejected(tmp_path):
    (tmp_path / "results.json").write_text('{"schema_version": 99}')
    with pytest.raises(UserError, match="not a valid Comparison"):
        bench_report(tmp_path)


def test_plain_is_without_colour_where_colour_is_forced(tmp_path, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    write_record(tmp_path / "results.json", two_backends())
    assert "\x1b[" in bench_report(tmp_path).stdout
    assert "\x1b[" not in bench_report(tmp_path, "--plain").stdout
