"""Print a comparison or a leaderboard on the terminal, in 80 columns or more."""

from __future__ import annotations

import re
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from diarbench.reports.formatting import convention, visible
from diarbench.reports.leaderboard import Leaderboard
from diarbench.reports.results.comparison import Comparison
from diarbench.reports.results.run import EPOCH_COLUMNS, Run
from diarbench.reports.summary.summary import Section, summarize
from diarbench.reports.summary.verdict import verdict
from diarbench.reports.tables.contents import contents
from diarbench.reports.tables.identity import constants
from diarbench.reports.tables.runs import epoch_table, shortened
from diarbench.reports.tables.table import Table

WIDE = 140
"""Terminal width, in characters, from which the leaderboard includes costs and the epochs are one table."""


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print each run's epochs, then each dataset's tables, footnotes and verdict, then failures and notes."""
    summary = summarize(comparison)
    for run in comparison.runs:
        _print_epochs(console, run)
    for dataset in summary.datasets:
        for section in summary.of(dataset):
            console.print(Text(_heading(section), style="bold underline"))
            for title, table in contents(summary, section):
                _print_table(console, title, table)
        _print_footnotes(console, summary.footnotes_of(dataset))
        console.print(Text(verdict(summary, dataset), style="bold"), "", sep="\n")
    for failure in summary.failures:
        console.print(Text(failure, style="red"))
    for note in summary.notes:
        console.print(Text(note, style="dim"))


def print_leaderboard(leaderboard: Leaderboard, console: Console) -> None:
    """One table per board with its footnotes, with costs on wide terminals; then the notes."""
    for board in leaderboard.boards:
        _print_table(console, board.title, board.scores + board.costs if console.width >= WIDE else board.scores)
        _print_footnotes(console, board.footnotes)
    for note in leaderboard.notes:
        console.print(Text(note, style="dim"))


def _print_epochs(console: Console, run: Run) -> None:
    """The fine-tuning guide's table of epochs; on narrow terminals losses and rates are separate tables."""
    if not run.epochs:
        return
    table = shortened(epoch_table(run), run.best_epoch)
    best = "" if run.best_epoch is None else f"; the best is {run.best_epoch}"
    if console.width >= WIDE:
        _print_table(console, f"{visible(run.name)}: epochs{best}", table)
        return
    losses = [at for at, name in enumerate(EPOCH_COLUMNS) if name.startswith("loss")]
    rates = [at for at in range(1, len(table.columns)) if at not in losses]
    _print_table(console, f"{visible(run.name)}: losses", table.only([0, *losses]))
    _print_table(console, f"{visible(run.name)}: rates on dev windows{best}", table.only([0, *rates]))


def _heading(section: Section) -> str:
    same = constants(section)
    protocol = f"{visible(section.dataset)}, {section.subset}, {convention(section.condition)}"
    return f"{protocol}; {same}" if same else protocol


def _print_table(console: Console, title: str, table: Table) -> None:
    drawn = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for number, column in enumerate(table.columns):
        words = [word for row in table.rows for word in row[number].text.split()]
        # Break the guide's long compound names, such as loss/val/vad and FalseAlarm.
        name = re.sub(r"(?<=/)|(?<=[a-z])(?=[A-Z])", "\n", column.name) if column.numeric else column.name
        # On narrow terminals columns shrink to their longest word, text columns to 6, so that none disappears.
        longest = max(map(len, [*words, *name.split()]), default=1)
        justify: Literal["left", "right"] = "right" if column.numeric else "left"
        drawn.add_column(
            name, justify=justify, min_width=longest if column.numeric else min(longest, 6), overflow="fold"
        )
    for row in table.rows:
        drawn.add_row(*(Text(cell.text) for cell in row))
    console.print(Text(title, style="bold"))
    console.print(drawn, "")


def _print_footnotes(console: Console, footnotes: dict[str, str]) -> None:
    for letter, reason in footnotes.items():
        console.print(Text.assemble((f"{letter}  ", "bold"), reason))
