"""The optimal one-to-one mapping of speakers, shared by the scorer and the page's error explorer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

MOST_ORDERED = 50
"""Above this number of rows or columns the order of equally good mappings would take too long to find."""


def best_mapping(overlap: Ints) -> tuple[Ints, Ints]:
    """Rows and columns of the one-to-one mapping with the largest sum; pairs without overlap are left out.

    Among equally good mappings, each row in turn gets the first column that still allows the largest sum; with more
    rows or columns than MOST_ORDERED it is scipy's choice. ``overlap`` holds integers, so sums are compared exactly.
    """
    row, column = _assign(overlap)
    nonzero = overlap[row, column] > 0
    row, column = row[nonzero], column[nonzero]
    if max(overlap.shape) > MOST_ORDERED:
        return row, column
    # Look for an equally good mapping: penalise this one's pairs by too little to make a worse sum win.
    penalised = overlap * (row.size + 1)
    penalised[row, column] -= 1
    other_row, other_column = _assign(penalised)
    other = overlap[other_row, other_column] > 0
    if np.array_equal(row, other_row[other]) and np.array_equal(column, other_column[other]):
        return row, column
    return _first_mapping(overlap, int(overlap[row, column].sum()))


def _first_mapping(overlap: Ints, largest: int) -> tuple[Ints, Ints]:
    """The first mapping, in the order of rows and columns, whose sum is ``largest``."""
    pairs: list[tuple[int, int]] = []
    free = np.arange(overlap.shape[1])
    remaining = largest
    for i in range(overlap.shape[0]):
        for j in free[overlap[i, free] > 0]:
            rest = overlap[i + 1 :, free[free != j]]
            if overlap[i, j] + rest[_assign(rest)].sum() == remaining:
                pairs.append((i, int(j)))
                free, remaining = free[free != j], remaining - int(overlap[i, j])
                break
    return np.array([i for i, _ in pairs], np.int64), np.array([j for _, j in pairs], np.int64)


def _assign(weights: Ints) -> tuple[Ints, Ints]:
    from scipy.optimize import linear_sum_assignment

    row, column = linear_sum_assignment(weights, maximize=True)
    return row, column
