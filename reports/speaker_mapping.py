"""The optimal one-to-one mapping of speakers, shared by the scorer and the page's error explorer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def best_mapping(overlap: Ints) -> tuple[Ints, Ints]:
    """Rows and columns of the one-to-one mapping with the largest sum; pairs without overlap are left out.

    Among equally good mappings, each row in turn gets the first column that still allows the largest sum. ``overlap``
    holds integers, so sums are compared exactly.
    """
    row, column = _assign(overlap)
    nonzero = overlap[row, column] > 0
    row, column = row[nonzero], column[nonzero]
    # Look for an equally good mapping: penalise this one's pairs by too little to make a worse sum win.
    penalised = overlap * (row.size + 1)
    penalised[row, column] -= 1
    other_row, other_column = _assign(penalised)
    other = overlap[other_row, other_column] > 0
    if np.array_equal(row, other_row[other]) and np.array_equal(column, other_column[other]):
        return row, column
    return _first_mapping(overlap)


def _first_mapping(overlap: Ints) -> tuple[Ints, Ints]:
    """The first mapping, in the order of rows and columns, with the largest sum; see `_Exchange`."""
    exchange = _Exchange(overlap)
    for row in range(len(overlap)):
        exchange.settle(row)
    rows = np.flatnonzero(exchange.column_of != NONE)
    return rows, exchange.column_of[rows]


NONE, UNKNOWN = -1, -2
"""Instead of a row or a column."""


class _Exchange:
    """A mapping with the largest sum, in which rows can exchange their columns for others without loss.

    By the duality of linear programming, each row has a gain and each column a price, whose sum is nowhere below the
    overlap. The mappings with the largest sum are those of tight pairs, for which the two are equal, that leave out
    only rows without gain and columns without price.
    """

    def __init__(self, overlap: Ints) -> None:
        row, column = _assign(overlap)
        used = overlap[row, column] > 0
        row, column = row[used], column[used]
        self.column_of, self.row_of = (np.full(size, NONE, np.int64) for size in overlap.shape)
        self.column_of[row], self.row_of[column] = column, row
        self.gains, self.prices = np.zeros(len(overlap), np.int64), np.zeros(overlap.shape[1], np.int64)
        while True:  # raise prices until no row prefers another column
            self.gains[row] = overlap[row, column] - self.prices[column]
            higher = np.maximum(self.prices, (overlap - self.gains[:, None]).max(axis=0))
            if np.array_equal(higher, self.prices):
                break
            self.prices = higher
        is_tight = (self.gains[:, None] + self.prices == overlap) & (overlap > 0)
        self.takers = np.ascontiguousarray(is_tight.T)
        """By column, the rows that may take it."""

    def settle(self, row: int) -> None:
        """Give a row the first column that it can have, and keep both out of later exchanges."""
        wanted = np.flatnonzero(self.takers[:, row])
        if not wanted.size:
            return
        moves_to, left = self._moves(row, self.row_of[wanted[0]])
        holders = self.row_of[wanted]
        possible = np.where(holders == NONE, left is not None, moves_to[holders] != UNKNOWN)
        if not possible.any():
            return
        column = wanted[possible.argmax()]
        mover = self._put(row, column)
        while mover != row:
            if mover == NONE:  # one more column is used, or one row is left out
                assert left is not None
                if left.column == NONE:
                    break
                mover = self._put(left.row, left.column)
            else:
                mover = self._put(mover, moves_to[mover])
        self.takers[column], self.takers[:, row], self.gains[row] = False, False, 1

    def _put(self, row: int, column: int) -> int:
        """Pair a row and a column, of which one may be NONE, and return the row that had the column."""
        before = NONE if column == NONE else int(self.row_of[column])
        if row != NONE:
            self.column_of[row] = column
        if column != NONE:
            self.row_of[column] = row
        return before

    def _moves(self, row: int, until: int) -> tuple[Ints, _Left | None]:
        """The column that each row can move to if this row gives up its own; NONE if it can be left out, or UNKNOWN.

        Also what makes up for an unused column that is used, if anything does. Ends as soon as the row ``until`` can
        move; NONE stands for an unused column.
        """
        moves_to = np.full(len(self.column_of), UNKNOWN, np.int64)
        moves_to[row] = self.column_of[row]
        left, waiting = None, [int(self.column_of[row])]
        while waiting and (left is None if until == NONE else moves_to[until] == UNKNOWN):
            column = waiting.pop()
            movers = np.zeros(0, np.int64)
            if column != NONE:
                movers = np.flatnonzero(self.takers[column] & (moves_to == UNKNOWN))
                moves_to[movers] = column
            has_column = self.column_of[movers] != NONE
            waiting += self.column_of[movers[has_column]].tolist()
            if left is None and (column == NONE or self.prices[column] == 0 or not has_column.all()):
                left = _Left(next(iter(movers[~has_column].tolist()), NONE), column)
                leavers = np.flatnonzero((self.gains == 0) & (moves_to == UNKNOWN) & (self.column_of != NONE))
                moves_to[leavers] = NONE
                waiting += [*np.flatnonzero(self.row_of == NONE).tolist(), *self.column_of[leavers].tolist()]
        return moves_to, left


class _Left(NamedTuple):
    """A column that can be left without loss, or the row without column that can come in for it."""

    row: int
    column: int


def _assign(weights: Ints) -> tuple[Ints, Ints]:
    from scipy.optimize import linear_sum_assignment

    row, column = linear_sum_assignment(weights, maximize=True)
    return row, column
