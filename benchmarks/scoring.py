"""Diarization error rate, in seconds of miss, false alarm and confusion under a named protocol.

One sweep over integer microseconds scores every recording under every protocol. The conventions are those of NIST's
md-eval-22: the collar is a half-width around each reference boundary; speakers are mapped one to one, optimally, on the
whole scored region, before collars and overlap are taken away. Three things that md-eval leaves open are fixed here: a
speaker's own overlapping turns are merged first (touching turns stay two, and keep the collar between them); of equally
good mappings the first by name is taken; a recording with an empty reference keeps its false alarm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.optimize import linear_sum_assignment

from diarbench.datasets.rttm import Region, Turn
from diarbench.reports.records import ErrorSeconds, Record

if TYPE_CHECKING:
    from pyannote.core import Annotation, Timeline

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

MICROSECONDS = 1_000_000
"""In a second; finer than any RTTM, and integers add without error."""


PYANNOTE_NAMES = {
    "total": "total",
    "miss": "missed detection",
    "false_alarm": "false alarm",
    "confusion": "confusion",
}


class ScoringProtocol(Record):
    """What is scored. Everything else is the same for all protocols: see the module."""

    name: str
    collar_s: float = Field(ge=0, allow_inf_nan=False)
    """Half-width: scoring stops this long before each reference boundary, and starts again this long after."""
    score_overlap: bool
    """Whether time in which two or more reference speakers speak is scored."""

    def __str__(self) -> str:
        collar = f"collar ±{self.collar_s:g} s" if self.collar_s else "no collar"
        return f"{self.name} ({collar}, overlap {'scored' if self.score_overlap else 'left out'})"


CONDITIONS: Mapping[str, ScoringProtocol] = {
    protocol.name: protocol
    for protocol in (
        ScoringProtocol(name="full", collar_s=0.0, score_overlap=True),
        ScoringProtocol(name="fair", collar_s=0.25, score_overlap=True),
        ScoringProtocol(name="forgiving", collar_s=0.25, score_overlap=False),
    )
}
"""The three that the field reports."""


@dataclass(frozen=True)
class Sweep:
    """The scored regions, cut at every boundary: between two cuts nothing changes. Arrays have a row a stretch."""

    uris: tuple[str, ...]
    recording: Ints
    """Index into ``uris``."""
    start_us: Ints
    end_us: Ints
    """From the start of the recording."""
    n_ref: Ints
    n_hyp: Ints
    """How many speakers speak."""
    n_correct: Ints
    """How many of them are each other's match."""
    scored: Mapping[str, Bools]
    """By protocol, whether the stretch counts."""
    mapping: tuple[Mapping[str, str], ...]
    """By recording: reference speaker to hypothesis speaker, where they have speech in common."""

    def errors(self, protocol: str, group: Ints, n_groups: int) -> list[ErrorSeconds]:
        """Seconds by group; ``group`` has the group of each stretch."""
        counted = self.scored[protocol]
        group, duration = group[counted], (self.end_us - self.start_us)[counted]
        ref, hyp, correct = self.n_ref[counted], self.n_hyp[counted], self.n_correct[counted]
        speakers = (ref, np.maximum(ref - hyp, 0), np.maximum(hyp - ref, 0), np.minimum(ref, hyp) - correct)
        # Sums of integers below 2**53 are exact in the floats that bincount adds.
        sums = [np.bincount(group, weights=n * duration, minlength=n_groups) / MICROSECONDS for n in speakers]
        return [
            ErrorSeconds(total=total, miss=miss, false_alarm=false_alarm, confusion=confusion)
            for total, miss, false_alarm, confusion in zip(*(column.tolist() for column in sums), strict=True)
        ]


def score(
    reference: Mapping[str, Sequence[Turn]],
    hypothesis: Mapping[str, Sequence[Turn]],
    scored: Mapping[str, Sequence[Region]],
    protocols: Sequence[ScoringProtocol],
) -> dict[str, dict[str, ErrorSeconds]]:
    """Seconds by protocol and recording.

    Exactly the recordings of ``scored`` are scored, each inside its regions. One that is missing from the hypothesis is
    all missed; one that is missing from the reference is all false alarm. Raises ValueError for a time that is not a
    number.
    """
    found = sweep(reference, hypothesis, scored, protocols)
    return {
        protocol.name: dict(zip(found.uris, found.errors(protocol.name, found.recording, len(found.uris)), strict=True))
        for protocol in protocols
    }


def pooled(by_uri: Mapping[str, ErrorSeconds]) -> ErrorSeconds:
    """The recordings' seconds added up; its ``der`` is the pooled rate, not the mean of the recordings' rates."""
    return sum(by_uri.values(), ErrorSeconds())


def sweep(
    reference: Mapping[str, Sequence[Turn]],
    hypothesis: Mapping[str, Sequence[Turn]],
    scored: Mapping[str, Sequence[Region]],
    protocols: Sequence[ScoringProtocol],
) -> Sweep:
    """Cut the scored regions wherever speakers, regions or collars change: touching regions stay two."""
    uris = tuple(scored)
    ref, hyp = TurnArrays.merged(reference, uris), TurnArrays.merged(hypothesis, uris)
    regions = TurnArrays.merged({uri: [Turn(*region, "") for region in scored[uri]] for uri in uris}, uris)

    # All recordings on one axis, far enough apart that no collar reaches from one into the next.
    collars = {protocol.collar_s: _microseconds(protocol.collar_s) for protocol in protocols if protocol.collar_s}
    margin = max(collars.values(), default=0) + 1
    everything = [part for turns in (ref, hyp, regions) for part in (turns.start, turns.end) if part.size]
    if not everything:
        nothing = np.zeros(0, np.int64)
        none = {protocol.name: nothing.astype(bool) for protocol in protocols}
        return Sweep(uris, nothing, nothing, nothing, nothing, nothing, nothing, none, tuple({} for _ in uris))
    origin = min(int(part.min()) for part in everything) - margin
    length = max(int(part.max()) for part in everything) + margin - origin
    ref, hyp, regions = (turns.placed(origin, length) for turns in (ref, hyp, regions))

    edges = np.concatenate([ref.start, ref.end])
    around = [edges + sign * collar for collar in collars.values() for sign in (-1, 1)]
    cuts = np.sort(np.concatenate([edges, hyp.start, hyp.end, regions.start, regions.end, *around]))
    cuts = cuts[np.diff(cuts, prepend=-1) > 0]

    def depth(start: Ints, end: Ints) -> Ints:
        """How many of some intervals cover each stretch between two cuts."""
        change = np.bincount(np.searchsorted(cuts, start), minlength=cuts.size)
        change -= np.bincount(np.searchsorted(cuts, end), minlength=cuts.size)
        return np.cumsum(change)[:-1]

    inside = depth(regions.start, regions.end) > 0
    clock = np.concatenate([[0], np.cumsum(np.diff(cuts) * inside)])  # scored time passed at each cut

    which_ref, which_hyp = _intersections(ref, hyp)
    start = np.maximum(ref.start[which_ref], hyp.start[which_hyp])
    end = np.minimum(ref.end[which_ref], hyp.end[which_hyp])
    shared = clock[np.searchsorted(cuts, end)] - clock[np.searchsorted(cuts, start)]
    mate = _map_speakers(ref, hyp, ref.speaker[which_ref], hyp.speaker[which_hyp], shared)
    matched = mate[ref.speaker[which_ref]] == hyp.speaker[which_hyp]

    n_ref = depth(ref.start, ref.end)[inside]
    masks = {0.0: np.ones(n_ref.size, dtype=bool)}
    for collar_s, collar in collars.items():
        masks[collar_s] = depth(edges - collar, edges + collar)[inside] == 0
    mapping: tuple[dict[str, str], ...] = tuple({} for _ in uris)
    for speaker in np.flatnonzero(mate >= 0):
        mapping[ref.recording_of[speaker]][ref.names[speaker]] = hyp.names[mate[speaker]]
    recording, start_us = np.divmod(cuts[:-1][inside], length)
    return Sweep(
        uris=uris,
        recording=recording,
        start_us=start_us + origin,
        end_us=start_us + origin + np.diff(cuts)[inside],
        n_ref=n_ref,
        n_hyp=depth(hyp.start, hyp.end)[inside],
        n_correct=depth(start[matched], end[matched])[inside],
        scored={p.name: masks[p.collar_s] & (p.score_overlap | (n_ref < 2)) for p in protocols},
        mapping=mapping,
    )


@dataclass(frozen=True)
class TurnArrays:
    """Turns as arrays, a speaker's overlapping ones merged, sorted by recording, speaker and time."""

    start: Ints
    end: Ints
    speaker: Ints
    """Numbered through all recordings, by name in each."""
    names: list[str]
    recording_of: Ints
    """Of a speaker."""

    @classmethod
    def merged(cls, turns: Mapping[str, Sequence[Turn]], uris: Sequence[str]) -> TurnArrays:
        starts: list[float] = []
        ends: list[float] = []
        speakers: list[int] = []
        names: list[str] = []
        recording_of: list[int] = []
        for recording, uri in enumerate(uris):
            if listed := turns.get(uri):
                start_s, end_s, speaker_names = zip(*listed, strict=True)
                number = {name: len(names) + i for i, name in enumerate(sorted(set(speaker_names)))}
                starts.extend(start_s)
                ends.extend(end_s)
                speakers.extend(map(number.__getitem__, speaker_names))
                names.extend(number)
                recording_of.extend([recording] * len(number))
        start, end, speaker = _integers(starts), _integers(ends), np.array(speakers, np.int64)
        real = end > start  # less than a microsecond is nothing
        start, end, speaker = start[real], end[real], speaker[real]
        if start.size:
            order = np.lexsort((start, speaker))
            start, end, speaker = start[order], end[order], speaker[order]
            apart = speaker * (end.max() - start.min() + 1)  # so that one running maximum serves all speakers
            reached = np.maximum.accumulate(end + apart)
            first = np.flatnonzero(np.concatenate([[True], start[1:] + apart[1:] >= reached[:-1]]))
            start, end, speaker = start[first], np.maximum.reduceat(end, first), speaker[first]
        return cls(start, end, speaker, names, np.array(recording_of, np.int64))

    def placed(self, origin: int, length: int) -> TurnArrays:
        """On the axis of all recordings, each ``length`` long."""
        shift = self.recording_of[self.speaker] * length - origin
        return TurnArrays(self.start + shift, self.end + shift, self.speaker, self.names, self.recording_of)


def _microseconds(seconds: float) -> int:
    return round(seconds * MICROSECONDS)


def _integers(seconds: list[float]) -> Ints:
    times = np.array(seconds, np.float64)
    if not np.isfinite(times).all():
        raise ValueError("a turn or region with a time that is not a finite number cannot be scored")
    return np.rint(times * MICROSECONDS).astype(np.int64)


def _intersections(ref: TurnArrays, hyp: TurnArrays) -> tuple[Ints, Ints]:
    """Indices of every reference and hypothesis turn that share time, each pair once."""

    def starting_within(points: Ints, after: Ints, before: Ints, side: str) -> tuple[Ints, Ints]:
        order = np.argsort(points, kind="stable")
        low = np.searchsorted(points, after, side=side, sorter=order)  # type: ignore[call-overload]
        count = np.maximum(np.searchsorted(points, before, side="left", sorter=order) - low, 0)
        outer = np.repeat(np.arange(count.size), count)
        return outer, order[np.arange(outer.size) + np.repeat(low - (np.cumsum(count) - count), count)]

    ref_first, hyp_later = starting_within(hyp.start, ref.start, ref.end, "left")
    hyp_first, ref_later = starting_within(ref.start, hyp.start, hyp.end, "right")
    return np.concatenate([ref_first, ref_later]), np.concatenate([hyp_later, hyp_first])


def _map_speakers(ref: TurnArrays, hyp: TurnArrays, ref_speaker: Ints, hyp_speaker: Ints, shared: Ints) -> Ints:
    """For each reference speaker the hypothesis speaker that is its match, or -1."""
    mate = np.full(len(ref.names), -1, np.int64)
    pair, inverse = np.unique(ref_speaker * max(len(hyp.names), 1) + hyp_speaker, return_inverse=True)
    if not pair.size:
        return mate
    weight = np.bincount(inverse, weights=shared).astype(np.int64)
    rows, columns = np.divmod(pair, len(hyp.names))
    bounds = np.searchsorted(ref.recording_of[rows], np.unique(ref.recording_of[rows]))
    for low, high in pairwise([*bounds, pair.size]):
        row_names, row = np.unique(rows[low:high], return_inverse=True)
        column_names, column = np.unique(columns[low:high], return_inverse=True)
        overlap = np.zeros((row_names.size, column_names.size), np.int64)
        overlap[row, column] = weight[low:high]
        chosen, chosen_column = best_mapping(overlap)
        mate[row_names[chosen]] = column_names[chosen_column]
    return mate


def best_mapping(overlap: Ints) -> tuple[Ints, Ints]:
    """Rows and columns of the one-to-one mapping with the largest sum; pairs that share nothing are left out.

    Of several such mappings, the first: each row in turn takes the first column with which the largest sum can still be
    reached. ``overlap`` has whole numbers, so sums are compared exactly.
    """

    def solve(weights: Ints) -> tuple[Ints, Ints]:
        row, column = linear_sum_assignment(weights, maximize=True)
        return row, column

    row, column = solve(overlap)
    useful = overlap[row, column] > 0
    row, column = row[useful], column[useful]
    # Is there another as good? A slight penalty on this one's pairs, too small to prefer a worse sum, would find it.
    penalised = overlap * (row.size + 1)
    penalised[row, column] -= 1
    other_row, other_column = solve(penalised)
    other = overlap[other_row, other_column] > 0
    if np.array_equal(row, other_row[other]) and np.array_equal(column, other_column[other]):
        return row, column

    chosen: list[tuple[int, int]] = []
    free = np.arange(overlap.shape[1])
    left = int(overlap[row, column].sum())
    for i in range(overlap.shape[0]):
        for j in free[overlap[i, free] > 0]:
            rest = overlap[i + 1 :, free[free != j]]
            if overlap[i, j] + rest[solve(rest)].sum() == left:
                chosen.append((i, int(j)))
                free, left = free[free != j], left - int(overlap[i, j])
                break
    return np.array([i for i, _ in chosen], np.int64), np.array([j for _, j in chosen], np.int64)


def merge_overlapping(turns: Mapping[str, Sequence[Turn]], uris: Sequence[str]) -> dict[str, list[Turn]]:
    """What is scored of some turns: whole microseconds, each speaker's overlapping turns merged, touching ones not."""
    found = TurnArrays.merged(turns, uris)
    merged: dict[str, list[Turn]] = {uri: [] for uri in uris}
    for start, end, speaker in zip(found.start.tolist(), found.end.tolist(), found.speaker.tolist(), strict=True):
        uri = uris[found.recording_of[speaker]]
        merged[uri].append(Turn(start / MICROSECONDS, end / MICROSECONDS, found.names[speaker]))
    return merged


def cross_check(
    reference: Mapping[str, Sequence[Turn]],
    hypothesis: Mapping[str, Sequence[Turn]],
    scored: Mapping[str, Sequence[Region]],
    errors: Mapping[str, ErrorSeconds],
    tolerance_s: float = 1e-6,
) -> float:
    """Score again with pyannote.metrics, without a collar, and hold it against our ``errors`` of the same input.

    Returns the largest difference in any part of any recording, in seconds; raises RuntimeError above the tolerance.
    """
    from pyannote.metrics.diarization import DiarizationErrorRate

    metric = DiarizationErrorRate(collar=0.0, skip_overlap=False)
    largest = 0.0
    for uri, ref, hyp, uem in for_pyannote(reference, hypothesis, scored):
        theirs = metric(ref, hyp, uem=uem, detailed=True)
        for part, their_name in PYANNOTE_NAMES.items():
            our_s, their_s = getattr(errors[uri], part), theirs[their_name] / MICROSECONDS
            largest = max(largest, abs(our_s - their_s))
            if largest > tolerance_s:
                raise RuntimeError(
                    f"{uri}: {their_name} is {our_s:.6f} s here and {their_s:.6f} s by pyannote.metrics; one of the "
                    "two scorers is wrong, so neither figure can be trusted: please report this recording"
                )
    return largest


def for_pyannote(
    reference: Mapping[str, Sequence[Turn]],
    hypothesis: Mapping[str, Sequence[Turn]],
    scored: Mapping[str, Sequence[Region]],
) -> Iterator[tuple[str, Annotation, Annotation, Timeline]]:
    """Each recording's uri, reference, hypothesis and scored regions as pyannote.core has them, overlaps merged.

    Times are in microseconds, not seconds: pyannote.core drops what is shorter than a millionth of its unit.
    """
    from pyannote.core import Annotation, Segment, Timeline

    def annotation(turns: Sequence[Turn]) -> Annotation:
        return Annotation.from_records(
            (Segment(_microseconds(turn.start_s), _microseconds(turn.end_s)), track, turn.speaker)
            for track, turn in enumerate(turns)
        )

    uris = list(scored)
    ref, hyp = merge_overlapping(reference, uris), merge_overlapping(hypothesis, uris)
    for uri in uris:
        uem = Timeline([Segment(_microseconds(r.start_s), _microseconds(r.end_s)) for r in scored[uri]])
        yield uri, annotation(ref[uri]), annotation(hyp[uri]), uem
