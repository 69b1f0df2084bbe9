"""The errors of a system in one recording as stretches of time, for the page's error explorer.

No collar, overlap scored. The scorer (benchmarks.scoring) computes the figures and is a layer above; it sums error
seconds over many recordings and protocols in arrays, while this module lists each error with start and end. Both use
the same speaker mapping, and a test compares their seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise, product
from typing import NamedTuple

from diarbench.datasets.io.rttm import Region, Turn
from diarbench.reports.speaker_mapping import best_mapping

KINDS = ("miss", "false_alarm", "confusion")


class Error(NamedTuple):
    """A stretch with one kind of error and a constant number of wrong speakers."""

    start_s: float
    end_s: float
    kind: str
    speakers: int

    @property
    def seconds(self) -> float:
        """Seconds of speaker time, as counted by the diarization error rate."""
        return (self.end_s - self.start_s) * self.speakers


class Moment(NamedTuple):
    """A stretch in which the set of active speakers does not change."""

    start_s: float
    end_s: float
    reference: frozenset[str]
    hypothesis: frozenset[str]


def moments(reference: Iterable[Turn], hypothesis: Iterable[Turn], regions: Iterable[Region]) -> list[Moment]:
    """Cut the scored regions wherever a turn starts or ends; a speaker's overlapping turns count once."""
    changes: list[tuple[float, int, str, int]] = []
    for side, turns in enumerate((reference, hypothesis)):
        for turn in turns:
            changes += [(turn.start_s, side, turn.speaker, 1), (turn.end_s, side, turn.speaker, -1)]
    for start_s, end_s in regions:
        changes += [(start_s, 2, "", 1), (end_s, 2, "", -1)]
    changes.sort(key=lambda change: change[0])
    active: tuple[dict[str, int], ...] = ({}, {}, {})
    cut = []
    for (time_s, side, speaker, step), after in pairwise(changes):
        active[side][speaker] = active[side].get(speaker, 0) + step
        if not active[side][speaker]:
            del active[side][speaker]
        if active[2] and after[0] > time_s and (active[0] or active[1]):
            cut.append(Moment(time_s, after[0], frozenset(active[0]), frozenset(active[1])))
    return cut


def map_speakers(cut: Sequence[Moment]) -> dict[str, str]:
    """Hypothesis speaker to reference speaker: the scorer's mapping, `best_mapping` of the shared microseconds."""
    import numpy as np

    reference = sorted({speaker for moment in cut for speaker in moment.reference})
    hypothesis = sorted({speaker for moment in cut for speaker in moment.hypothesis})
    shared = np.zeros((len(reference), len(hypothesis)), np.int64)
    for moment in cut:
        microseconds = round(1e6 * (moment.end_s - moment.start_s))
        for row, column in product(moment.reference, moment.hypothesis):
            shared[reference.index(row), hypothesis.index(column)] += microseconds
    rows, columns = best_mapping(shared)
    return {hypothesis[column]: reference[row] for row, column in zip(rows, columns, strict=True)}


def find_errors(cut: Sequence[Moment], mapping: dict[str, str]) -> list[Error]:
    """Every stretch of miss, false alarm and confusion; touching equal stretches are joined."""
    counts = zip(*(_wrong_speakers(moment, mapping) for moment in cut), strict=True)
    return sorted(chain.from_iterable(_joined(cut, kind, wrong) for kind, wrong in zip(KINDS, counts, strict=False)))


def _wrong_speakers(moment: Moment, mapping: dict[str, str]) -> tuple[int, int, int]:
    """Number of missed, false and confused speakers in a moment."""
    reference, hypothesis = len(moment.reference), len(moment.hypothesis)
    correct = sum(mapping.get(speaker) in moment.reference for speaker in moment.hypothesis)
    return max(0, reference - hypothesis), max(0, hypothesis - reference), min(reference, hypothesis) - correct


def _joined(cut: Iterable[Moment], kind: str, wrong: Iterable[int]) -> Iterator[Error]:
    """The errors of one kind, given the number of wrong speakers in each moment."""
    pending: Error | None = None
    for moment, speakers in zip(cut, wrong, strict=True):
        if pending and speakers == pending.speakers and moment.start_s == pending.end_s:
            pending = pending._replace(end_s=moment.end_s)
            continue
        if pending:
            yield pending
        pending = Error(moment.start_s, moment.end_s, kind, speakers) if speakers else None
    if pending:
        yield pending
