"""Where in a recording a system is wrong: its errors as stretches of time, for the report's timeline.

The scorer gives the figures; here the same error is laid out in time, with no collar and overlap scored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise
from typing import NamedTuple

KINDS = ("miss", "false_alarm", "confusion")


class Turn(NamedTuple):
    """A stretch of one speaker's speech, in seconds from the start of the recording."""

    start_s: float
    end_s: float
    speaker: str


class Error(NamedTuple):
    """A stretch in which the same number of speakers is wrong in the same way."""

    start_s: float
    end_s: float
    kind: str
    speakers: int

    @property
    def seconds(self) -> float:
        """Of speaker time, as the diarization error rate counts it."""
        return (self.end_s - self.start_s) * self.speakers


class Moment(NamedTuple):
    """A stretch in which nobody starts or stops."""

    start_s: float
    end_s: float
    reference: frozenset[str]
    hypothesis: frozenset[str]


def read_turns(rttm: str) -> list[Turn]:
    """The SPEAKER lines of one recording's RTTM, as diarbench writes it. Raises ValueError where it is not that."""
    lines = (line.split() for line in rttm.splitlines() if line.startswith("SPEAKER "))
    try:
        return sorted(Turn(float(f[3]), float(f[3]) + float(f[4]), f[7]) for f in lines)
    except IndexError as error:
        raise ValueError("not RTTM") from error


def read_regions(uem: str) -> list[tuple[float, float]]:
    """The scored regions of one recording's UEM. Raises ValueError where it is not that."""
    lines = (line.split() for line in uem.splitlines() if line.strip() and not line.startswith(";;"))
    try:
        return sorted((float(f[2]), float(f[3])) for f in lines)
    except IndexError as error:
        raise ValueError("not UEM") from error


def moments(
    reference: Iterable[Turn], hypothesis: Iterable[Turn], regions: Iterable[tuple[float, float]]
) -> list[Moment]:
    """The scored regions cut wherever anybody starts or stops; a speaker's overlapping turns count once."""
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
    """Hypothesis speaker to reference speaker, one to one, so that they share the most time in all."""
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    theirs = sorted({speaker for moment in cut for speaker in moment.hypothesis})
    ours = sorted({speaker for moment in cut for speaker in moment.reference})
    shared_s = np.zeros((len(theirs), len(ours)))
    for moment in cut:
        for hypothesis in moment.hypothesis:
            for reference in moment.reference:
                shared_s[theirs.index(hypothesis), ours.index(reference)] += moment.end_s - moment.start_s
    pairs = zip(*linear_sum_assignment(shared_s, maximize=True), strict=True)
    return {theirs[row]: ours[column] for row, column in pairs if shared_s[row, column] > 0}


def find_errors(cut: Sequence[Moment], mapping: dict[str, str]) -> list[Error]:
    """Every stretch of miss, false alarm and confusion; stretches alike that touch are one."""
    wrong = [_wrong(moment, mapping) for moment in cut]
    found = (_joined(cut, kind, [parts[number] for parts in wrong]) for number, kind in enumerate(KINDS))
    return sorted(chain.from_iterable(found))


def _joined(cut: Iterable[Moment], kind: str, wrong: Iterable[int]) -> Iterator[Error]:
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


def _wrong(moment: Moment, mapping: dict[str, str]) -> tuple[int, int, int]:
    """How many speakers are missed, false and confused in a moment."""
    reference, hypothesis = len(moment.reference), len(moment.hypothesis)
    right = sum(mapping.get(speaker) in moment.reference for speaker in moment.hypothesis)
    return max(0, reference - hypothesis), max(0, hypothesis - reference), min(reference, hypothesis) - right
