"""``bench report`` and ``bench leaderboard``: a comparison's figures again, from ``results.json`` and its files."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """What the rows are written as for other programs."""

    csv = "csv"
    json = "json"
    latex = "latex"


def report(
    outs: Annotated[list[Path], typer.Argument(metavar="OUT...", help="Folders that 'bench run --out' left.")],
    out: Annotated[Path | None, typer.Option(help="Where the report of several OUT is written.")] = None,
    format_: Annotated[
        Format | None, typer.Option("--format", help="Write the rows so on standard output, and nothing else.")
    ] = None,
    plain: Annotated[bool, typer.Option(help="No colour, on a terminal either.")] = False,
) -> None:
    """Draw the tables again, and report.md, plots/ and report.html, from OUT/results.json and the files it rests on.

    Several OUT are merged; figures of different datasets, recordings or protocols are shown apart and not ranked.
    """
    from rich.console import Console

    from diarbench.reports.exports import FORMATS
    from diarbench.reports.folder import write_reports
    from diarbench.reports.merge import merge, read_comparison
    from diarbench.reports.tables import print_comparison

    comparisons = {folder: read_comparison(folder) for folder in outs}
    if len(comparisons) == 1 and out is None:
        root, groups = outs[0], list(comparisons.values())
        apart: list[str] = []
    else:
        root = out or Path()
        groups, apart = merge(comparisons, root)
    if format_:
        sys.stdout.write(FORMATS[format_](groups))
        return
    console = Console(color_system=None) if plain else Console()
    for group in groups:
        print_comparison(group, console)
    for reason in apart:
        console.print(reason, style="bold", markup=False)
    for written in write_reports(groups, root) if len(comparisons) == 1 or out else ():
        console.print(str(written), highlight=False, markup=False, soft_wrap=True)


def leaderboard(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder with comparisons in it, at any depth.")],
) -> None:
    """Keep DIR/leaderboard.md: every run in a folder, lowest DER first, a table for each dataset and protocol."""
    from rich.console import Console

    from diarbench.reports.leaderboard import find, render
    from diarbench.reports.records import write_whole
    from diarbench.reports.tables import print_leaderboard

    board = find(folder)
    print_leaderboard(board, Console())
    write_whole(folder / "leaderboard.md", render(board))
