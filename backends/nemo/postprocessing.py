"""Frame probabilities to turns, equivalent to NeMo's post-processing."""

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

    Gives the turns of NeMo's ``ts_vad_post_processing`` (after Gelly and Gauvain, Interspeech 2015): speech begins
    above ``onset`` and ends below ``offset``; turns are padded, then short turns are dropped, then short gaps are
    filled. An offset above the onset is replaced by the onset.
    """
    begins, ends = probability > onset, probability < min(offset, onset)
    # Between onset and offset, a frame keeps the state of the last frame outside that range.
    last_decision = np.maximum.accumulate(np.where(begins | ends, np.arange(len(probability)), -1))
    speech = np.concatenate([[False], (last_decision >= 0) & begins[last_decision], [False]])
    edges = np.flatnonzero(speech[1:] != speech[:-1]).reshape(-1, 2) * frame_s
    # NeMo ends a turn that reaches the end of the recording 10 ms early.
    end_s = len(probability) * frame_s
    edges[edges == end_s] = end_s - 0.01
    # Single precision, like NeMo's tensors, so that gaps equal to a threshold are decided alike.
    turns = _merged((edges + np.array([-pad_onset_s, pad_offset_s])).astype(np.float32), 0.0)
    turns = turns[turns[:, 1] - turns[:, 0] >= min_duration_on_s]
    turns = _merged(turns, min_duration_off_s)
    return [(round(start, 2), round(end, 2)) for start, end in turns.tolist()]


def _merged(turns: np.ndarray, shortest_gap_s: float) -> np.ndarray:
    """Sorted turns (n, 2), clipped at zero; turns that overlap, touch or have a shorter gap between them are merged."""
    turns = np.maximum(turns, 0.0)
    if len(turns) < 2:
        return turns
    gaps = turns[1:, 0] - turns[:-1, 1]
    separate = (gaps > 0) & (gaps >= shortest_gap_s)
    return np.column_stack([turns[np.r_[True, separate], 0], turns[np.r_[separate, True], 1]])
