"""The optimal one-to-one mapping of hypothesis speakers to reference speakers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from diarbench.benchmarks.scoring.turns import Ints, TurnArrays
from diarbench.datasets.io.errors import UserError
from diarbench.reports.speaker_mapping import best_mapping

MOST_PAIRS = 500_000
"""Of a recording's speakers in the reference and in the hypothesis. The time to map them grows faster than this."""


def map_speakers(
    uris: Sequence[str], ref: TurnArrays, hyp: TurnArrays, ref_speaker: Ints, hyp_speaker: Ints, shared: Ints
) -> Ints:
    """The hypothesis speaker mapped to each reference speaker, or -1.

    ``ref_speaker``, ``hyp_speaker`` and ``shared`` have one entry per pair of overlapping turns: its speakers, and the
    scored time that the turns share. Raises UserError for a recording with more than MOST_PAIRS of speakers.
    """
    match = np.full(len(ref.names), -1, np.int64)
    pair, inverse = np.unique(ref_speaker * max(len(hyp.names), 1) + hyp_speaker, return_inverse=True)
    if not pair.size:
        return match
    weight = np.bincount(inverse, weights=shared).astype(np.int64)
    rows, columns = np.divmod(pair, len(hyp.names))
    bounds = np.searchsorted(ref.recording_of[rows], np.unique(ref.recording_of[rows]))
    for low, high in pairwise([*bounds, pair.size]):
        row_names, row = np.unique(rows[low:high], return_inverse=True)
        column_names, column = np.unique(columns[low:high], return_inverse=True)
        if row_names.size * column_names.size > MOST_PAIRS:
            name = uris[int(ref.recording_of[rows[low]])]
            counts = f"{row_names.size:,} speakers of the reference and {column_names.size:,} of the hypothesis"
            raise UserError(f"{name}: {counts} overlap, too many to map to each other")
        overlap = np.zeros((row_names.size, column_names.size), np.int64)
        overlap[row, column] = weight[low:high]
        chosen, chosen_column = best_mapping(overlap)
        match[row_names[chosen]] = column_names[chosen_column]
    return match
