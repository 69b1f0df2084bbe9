"""Where the errors are: error seconds by situation, the worst regions, and speaker counts.

Each slicing partitions the scored time, so the seconds of its parts add up to the total, and the contributions of its
parts to a difference between two systems add up to the difference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from diarbench.benchmarks.scoring.blocks import errors_by_window, split_regions
from diarbench.benchmarks.scoring.der import ScoringProtocol, Sweep, sweep
from diarbench.benchmarks.scoring.turns import MICROSECONDS, Ints, TurnArrays
from diarbench.datasets.io.records import Record
from diarbench.datasets.io.rttm import Region, Turn
from diarbench.reports.results.scores import MOST_IN_SLICING, SPEAKERS_SLICING, ErrorSeconds, SpeakerCounts

LENGTHS_S = (0.5, 1.0, 2.0, 5.0)

TIMES_S = (0.25, 0.5, 1.0, 2.0, 5.0)

DISTANCES_S = (0.25, 0.5, 1.0, 2.0)

SHARES = (0.05, 0.2, 0.5)

NO_SPEECH = "no speech"

RECORDING_GAP_US = 3600 * MICROSECONDS
"""Between recordings on the common axis, so that no stretch is close to a turn of another recording."""

FAR = np.iinfo(np.int64).max // 4

Slices = dict[str, dict[str, ErrorSeconds]]


class WorstRegion(Record):
    """A window of a recording and its error; times in seconds."""

    uri: str
    start_s: float
    end_s: float
    errors: ErrorSeconds


@dataclass(frozen=True)
class _Speech:
    """The turns of reference or hypothesis and the stretches of a sweep, on one time axis in microseconds."""

    turns: TurnArrays
    start: Ints
    end: Ints
    """One entry per stretch."""
    speakers: Ints
    """Number of speakers per recording in its scored regions."""

    def smallest(self, group: Ints, largest: int) -> Ints:
        """The smallest group among the turns that cover each stretch, ``largest`` if there is none.

        ``group`` has one entry per turn.
        """
        smallest = np.full(self.start.size, largest, np.int64)
        for candidate in range(largest - 1, -1, -1):
            chosen = group == candidate
            started = np.searchsorted(np.sort(self.turns.start[chosen]), self.start, side="right")
            ended = np.searchsorted(np.sort(self.turns.end[chosen]), self.start, side="right")
            smallest[started > ended] = candidate
        return smallest

    def since(self, times: Ints) -> Ints:
        """Time from the last of ``times`` to each stretch; very large before the first."""
        ordered = np.concatenate([[-FAR], np.sort(times)])
        return self.start - ordered[np.searchsorted(ordered, self.start, side="right") - 1]

    def until(self, times: Ints) -> Ints:
        """Time from each stretch to the next of ``times``; very large after the last."""
        ordered = np.concatenate([np.sort(times), [FAR]])
        return ordered[np.searchsorted(ordered, self.end, side="left")] - self.end


def slices(
    reference: Mapping[str, Sequence[Turn]],
    hypothesis: Mapping[str, Sequence[Turn]],
    scored: Mapping[str, Sequence[Region]],
    protocol: ScoringProtocol,
) -> Slices:
    """Error seconds by slicing and part: ``{"speech": {"no speech": ..., "one speaker": ..., ...}, ...}``."""
    edges = {uri: np.array([time for turn in reference.get(uri, ()) for time in turn[:2]]) for uri in scored}
    offsets = np.array([0.0, *TIMES_S, *(-distance for distance in DISTANCES_S)])
    times = {uri: np.add.outer(edges[uri], offsets).ravel() for uri in scored}
    pieces = {uri: split_regions(regions, times[uri]) for uri, regions in scored.items()}
    swept = sweep(reference, hypothesis, pieces, [protocol])
    speech = _speech(reference, swept)
    silent = swept.n_ref == 0
    starts, ends = speech.turns.start, speech.turns.end
    boundaries = np.concatenate([starts, ends])
    by_speaker = np.bincount(speech.turns.speaker, weights=ends - starts, minlength=len(speech.turns.names))
    by_recording = np.bincount(speech.turns.recording_of, weights=by_speaker, minlength=len(swept.uris))
    share = np.digitize((by_speaker / by_recording[speech.turns.recording_of])[speech.turns.speaker], SHARES)
    length = _bin(ends - starts, LENGTHS_S)
    distance = _bin(np.minimum(speech.since(boundaries), speech.until(boundaries)), DISTANCES_S)
    gap = _bin(speech.since(ends) + speech.end - speech.start + speech.until(starts), LENGTHS_S)

    groups: dict[str, tuple[list[str], Ints]] = {
        SPEAKERS_SLICING: (
            [*map(str, range(MOST_IN_SLICING)), f"{MOST_IN_SLICING} and more"],
            np.minimum(speech.speakers, MOST_IN_SLICING)[swept.recording],
        ),
        "speech": ([NO_SPEECH, "one speaker", "two speakers", "three and more"], np.minimum(swept.n_ref, 3)),
        "shortest turn": _with_part(
            silent, NO_SPEECH, _ranges(LENGTHS_S, "s"), speech.smallest(length, len(LENGTHS_S))
        ),
        "since a turn began": (_ranges(TIMES_S, "s"), _bin(speech.since(starts), TIMES_S)),
        "to the nearest boundary": (_ranges(DISTANCES_S, "s"), distance),
        "gap between turns": _with_part(~silent, "speech", _ranges(LENGTHS_S, "s"), gap),
        "least share of the speech": _with_part(
            silent, NO_SPEECH, _ranges([100 * s for s in SHARES], "%"), speech.smallest(share, len(SHARES))
        ),
        "recording": (list(swept.uris), swept.recording),
    }
    return {
        slicing: {
            label: errors
            for label, errors in zip(labels, swept.errors(protocol.name, group, len(labels)), strict=True)
            if errors != ErrorSeconds()
        }
        for slicing, (labels, group) in groups.items()
    }


def contributions(a: Slices, b: Slices) -> dict[str, dict[str, float]]:
    """Contribution of each part of each slicing to the difference in DER, B minus A, as a fraction."""
    contributed = {}
    for slicing in a:
        labels = [*a[slicing], *(label for label in b[slicing] if label not in a[slicing])]
        total = sum(errors.total for errors in a[slicing].values())
        contributed[slicing] = {
            label: (_error_s(b[slicing].get(label)) - _error_s(a[slicing].get(label))) / total
            for label in labels
            if total
        }
    return contributed


def worst_regions(
    reference: Mapping[str, Sequence[Turn]],
    hypothesis: Mapping[str, Sequence[Turn]],
    scored: Mapping[str, Sequence[Region]],
    protocol: ScoringProtocol,
    count: int = 10,
    window_s: float = 10.0,
) -> list[WorstRegion]:
    """The windows with the most error seconds, in decreasing order; windows without error are left out."""
    windows = errors_by_window(reference, hypothesis, scored, protocol, window_s, alike=count)
    worst = sorted((w for w in windows if _error_s(w[2]) > 0), key=lambda w: -_error_s(w[2]))[:count]
    return [
        WorstRegion(uri=uri, start_s=start_s, end_s=start_s + window_s, errors=errors) for uri, start_s, errors in worst
    ]


def speaker_counts(
    reference: Mapping[str, Sequence[Turn]],
    hypothesis: Mapping[str, Sequence[Turn]],
    scored: Mapping[str, Sequence[Region]],
    protocol: ScoringProtocol,
) -> SpeakerCounts:
    """Numbers of speakers in the scored regions, in the reference and in the hypothesis."""
    swept = sweep(reference, hypothesis, scored, [protocol])
    counts = zip(_speech(reference, swept).speakers.tolist(), _speech(hypothesis, swept).speakers.tolist(), strict=True)
    in_recording: dict[int, dict[int, int]] = {}
    for (ref, hyp), n in sorted(Counter(counts).items()):
        in_recording.setdefault(ref, {})[hyp] = n
    is_scored = swept.scored[protocol.name]
    pairs, inverse = np.unique(np.stack([swept.n_ref[is_scored], swept.n_hyp[is_scored]]), axis=1, return_inverse=True)
    duration = np.bincount(inverse.ravel(), weights=(swept.end_us - swept.start_us)[is_scored]) / MICROSECONDS
    at_a_time: dict[int, dict[int, float]] = {}
    for ref, hyp, seconds in zip(*pairs.tolist(), duration.tolist(), strict=True):
        at_a_time.setdefault(ref, {})[hyp] = seconds
    return SpeakerCounts(in_recording=in_recording, at_a_time=at_a_time)


def _speech(turns: Mapping[str, Sequence[Turn]], swept: Sweep) -> _Speech:
    merged = TurnArrays.from_turns(turns, swept.uris)
    edges = [part for part in (merged.start, merged.end, swept.start_us, swept.end_us) if part.size]
    origin = min((int(part.min()) for part in edges), default=0)
    length = max((int(part.max()) for part in edges), default=0) - origin + RECORDING_GAP_US
    shifted = merged.on_common_axis(origin, length)
    start, end = (swept.recording * length + part - origin for part in (swept.start_us, swept.end_us))
    is_scored = np.searchsorted(start, shifted.end) > np.searchsorted(start, shifted.start)
    speakers = shifted.recording_of[np.unique(shifted.speaker[is_scored])]
    return _Speech(shifted, start, end, np.bincount(speakers, minlength=len(swept.uris)))


def _bin(times_us: Ints, limits_s: Sequence[float]) -> Ints:
    return np.digitize(times_us, [round(limit * MICROSECONDS) for limit in limits_s])


def _error_s(errors: ErrorSeconds | None) -> float:
    return errors.miss + errors.false_alarm + errors.confusion if errors else 0.0


def _ranges(limits: Sequence[float], unit: str) -> list[str]:
    inner = [f"{low:g} to {high:g} {unit}" for low, high in pairwise(limits)]
    return [f"under {limits[0]:g} {unit}", *inner, f"{limits[-1]:g} {unit} and more"]


def _with_part(where: NDArray[np.bool_], label: str, labels: list[str], group: Ints) -> tuple[list[str], Ints]:
    """Labels and groups with an additional part for the stretches ``where`` a condition holds."""
    return [*labels, label], np.where(where, len(labels), group)
