"""Segments of speech at several scales, and the labels of a pair of speakers on them, as NeMo 2.7.3 makes them.

Each stretch of speech is cut into segments of each scale. The shortest scale is the base: every base segment is a step
of the decoder, and takes from each longer scale the segment with the nearest centre.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

FRAMES_PER_S = 100
"""Feature frames per second."""

SHORTEST_S = 0.05
"""Segments of at most this length are dropped."""

ACTIVE_SHARE = 0.5
"""A speaker is active in a segment where active for more than this share of it."""


class Scale(NamedTuple):
    """The length of a scale's segments and the step between them, in seconds."""

    window_s: float
    shift_s: float


SCALES = (Scale(1.5, 0.75), Scale(1.25, 0.625), Scale(1.0, 0.5), Scale(0.75, 0.375), Scale(0.5, 0.25))
"""The five scales of NVIDIA's telephonic MSDD, from the longest to the base."""


@dataclass(frozen=True)
class Segments:
    """The segments of a recording or window at all scales."""

    times: tuple[np.ndarray, ...]
    """Start and end in seconds (segments, 2), a scale each, the base last."""
    mapping: np.ndarray
    """For each scale and base segment, the index of that scale's segment with the nearest centre."""

    @property
    def base(self) -> np.ndarray:
        """The base segments (segments, 2)."""
        return self.times[-1]


@dataclass(frozen=True)
class PairLabels:
    """What a pair of speakers does in each segment."""

    targets: np.ndarray
    """0/1 (base segments, 2)."""
    clusters: tuple[np.ndarray, ...]
    """For each scale, the speaker to whose profile each segment belongs: 0, 1, or -1 for none."""


def cut(speech: Sequence[tuple[float, float]], scales: Sequence[Scale] = SCALES) -> Segments:
    """The segments of stretches of speech (start, end) in seconds, sorted and disjoint."""
    times = tuple(
        np.array([s for each in speech for s in _segments_of(*each, scale)]).reshape(-1, 2) for scale in scales
    )
    centres = [scale.mean(axis=1) for scale in times]
    nearest = [np.abs(centre[None] - centres[-1][:, None]).argmin(axis=1) if len(centre) else [] for centre in centres]
    return Segments(times, np.array(nearest, dtype=np.int64).reshape(len(scales), -1))


def _segments_of(start: float, end: float, scale: Scale) -> list[tuple[float, float]]:
    """As NeMo's ``get_subsegments_scriptable``: the last segment ends with the speech."""
    count = max(0, math.ceil((end - start - scale.window_s) / scale.shift_s)) + 1
    starts = [start + k * scale.shift_s for k in range(count)]
    return [(s, min(s + scale.window_s, end)) for s in starts if min(s + scale.window_s, end) - s > SHORTEST_S]


def stretches(active: np.ndarray) -> list[tuple[float, float]]:
    """The stretches (start, end) in seconds in which 0/1 frames (frames,) are 1."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], active > 0, [0]]).astype(np.int8)))
    return [(start / FRAMES_PER_S, end / FRAMES_PER_S) for start, end in edges.reshape(-1, 2)]


def frames(times: np.ndarray) -> np.ndarray:
    """Times in seconds as indices of frames, rounded down."""
    return np.floor(times * FRAMES_PER_S + 1e-6).astype(np.int64)


def label_pair(segments: Segments, activity: np.ndarray) -> PairLabels:
    """The labels of a pair of speakers from their 0/1 activity (frames, 2); the first frame is at time 0.

    A base segment belongs to the profile of the more active speaker. A longer segment has the label of the first base
    segment that takes it, as in NeMo: its ``mode`` compares tensors by identity and so returns the first. One that no
    base segment takes has the label of the segment before it.
    """
    shares = np.stack([activity[start : max(end, start + 1)].mean(axis=0) for start, end in frames(segments.base)])
    base = np.where(shares.any(axis=1), shares.argmax(axis=1), -1)
    clusters = []
    for times, nearest in zip(segments.times, segments.mapping, strict=True):
        labels: list[int] = []
        for k in range(len(times)):
            takers = np.flatnonzero(nearest == k)
            labels.append(int(base[takers[0]]) if len(takers) else (labels[-1] if labels else 0))
        clusters.append(np.array(labels))
    return PairLabels((shares > ACTIVE_SHARE).astype(np.float32), tuple(clusters))
