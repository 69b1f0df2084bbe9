"""Fusion of several systems by voting: DOVER-Lap (Raj et al. 2021, "DOVER-Lap: a method for combining overlap-aware
diarization outputs").

Systems are weighted by their agreement with the others, speakers are matched across systems, and at each moment the
speakers with the most votes are active, as many as the weighted mean number of speakers. Systems are matched one after
the other in order of agreement, each optimally against the union of those before it; the paper's own matching is greedy
and grows exponentially with the number of systems.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from diarbench.benchmarks.scoring.der import CONDITIONS, score, sweep
from diarbench.benchmarks.scoring.turns import merge_overlapping
from diarbench.datasets.io.rttm import Region, Turn

Turns = Mapping[str, Sequence[Turn]]

RANK_EXPONENT = 0.1
"""A system has the weight ``rank ** -RANK_EXPONENT``, as in DOVER (Stolcke and Yoshioka 2019)."""


def dover_lap(systems: Sequence[Turns], scored: Mapping[str, Sequence[Region]]) -> dict[str, list[Turn]]:
    """The fused turns of each recording of ``scored``, inside whose regions agreement is measured.

    Speakers are named by numbers from 1. Raises ValueError for fewer than two systems.
    """
    if len(systems) < 2:
        raise ValueError("DOVER-Lap needs at least two systems")
    uris = list(scored)
    merged = [merge_overlapping(system, uris) for system in systems]
    order = _by_agreement(merged, scored)
    # Entry k has, for each recording, the output of the system that ranks k-th there.
    ranked = [{uri: merged[order[uri][rank]][uri] for uri in uris} for rank in range(len(systems))]
    labelled = _match_speakers(ranked, scored)
    return {uri: _vote([system[uri] for system in labelled]) for uri in uris}


def _by_agreement(systems: Sequence[Turns], scored: Mapping[str, Sequence[Region]]) -> dict[str, list[int]]:
    """For each recording, system indices by increasing mean DER against the others; ties by position."""
    distance = {uri: [0.0] * len(systems) for uri in scored}
    for i, reference in enumerate(systems):
        for j, hypothesis in enumerate(systems):
            if i != j:
                for uri, errors in score(reference, hypothesis, scored, [CONDITIONS["full"]])["full"].items():
                    distance[uri][j] += 1.0 if errors.der is None else errors.der
    return {uri: sorted(range(len(systems)), key=lambda k: (rates[k], k)) for uri, rates in distance.items()}


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


def _vote(systems: Sequence[Sequence[Turn]]) -> list[Turn]:
    """The fused turns of one recording; ``systems`` has each system's turns in order of decreasing weight."""
    cuts = np.unique([time for turns in systems for turn in turns for time in turn[:2]])
    labels = sorted({turn.speaker for turns in systems for turn in turns}, key=int)
    if not labels:
        return []
    weights = np.arange(1, len(systems) + 1) ** -RANK_EXPONENT
    votes = np.zeros((len(labels), cuts.size - 1))
    for weight, turns in zip(weights / weights.sum(), systems, strict=True):
        for turn in turns:
            start, end = np.searchsorted(cuts, turn[:2])
            votes[labels.index(turn.speaker), start:end] += weight
    # Weights sum to 1, so the sum of all votes is the weighted mean number of speakers; halves are rounded up.
    speakers = np.floor(votes.sum(axis=0) + 0.5 + 1e-9)
    rank = np.argsort(np.argsort(-votes, axis=0, kind="stable"), axis=0)
    chosen = rank < speakers
    fused = []
    for label, active in zip(labels, chosen, strict=True):
        edges = np.flatnonzero(np.diff(active, prepend=False, append=False))
        fused += [Turn(float(cuts[a]), float(cuts[b]), label) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    return sorted(fused)
