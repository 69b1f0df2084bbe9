"""Turns as sorted integer arrays, with each speaker's overlapping turns merged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.rttm import Turn

Ints = NDArray[np.int64]

Bools = NDArray[np.bool_]

MICROSECONDS = 1_000_000
"""Per second. RTTM files are not more precise, and sums of integers are exact."""

MOST_PAIRS = 20_000_000
"""Of overlapping turns; a thousand hours of conversation have about two million."""


def merge_overlapping(turns: Mapping[str, Sequence[Turn]], uris: Sequence[str]) -> dict[str, list[Turn]]:
    """The turns that are scored: rounded to microseconds, each speaker's overlapping (not touching) turns merged."""
    arrays = TurnArrays.from_turns(turns, uris)
    merged: dict[str, list[Turn]] = {uri: [] for uri in uris}
    for start, end, speaker in zip(arrays.start.tolist(), arrays.end.tolist(), arrays.speaker.tolist(), strict=True):
        uri = uris[arrays.recording_of[speaker]]
        merged[uri].append(Turn(start / MICROSECONDS, end / MICROSECONDS, arrays.names[speaker]))
    return merged


@dataclass(frozen=True)
class TurnArrays:
    """Turns of all recordings in microseconds, sorted by recording, speaker and time.

    ``start``, ``end`` and ``speaker`` have one entry per turn; ``names`` and ``recording_of`` one per speaker.
    """

    start: Ints
    end: Ints
    speaker: Ints
    """Index into ``names``."""
    names: list[str]
    """Sorted within each recording."""
    recording_of: Ints
    """Index into the recordings."""

    @classmethod
    def from_turns(cls, turns: Mapping[str, Sequence[Turn]], uris: Sequence[str]) -> TurnArrays:
        """Merge each speaker's overlapping turns; touching turns stay separate. Raises ValueError if not finite."""
        starts: list[float] = []
        ends: list[float] = []
        speakers: list[int] = []
        names: list[str] = []
        recording_of: list[int] = []
        for recording, uri in enumerate(uris):
            if recording_turns := turns.get(uri):
                start_s, end_s, speaker_names = zip(*recording_turns, strict=True)
                number = {name: len(names) + i for i, name in enumerate(sorted(set(speaker_names)))}
                starts.extend(start_s)
                ends.extend(end_s)
                speakers.extend(map(number.__getitem__, speaker_names))
                names.extend(number)
                recording_of.extend([recording] * len(number))
        start, end, speaker = _rounded(starts), _rounded(ends), np.array(speakers, np.int64)
        nonempty = end > start  # turns shorter than a microsecond are dropped
        start, end, speaker = start[nonempty], end[nonempty], speaker[nonempty]
        if start.size:
            order = np.lexsort((start, speaker))
            start, end, speaker = start[order], end[order], speaker[order]
            # Offsets between speakers, so that one running maximum serves all of them.
            offset = speaker * (end.max() - start.min() + 1)
            latest_end = np.maximum.accumulate(end + offset)
            first = np.flatnonzero(np.concatenate([[True], start[1:] + offset[1:] >= latest_end[:-1]]))
            start, end, speaker = start[first], np.maximum.reduceat(end, first), speaker[first]
        return cls(start, end, speaker, names, np.array(recording_of, np.int64))

    def on_common_axis(self, origin: int, length: int) -> TurnArrays:
        """The turns on one time axis for all recordings, each of which takes ``length`` microseconds."""
        shift = self.recording_of[self.speaker] * length - origin
        return TurnArrays(self.start + shift, self.end + shift, self.speaker, self.names, self.recording_of)


def intersections(ref: TurnArrays, hyp: TurnArrays) -> tuple[Ints, Ints]:
    """Indices of every pair of a reference and a hypothesis turn that overlap, each pair once.

    Raises UserError for more than MOST_PAIRS.
    """
    ref_first, hyp_later = _starts_within(hyp.start, ref.start, ref.end, "left")
    hyp_first, ref_later = _starts_within(ref.start, hyp.start, hyp.end, "right")
    return np.concatenate([ref_first, ref_later]), np.concatenate([hyp_later, hyp_first])


def to_microseconds(seconds: float) -> int:
    return round(seconds * MICROSECONDS)


def _starts_within(points: Ints, start: Ints, end: Ints, side: str) -> tuple[Ints, Ints]:
    """Indices of each interval and of each point in it; ``side`` says whether a point at its start is in (left)."""
    order = np.argsort(points, kind="stable")
    low = np.searchsorted(points, start, side=side, sorter=order)  # type: ignore[call-overload]
    count = np.maximum(np.searchsorted(points, end, side="left", sorter=order) - low, 0)
    if count.sum() > MOST_PAIRS:
        raise UserError(f"turns of reference and hypothesis overlap in {count.sum():,} pairs, too many to compare")
    interval = np.repeat(np.arange(count.size), count)
    return interval, order[np.arange(interval.size) + np.repeat(low - (np.cumsum(count) - count), count)]


def _rounded(seconds: list[float]) -> Ints:
    times = np.array(seconds, np.float64)
    if not np.isfinite(times).all():
        raise ValueError("cannot score a turn or region whose start or end is not a finite number")
    return np.rint(times * MICROSECONDS).astype(np.int64)
