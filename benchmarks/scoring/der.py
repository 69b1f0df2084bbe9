"""Diarization error rate, in seconds of miss, false alarm and confusion under a named protocol.

One sweep over integer microseconds scores every recording under every protocol. The conventions are those of NIST's
md-eval-22: the collar is a half-width around each reference boundary; speakers are mapped one to one, optimally, on the
whole scored region, before collars and overlap are excluded. Three points that md-eval leaves open are fixed here: a
speaker's own overlapping turns are merged first (touching turns stay separate, with a collar between them); among
equally good mappings the first by name is taken; a recording with an empty reference keeps its false alarm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from diarbench.benchmarks.scoring.mapping import map_speakers
from diarbench.benchmarks.scoring.turns import MICROSECONDS, Bools, Ints, TurnArrays, intersections, to_microseconds
from diarbench.datasets.io.records import Record
from diarbench.datasets.io.rttm import Region, Turn
from diarbench.reports.results.scores import ErrorSeconds


class ScoringProtocol(Record):
    """What is scored. All other conventions are the same for every protocol: see the module docstring."""

    name: str
    collar_s: float = Field(ge=0, allow_inf_nan=False)
    """Half-width: this much time before and after each reference boundary is not scored."""
    score_overlap: bool
    """Whether time with two or more simultaneous reference speakers is scored."""

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
"""The three that are commonly reported."""


@dataclass(frozen=True)
class Sweep:
    """The scored time, split into stretches in which nothing changes. Arrays have one entry per stretch."""

    uris: tuple[str, ...]
    recording: Ints
    """Index into ``uris``."""
    start_us: Ints
    end_us: Ints
    """Relative to the start of the recording."""
    n_ref: Ints
    n_hyp: Ints
    """Number of simultaneous speakers."""
    n_correct: Ints
    """Number of speakers that are active on both sides and mapped to each other."""
    scored: Mapping[str, Bools]
    """By protocol, whether the stretch is scored."""
    mapping: tuple[Mapping[str, str], ...]
    """Per recording, from reference speaker to hypothesis speaker; pairs without common speech are left out."""

    def errors(self, protocol: str, group: Ints, n_groups: int) -> list[ErrorSeconds]:
        """Error seconds of each group; ``group`` holds the group index of each stretch."""
        scored = self.scored[protocol]
        group, duration = group[scored], (self.end_us - self.start_us)[scored]
        ref, hyp, correct = self.n_ref[scored], self.n_hyp[scored], self.n_correct[scored]
        speakers = (ref, np.maximum(ref - hyp, 0), np.maximum(hyp - ref, 0), np.minimum(ref, hyp) - correct)
        # bincount adds floats, in which sums of integers below 2**53 are exact.
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
    """Error seconds by protocol and recording.

    Only the recordings in ``scored`` are scored, each inside its regions. The reference speech of a recording without
    hypothesis is missed; the hypothesis speech of a recording without reference is false alarm. Raises ValueError for
    a time that is not finite, and UserError for more speakers or overlapping turns than can be compared.
    """
    swept = sweep(reference, hypothesis, scored, protocols)
    return {
        protocol.name: dict(zip(swept.uris, swept.errors(protocol.name, swept.recording, len(swept.uris)), strict=True))
        for protocol in protocols
    }


def pooled(by_uri: Mapping[str, ErrorSeconds]) -> ErrorSeconds:
    """The sum over recordings; its ``der`` is the pooled rate, not the mean of the recordings' rates."""
    return sum(by_uri.values(), ErrorSeconds())


def sweep(
    reference: Mapping[str, Sequence[Turn]],
    hypothesis: Mapping[str, Sequence[Turn]],
    scored: Mapping[str, Sequence[Region]],
    protocols: Sequence[ScoringProtocol],
) -> Sweep:
    """Split the scored regions wherever a speaker, region or collar starts or ends; touching regions stay separate."""
    uris = tuple(scored)
    ref, hyp = TurnArrays.from_turns(reference, uris), TurnArrays.from_turns(hypothesis, uris)
    regions = TurnArrays.from_turns({uri: [Turn(*region, "") for region in scored[uri]] for uri in uris}, uris)

    # All recordings on one time axis, far enough apart that no collar extends into the next recording.
    collars = {protocol.collar_s: to_microseconds(protocol.collar_s) for protocol in protocols if protocol.collar_s}
    margin = max(collars.values(), default=0) + 1
    times = [part for turns in (ref, hyp, regions) for part in (turns.start, turns.end) if part.size]
    if not times:
        empty = np.zeros(0, np.int64)
        none = {protocol.name: empty.astype(bool) for protocol in protocols}
        return Sweep(uris, empty, empty, empty, empty, empty, empty, none, tuple({} for _ in uris))
    origin = min(int(part.min()) for part in times) - margin
    length = max(int(part.max()) for part in times) + margin - origin
    ref, hyp, regions = (turns.on_common_axis(origin, length) for turns in (ref, hyp, regions))

    edges = np.concatenate([ref.start, ref.end])
    collar_edges = [edges + sign * collar for collar in collars.values() for sign in (-1, 1)]
    cuts = np.sort(np.concatenate([edges, hyp.start, hyp.end, regions.start, regions.end, *collar_edges]))
    cuts = cuts[np.diff(cuts, prepend=-1) > 0]

    def depth(start: Ints, end: Ints) -> Ints:
        """Number of intervals that cover each stretch between two cuts."""
        change = np.bincount(np.searchsorted(cuts, start), minlength=cuts.size)
        change -= np.bincount(np.searchsorted(cuts, end), minlength=cuts.size)
        return np.cumsum(change)[:-1]

    inside = depth(regions.start, regions.end) > 0
    elapsed = np.concatenate([[0], np.cumsum(np.diff(cuts) * inside)])  # scored time before each cut

    which_ref, which_hyp = intersections(ref, hyp)
    start = np.maximum(ref.start[which_ref], hyp.start[which_hyp])
    end = np.minimum(ref.end[which_ref], hyp.end[which_hyp])
    shared = elapsed[np.searchsorted(cuts, end)] - elapsed[np.searchsorted(cuts, start)]
    match = map_speakers(uris, ref, hyp, ref.speaker[which_ref], hyp.speaker[which_hyp], shared)
    matched = match[ref.speaker[which_ref]] == hyp.speaker[which_hyp]

    n_ref = depth(ref.start, ref.end)[inside]
    masks = {0.0: np.ones(n_ref.size, dtype=bool)}
    for collar_s, collar in collars.items():
        masks[collar_s] = depth(edges - collar, edges + collar)[inside] == 0
    mapping: tuple[dict[str, str], ...] = tuple({} for _ in uris)
    for speaker in np.flatnonzero(match >= 0):
        mapping[ref.recording_of[speaker]][ref.names[speaker]] = hyp.names[match[speaker]]
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
