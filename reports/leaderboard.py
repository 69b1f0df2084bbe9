"""All runs of all comparisons in a folder, lowest error first; a board for each dataset and protocol."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from diarbench.reports import markdown
from diarbench.reports.cells import Table, cost_table, identity_table, score_table
from diarbench.reports.merge import merge, read_comparison
from diarbench.reports.records import UserError
from diarbench.reports.summary import Line, summarize
from diarbench.reports.text import convention, visible


class Board(NamedTuple):
    """What is ranked together, and what its marks mean."""

    title: str
    scores: Table
    costs: Table
    footnotes: dict[str, str]


class Leaderboard(NamedTuple):
    boards: list[Board]
    notes: list[str]
    """What is shown apart or left out, and why."""


def find(folder: Path) -> Leaderboard:
    """Every ``results.json`` in a folder, at any depth; one that cannot be read is noted and left out.

    Raises UserError where there is none.
    """
    comparisons, notes = {}, []
    for path in sorted(folder.rglob("results.json")):
        try:
            comparisons[path.parent] = read_comparison(path.parent)
        except UserError as error:
            notes.append(visible(f"left out: {error}"))
    if not comparisons:
        raise UserError(f"{folder}: no readable results.json in it; give the folder that holds your comparisons")
    groups, apart = merge(comparisons, folder)
    boards = []
    for group in groups:
        summary = summarize(group)
        for dataset in summary.datasets:
            for section in summary.of(dataset)[:1]:
                ranked = section.sorted(_by_error)
                title = f"{visible(dataset)}, {section.subset}, {convention(section.condition)}"
                scores = identity_table(ranked) + score_table(ranked)
                boards.append(Board(title, scores, cost_table(ranked), summary.footnotes_of(dataset)))
    return Leaderboard(boards, [*apart, *notes])


def render(leaderboard: Leaderboard) -> str:
    """``leaderboard.md``."""
    return "\n".join(_lines(leaderboard)) + "\n"


def _lines(leaderboard: Leaderboard) -> Iterator[str]:
    yield "# Leaderboard"
    for board in leaderboard.boards:
        yield from ("", f"## {markdown.escape(board.title)}", "", markdown.table(board.scores + board.costs), "")
        yield from (f"- ({mark}) {markdown.escape(reason)}" for mark, reason in board.footnotes.items())
    yield from ("", *(f"- {markdown.escape(note)}" for note in leaderboard.notes))


def _by_error(line: Line) -> float:
    return math.inf if line.row is None or line.row.der is None else line.row.der
