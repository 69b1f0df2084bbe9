"""Rank the runs of all comparisons in a folder by error rate, per dataset and protocol."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import all_files
from diarbench.datasets.io.names import visible
from diarbench.reports import markdown
from diarbench.reports.formatting import convention
from diarbench.reports.results.comparison import Comparison
from diarbench.reports.results.merge import merge, read_comparison
from diarbench.reports.results.run_folder import ComparisonFolder
from diarbench.reports.summary.summary import summarize
from diarbench.reports.tables.identity import constants, identity_table
from diarbench.reports.tables.runs import cost_table
from diarbench.reports.tables.scores import score_table
from diarbench.reports.tables.table import Table


class Board(NamedTuple):
    """Runs that are ranked together, with the footnotes of their marks."""

    title: str
    scores: Table
    costs: Table
    footnotes: dict[str, str]


class Leaderboard(NamedTuple):
    boards: list[Board]
    notes: list[str]
    """What is shown separately or left out, and why."""


def find(folder: Path) -> Leaderboard:
    """The leaderboard of every ``results.json`` in a folder, at any depth; unreadable ones and copies are left out.

    Raises UserError where none can be read.
    """
    comparisons: dict[Path, Comparison] = {}
    notes = []
    name = ComparisonFolder(folder).results.name
    for path in sorted(path for path in all_files(folder) if path.name == name):
        try:
            comparison = read_comparison(path.parent)
        except UserError as error:
            notes.append(visible(f"left out: {error}"))
            continue
        original = next((out for out, known in comparisons.items() if known == comparison), None)
        if original:
            notes.append(visible(f"left out: {path.parent}: a copy of {original}"))
        else:
            comparisons[path.parent] = comparison
    if not comparisons:
        raise UserError(f"{folder}: no readable results.json in this folder; pass a folder that contains comparisons")
    groups, reasons = merge(comparisons, folder)
    boards = []
    for group in groups:
        summary = summarize(group)
        for dataset in summary.datasets:
            for section in summary.of(dataset)[:1]:
                ranked = section.ranked
                same = constants(ranked)
                title = f"{visible(dataset)}, {section.subset}, {convention(section.condition)}"
                title = f"{title}; {same}" if same else title
                scores = identity_table(ranked) + score_table(ranked)
                boards.append(Board(title, scores, cost_table(ranked), summary.footnotes_of(dataset)))
    return Leaderboard(boards, [*reasons, *notes])


def render(leaderboard: Leaderboard) -> str:
    """``leaderboard.md``."""
    return "\n".join(_lines(leaderboard)) + "\n"


def _lines(leaderboard: Leaderboard) -> Iterator[str]:
    yield "# Leaderboard"
    for board in leaderboard.boards:
        yield from ("", f"## {markdown.escape(board.title)}", "", markdown.table(board.scores + board.costs), "")
        yield from (f"- ({mark}) {markdown.escape(reason)}" for mark, reason in board.footnotes.items())
    yield from ("", *(f"- {markdown.escape(note)}" for note in leaderboard.notes))
