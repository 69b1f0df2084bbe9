"""Fusion of several systems by voting: DOVER-Lap (Raj et al. 2021, "DOVER-Lap: a method for combining overlap-aware
diarization outputs").

Systems are weighted by their agreement with the others, speakers are matched across systems, and at each moment the
speakers with the most votes are active, as many as the weighted mean number of speakers. As in the authors' tool
(dover-lap 1.3), the votes are smoothed over neighbouring stretches. Three things differ from it: agreement is measured
in both directions, so that a system does not gain by leaving speech out; systems that agree equally have equal weights,
as any two do, where the tool ranks them at random; and systems are matched one after the other in order of agreement,
each optimally against the union of those before it, since the paper's greedy matching grows exponentially with the
number of systems.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from diarbench.benchmarks.scoring.der import CONDITIONS, score, sweep
from diarbench.benchmarks.scoring.turns import merge_overlapping
from diarbench.datasets.io.rttm import Region, Turn

Turns = Mapping[str, Sequence[Turn]]

RANK_EXPONENT = 0.1
"""A system has the weight ``rank ** -RANK_EXPONENT``, as in DOVER (Stolcke and Yoshioka 2019)."""

SMOOTHING = 0.5
"""Standard deviation of the Gaussian over the votes, in stretches in which nothing changes: the tool's default."""


def dover_lap(systems: Sequence[Turns], scored: Mapping[str, Sequence[Region]]) -> dict[str, list[Turn]]:
    """The fused turns of each recording of ``scored``, inside whose regions agreement is measured.

    Speakers are named by numbers from 1. Raises ValueError for fewer than two systems.
    """
    from scipy.stats import rankdata

    if len(systems) < 2:
        raise ValueError("DOVER-Lap needs at least two systems")
    uris = list(scored)
    merged = [merge_overlapping(system, uris) for system in systems]
    distances = _distances(merged, scored)
    order = {uri: sorted(range(len(systems)), key=lambda k: (of[k], k)) for uri, of in distances.items()}
    # Entry k has, for each recording, the output of the system that ranks k-th there.
    ranked = [{uri: merged[order[uri][rank]][uri] for uri in uris} for rank in range(len(systems))]
    labelled = _match_speakers(ranked, scored)
    weights = {uri: np.sort(rankdata(of)) ** -RANK_EXPONENT for uri, of in distances.items()}
    return {uri: _vote([system[uri] for system in labelled], weights[uri]) for uri in uris}


def _distances(systems: Sequence[Turns], scored: Mapping[str, Sequence[Region]]) -> dict[str, list[float]]:
    """For each recording and system, the error between it and the others, relative to the speech of both."""
    distances = {uri: [0.0] * len(systems) for uri in scored}
    for i, j in combinations(range(len(systems)), 2):
        for uri, errors in score(systems[i], systems[j], scored, [CONDITIONS["full"]])["full"].items():
            speech_s = 2 * errors.total - errors.miss + errors.false_alarm
            for k in (i, j):
                distances[uri][k] += round(errors.error_s / speech_s, 9) if speech_s else 0.0
    return distances


def _match_speakers(systems: Sequence[Turns], scored: Mapping[str, Sequence[Region]]) -> list[dict[str, list[Turn]]]:
    """The same turns, with matched speakers under the same number."""
    union: dict[str, list[Turn]] = {uri: [] for uri in scored}
    labelled = []
    for system in systems:
        swept = sweep(union, system, scored, [])
        renamed = {}
        for uri, mapping in zip(swept.uris, swept.mapping, strict=True):
            names = {theirs: ours for ours, theirs in mapping.items()}
            known = len({turn.speaker for turn in union[uri]})
            for turn in system[uri]:
                if turn.speaker not in names:
                    known += 1
                    names[turn.speaker] = str(known)
            renamed[uri] = [turn._replace(speaker=names[turn.speaker]) for turn in system[uri]]
            union[uri] = [*union[uri], *renamed[uri]]
        labelled.append(renamed)
    return labelled


def _vote(systems: Sequence[Sequence[Turn]], weights: NDArray[np.float64]) -> list[Turn]:
    """The fused turns of one recording."""
    cuts = np.unique([time for turns in systems for turn in turns for time in turn[:2]])
    from scipy.ndimage import gaussian_filter1d

    labels = sorted({turn.speaker for turns in systems for turn in turns}, key=int)
    if not labels:
        return []
    votes = np.zeros((len(labels), cuts.size - 1))
    for weight, turns in zip(weights / weights.sum(), systems, strict=True):
        for turn in turns:
            start, end = np.searchsorted(cuts, turn[:2])
            votes[labels.index(turn.speaker), start:end] += weight
    spoken = votes.any(axis=0)
    votes[:, spoken] = gaussian_filter1d(votes[:, spoken], SMOOTHING, axis=1, mode="nearest")
    # Weights sum to 1, so the sum of all votes is the weighted mean number of speakers; halves are rounded up.
    speakers = np.floor(votes.sum(axis=0) + 0.5 + 1e-9)
    rank = np.argsort(np.argsort(-votes, axis=0, kind="stable"), axis=0)
    chosen = rank < speakers
    fused = []
    for label, active in zip(labels, chosen, strict=True):
        edges = np.flatnonzero(np.diff(active, prepend=False, append=False))
        fused += [Turn(float(cuts[a]), float(cuts[b]), label) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    return sorted(fused)
