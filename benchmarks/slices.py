"""Where a system fails: the error's seconds by what was going on, the worst regions, and speaker counts.

Each slicing divides all scored time into parts, so that its parts' seconds add up to the whole, and the parts' share of
a difference between two systems adds up to the difference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from diarbench.benchmarks.scoring import MICROSECONDS, Ints, ScoringProtocol, Sweep, TurnArrays, sweep
from diarbench.benchmarks.windows import errors_by_window, split
from diarbench.datasets.rttm import Region, Turn
from diarbench.reports.records import ErrorSeconds, Record, SpeakerCounts

LENGTHS_S = (0.5, 1.0, 2.0, 5.0)
TIMES_S = (0.25, 0.5, 1.0, 2.0, 5.0)
DISTANCES_S = (0.25, 0.5, 1.0, 2.0)
SHARES = (0.05, 0.2, 0.5)
NO_SPEECH = "no speech"
AN_HOUR_US = 3600 * MICROSECONDS
"""Between recordings on their common axis, so that what is before the first turn or after the last is far from any."""
FAR = np.iinfo(np.int64).max // 4

Slices = dict[str, dict[str, ErrorSeconds]]


class WorstRegion(Record):
    """A window of a recording with much error; times in seconds."""

    uri: str
    start_s: float
    end_s: float
    errors: ErrorSeconds


@dataclass(frozen=True)
class _Speech:
    """One side's turns of all recordings on one axis, and the stretches of a sweep on the same; in microseconds."""

    turns: TurnArrays
    start: Ints
    end: Ints
    """Of each stretch."""
    speakers: Ints
    """How many each recording has in its scored regions."""

    def smallest(self, group: Ints, largest: int) -> Ints:
        """The least group among the turns that cover each stretch; ``largest`` where there is none."""
        found = np.full(self.start.size, largest, np.int64)
        for one in range(largest - 1, -1, -1):
            chosen = group == one
            begun = np.searchsorted(np.sort(self.turns.start[chosen]), self.start, side="right")
            over = np.searchsorted(np.sort(self.turns.end[chosen]), self.start, side="right")
            found[begun > over] = one
        return found

    def since(self, times: Ints) -> Ints:
        """From the last of some times to each stretch; very long before the first."""
        ordered = np.concatenate([[-FAR], np.sort(times)])
        return self.start - ordered[np.searchsorted(ordered, self.start, side="right") - 1]

    def until(self, times: Ints) -> Ints:
        """From each stretch to the next of some times; very long after the last."""
        ordered = np.concatenate([np.sort(times), [FAR]])
        return ordered[np.searchsorted(ordered, self.end, side="left")] - self.end


def slices(
    reference: Mapping[str, Sequence[Turn]],
    hypothesis: Mapping[str, Sequence[Turn]],
    scored: Mapping[str, Sequence[Region]],
    protocol: ScoringProtocol,
) -> Slices:
    """Seconds by slicing and part: ``{"speech": {"no speech": ..., "one speaker": ..., ...}, ...}``."""
    edges = {uri: np.array([time for turn in reference.get(uri, ()) for time in turn[:2]]) for uri in scored}
    reach = np.array([0.0, *TIMES_S, *(-distance for distance in DISTANCES_S)])
    cut = {uri: split(regions, np.add.outer(edges[uri], reach).ravel()) for uri, regions in scored.items()}
    found = sweep(reference, hypothesis, cut, [protocol])
    speech = _speech(reference, found)
    silent = found.n_ref == 0
    starts, ends = speech.turns.start, speech.turns.end
    boundaries = np.concatenate([starts, ends])
    own = np.bincount(speech.turns.speaker, weights=ends - starts, minlength=len(speech.turns.names))
    everyone = np.bincount(speech.turns.recording_of, weights=own, minlength=len(found.uris))
    share = np.digitize((own / everyone[speech.turns.recording_of])[speech.turns.speaker], SHARES)
    length = _class(ends - starts, LENGTHS_S)
    distance = _class(np.minimum(speech.since(boundaries), speech.until(boundaries)), DISTANCES_S)
    gap = _class(speech.since(ends) + speech.end - speech.start + speech.until(starts), LENGTHS_S)

    named: dict[str, tuple[list[str], Ints]] = {
        "speakers in the recording": (
            [*map(str, range(5)), "5 and more"],
            np.minimum(speech.speakers, 5)[found.recording],
        ),
        "speech": ([NO_SPEECH, "one speaker", "two speakers", "three and more"], np.minimum(found.n_ref, 3)),
        "shortest turn": _except(silent, NO_SPEECH, _ranges(LENGTHS_S, "s"), speech.smallest(length, len(LENGTHS_S))),
        "since a turn began": (_ranges(TIMES_S, "s"), _class(speech.since(starts), TIMES_S)),
        "to the nearest boundary": (_ranges(DISTANCES_S, "s"), distance),
        "gap between turns": _except(~silent, "speech", _ranges(LENGTHS_S, "s"), gap),
        "least share of the speech": _except(
            silent, NO_SPEECH, _ranges([100 * s for s in SHARES], "%"), speech.smallest(share, len(SHARES))
        ),
        "recording": (list(found.uris), found.recording),
    }
    return {
        slicing: {
            label: errors
            for label, errors in zip(labels, found.errors(protocol.name, group, len(labels)), strict=True)
            if errors != ErrorSeconds()
        }
        for slicing, (labels, group) in named.items()
    }


def contributions(a: Slices, b: Slices) -> dict[str, dict[str, float]]:
    """Which part of the difference in DER, B's minus A's, each part of each slicing explains; as fractions."""
    found = {}
    for slicing in a:
        labels = [*a[slicing], *(label for label in b[slicing] if label not in a[slicing])]
        total = sum(errors.total for errors in a[slicing].values())
        found[slicing] = {
            label: (_wrong(b[slicing].get(label)) - _wrong(a[slicing].get(label))) / total for label in labels if total
        }
    return found


def worst_regions(
    reference: Mapping[str, Sequence[Turn]],
    hypothesis: Mapping[str, Sequence[Turn]],
    scored: Mapping[str, Sequence[Region]],
    protocol: ScoringProtocol,
    count: int = 10,
    window_s: float = 10.0,
) -> list[WorstRegion]:
    """The windows with the most error, worst first; none is without error."""
    windows = errors_by_window(reference, hypothesis, scored, protocol, window_s)
    worst = sorted((w for w in windows if _wrong(w[2]) > 0), key=lambda w: -_wrong(w[2]))[:count]
    return [
        WorstRegion(uri=uri, start_s=start_s, end_s=start_s + window_s, errors=errors) for uri, start_s, errors in worst
    ]


def speaker_counts(
    reference: Mapping[str, Sequence[Turn]],
    hypothesis: Mapping[str, Sequence[Turn]],
    scored: Mapping[str, Sequence[Region]],
    protocol: ScoringProtocol,
) -> SpeakerCounts:
    """Numbers of speakers in the scored regions, right and wrong."""
    found = sweep(reference, hypothesis, scored, [protocol])
    counts = zip(_speech(reference, found).speakers.tolist(), _speech(hypothesis, found).speakers.tolist(), strict=True)
    in_recording: dict[int, dict[int, int]] = {}
    for (ref, hyp), n in sorted(Counter(counts).items()):
        in_recording.setdefault(ref, {})[hyp] = n
    counted = found.scored[protocol.name]
    pairs, inverse = np.unique(np.stack([found.n_ref[counted], found.n_hyp[counted]]), axis=1, return_inverse=True)
    duration = np.bincount(inverse.ravel(), weights=(found.end_us - found.start_us)[counted]) / MICROSECONDS
    at_a_time: dict[int, dict[int, float]] = {}
    for ref, hyp, seconds in zip(*pairs.tolist(), duration.tolist(), strict=True):
        at_a_time.setdefault(ref, {})[hyp] = seconds
    return SpeakerCounts(in_recording=in_recording, at_a_time=at_a_time)


def _speech(turns: Mapping[str, Sequence[Turn]], found: Sweep) -> _Speech:
    merged = TurnArrays.merged(turns, found.uris)
    edges = [part for part in (merged.start, merged.end, found.start_us, found.end_us) if part.size]
    origin = min((int(part.min()) for part in edges), default=0)
    length = max((int(part.max()) for part in edges), default=0) - origin + AN_HOUR_US
    placed = merged.placed(origin, length)
    start, end = (found.recording * length + part - origin for part in (found.start_us, found.end_us))
    heard = np.searchsorted(start, placed.end) > np.searchsorted(start, placed.start)
    speakers = placed.recording_of[np.unique(placed.speaker[heard])]
    return _Speech(placed, start, end, np.bincount(speakers, minlength=len(found.uris)))


def _class(times_us: Ints, limits_s: Sequence[float]) -> Ints:
    return np.digitize(times_us, [round(limit * MICROSECONDS) for limit in limits_s])


def _wrong(errors: ErrorSeconds | None) -> float:
    return errors.miss + errors.false_alarm + errors.confusion if errors else 0.0


def _ranges(limits: Sequence[float], unit: str) -> list[str]:
    inner = [f"{low:g} to {high:g} {unit}" for low, high in pairwise(limits)]
    return [f"under {limits[0]:g} {unit}", *inner, f"{limits[-1]:g} {unit} and more"]


def _except(where: NDArray[np.bool_], label: str, labels: list[str], group: Ints) -> tuple[list[str], Ints]:
    """Another part for some stretches, whatever their group."""
    return [*labels, label], np.where(where, len(labels), group)
