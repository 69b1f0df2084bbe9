"""A table of cells, independent of how it is rendered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """The text of a table cell, and the value that it is sorted by."""

    text: str
    value: float | str | None = None


@dataclass(frozen=True)
class Column:
    name: str
    numeric: bool = False


@dataclass(frozen=True)
class Table:
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def __add__(self, other: Table) -> Table:
        """Append the columns of another table with the same number of rows."""
        return Table(self.columns + other.columns, tuple(a + b for a, b in zip(self.rows, other.rows, strict=True)))

    def only(self, indices: Sequence[int]) -> Table:
        """The columns at these indices."""
        rows = (tuple(row[i] for i in indices) for row in self.rows)
        return Table(tuple(self.columns[i] for i in indices), tuple(rows))
