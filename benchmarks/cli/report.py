"""``bench report`` and ``bench leaderboard``: render comparisons from their ``results.json`` and files."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """Export formats."""

    csv = "csv"
    json = "json"
    latex = "latex"
    summary = "summary"


def report(
    outs: Annotated[list[Path], typer.Argument(metavar="OUT...", help="Output folders of 'bench run'.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the merged report of several OUT.")] = None,
    format_: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="Only write to standard output: the rows as csv, json or latex, or the answer as Markdown (summary).",
        ),
    ] = None,
    plain: Annotated[bool, typer.Option(help="Never use colour.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print all tables before the summary.")] = False,
) -> None:
    """Print a summary and write report.md, plots/ and report.html, from OUT/results.json and its source files.

    Several OUT are merged; different datasets, recordings or protocols are shown separately and not ranked together.
    """
    from diarbench.benchmarks.runs.merged import with_contrasts
    from diarbench.reports.console import make_console
    from diarbench.reports.exports import FORMATS
    from diarbench.reports.markdown import render_summary
    from diarbench.reports.results.merge import merge, read_comparison, refuse_copies, refuse_repeated
    from diarbench.reports.terminal import print_comparison, print_summary
    from diarbench.reports.write import write_reports

    refuse_repeated(outs)
    comparisons = {folder: read_comparison(folder) for folder in outs}
    refuse_copies(comparisons)
    if len(comparisons) == 1 and out is None:
        root, groups = outs[0], list(comparisons.values())
        reasons: list[str] = []
    else:
        root = out or Path()
        groups, reasons = merge(comparisons, root)
        groups = [with_contrasts(group) for group in groups]
    if format_ == Format.summary:
        sys.stdout.write(render_summary(groups, root))
        return
    if format_:
        sys.stdout.write(FORMATS[format_](groups))
        return
    console = make_console(plain=plain)
    for group in groups if verbose else ():
        print_comparison(group, console)
    for reason in reasons:
        console.print(reason, style="bold")
    written = write_reports(groups, root) if len(comparisons) == 1 or out else []
    print_summary(groups, root, written, console)


def leaderboard(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that contains comparisons, at any depth.")],
) -> None:
    """Write DIR/leaderboard.md: all runs in a folder, lowest DER first, one table per dataset and protocol."""
    from diarbench.datasets.io.files import write_atomic
    from diarbench.reports.console import make_console
    from diarbench.reports.leaderboard import find, render
    from diarbench.reports.results.run_folder import ComparisonFolder
    from diarbench.reports.terminal import print_leaderboard

    board = find(folder)
    print_leaderboard(board, make_console())
    write_atomic(ComparisonFolder(folder).leaderboard, render(board))
