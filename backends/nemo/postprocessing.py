"""From frame probabilities to turns, as NeMo's post-processing does it."""

from __future__ import annotations

import numpy as np


def post_process(
    probability: np.ndarray,
    frame_s: float,
    *,
    onset: float,
    offset: float,
    pad_onset_s: float,
    pad_offset_s: float,
    min_duration_on_s: float,
    min_duration_off_s: float,
) -> list[tuple[float, float]]:
    """One speaker's turns (start, end), in seconds to 10 ms, from frame probabilities (frames,).

    What NeMo's ``ts_vad_post_processing`` gives (after Gelly and Gauvain, Interspeech 2015): speech begins above
    ``onset`` and ends below ``offset``; turns are padded, short ones dropped, then short gaps filled. An offset
    above the onset says nothing more than the onset does, and is taken as it.
    """
    begins, ends = probability > onset, probability < min(offset, onset)
    # Each frame's state is that of the last frame that decided one.
    decided = np.maximum.accumulate(np.where(begins | ends, np.arange(len(probability)), -1))
    speech = np.concatenate([[False], (decided >= 0) & begins[decided], [False]])
    edges = np.flatnonzero(speech[1:] != speech[:-1]).reshape(-1, 2) * frame_s
    # NeMo ends a turn that lasts to the end of the recording at the start of the last 10 ms.
    last = len(probability) * frame_s
    edges[edges == last] = last - 0.01
    # In single precision, as NeMo's tensors are: a gap of just the threshold falls on the same side.
    turns = _merged((edges + np.array([-pad_onset_s, pad_offset_s])).astype(np.float32), 0.0)
    turns = turns[turns[:, 1] - turns[:, 0] >= min_duration_on_s]
    turns = _merged(turns, min_duration_off_s)
    return [(round(start, 2), round(end, 2)) for start, end in turns.tolist()]


def _merged(turns: np.ndarray, shortest_gap_s: float) -> np.ndarray:
    """Sorted turns (n, 2), cut at zero, with those merged that overlap, touch, or have a shorter gap between them."""
    turns = np.maximum(turns, 0.0)
    if len(turns) < 2:
        return turns
    gaps = turns[1:, 0] - turns[:-1, 1]
    parted = (gaps > 0) & (gaps >= shortest_gap_s)
    return np.column_stack([turns[np.r_[True, parted], 0], turns[np.r_[parted, True], 1]])
