"""A comparison on the terminal: fits 80 columns, and puts scores and costs side by side where there are 140."""

from __future__ import annotations

import re
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from diarbench.reports.cells import (
    CHOSEN_LEGEND,
    DATA_LEGEND,
    FORGOTTEN_LEGEND,
    TUNED_LEGEND,
    Table,
    chosen_table,
    constants,
    cost_table,
    data_table,
    epoch_table,
    forgotten_table,
    identity_table,
    over_seeds,
    score_table,
    shortened,
    tuned_table,
)
from diarbench.reports.leaderboard import Leaderboard
from diarbench.reports.records import EPOCH_COLUMNS, Comparison, Run
from diarbench.reports.summary import Section, summarize, verdict
from diarbench.reports.text import convention, visible

WIDE = 140
"""Columns of terminal from which one table holds both scores and costs."""


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Each run's epochs; the tables of every dataset's test set, a condition each; what marks mean and what failed."""
    summary = summarize(comparison)
    for run in comparison.runs:
        _print_epochs(console, run)
    for dataset in summary.datasets:
        sections = summary.of(dataset)
        for number, section in enumerate(sections):
            table = identity_table(section) + score_table(section)
            first = number == 0
            if first and console.width >= WIDE:
                table += cost_table(section)
            _print_table(console, _title(section), table)
            if first and console.width < WIDE:
                _print_table(
                    console, f"{visible(dataset)}: what it took", identity_table(section) + cost_table(section)
                )
            for title, more in (
                ("Over the seeds", over_seeds(section)),
                (TUNED_LEGEND, tuned_table(summary, dataset) if first else None),
                (CHOSEN_LEGEND, chosen_table(summary, dataset) if first else None),
                (DATA_LEGEND, data_table(section) if first else None),
                (FORGOTTEN_LEGEND, forgotten_table(summary, dataset) if first else None),
            ):
                if more:
                    _print_table(console, title, more)
        _print_footnotes(console, summary.footnotes_of(dataset))
        told = verdict(summary, dataset)
        console.print(Text(told, style="bold"))
        others = (visible(contrast.verdict) for section in sections[:1] for contrast in section.contrasts)
        console.print(*(Text(other) for other in others if other.removesuffix(".") not in told), "", sep="\n")
    for failure in summary.failures:
        console.print(Text(failure, style="red"))
    for note in summary.notes:
        console.print(Text(note, style="dim"))


def print_leaderboard(leaderboard: Leaderboard, console: Console) -> None:
    """A table a board, with costs where there is room; then what the marks mean, and what is apart or left out."""
    for board in leaderboard.boards:
        _print_table(console, board.title, board.scores + board.costs if console.width >= WIDE else board.scores)
        _print_footnotes(console, board.footnotes)
    for note in leaderboard.notes:
        console.print(Text(note, style="dim"))


def _print_footnotes(console: Console, footnotes: dict[str, str]) -> None:
    for letter, reason in footnotes.items():
        console.print(Text.assemble((f"{letter}  ", "bold"), reason))


def _title(section: Section) -> str:
    same = constants(section)
    told = f"{visible(section.dataset)}, {section.subset}, {convention(section.condition)}"
    return f"{told}; {same}" if same else told


def _print_epochs(console: Console, run: Run) -> None:
    """As the fine-tuning guide tells an experiment; where it is narrow, losses and rates apart."""
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


def _print_table(console: Console, title: str, table: Table) -> None:
    drawn = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for number, column in enumerate(table.columns):
        words = [word for row in table.rows for word in row[number].text.split()]
        # The guide's long names are broken where they are put together: loss/val/vad, FalseAlarm.
        name = re.sub(r"(?<=/)|(?<=[a-z])(?=[A-Z])", "\n", column.name) if column.numeric else column.name
        # Where it is narrow a column shrinks to its longest word, one of names further: none is squeezed out.
        longest = max(map(len, [*words, *name.split()]), default=1)
        justify: Literal["left", "right"] = "right" if column.numeric else "left"
        drawn.add_column(
            name, justify=justify, min_width=longest if column.numeric else min(longest, 6), overflow="fold"
        )
    for row in table.rows:
        drawn.add_row(*(Text(cell.text) for cell in row))
    console.print(Text(title, style="bold"))
    console.print(drawn, "")
