"""One output out of several systems', by vote: DOVER-Lap (Raj et al. 2021, "DOVER-Lap: a method for combining
overlap-aware diarization outputs").

Systems are weighted by how well they agree with the others, speakers are matched across systems, and at each moment the
weighted mean number of speakers is taken, those with the most votes first. Speakers are matched one system after the
other, the most agreeable first, each optimally against the union of those before it; the paper's own matching is greedy
and grows exponentially with the number of systems.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from diarbench.benchmarks.scoring import CONDITIONS, Sweep, merge_overlapping, score, sweep
from diarbench.datasets.rttm import Region, Turn

Turns = Mapping[str, Sequence[Turn]]

RANK_EXPONENT = 0.1
"""A system's weight is its rank to the power of minus this, as in DOVER (Stolcke and Yoshioka 2019)."""


def dover_lap(systems: Sequence[Turns], scored: Mapping[str, Sequence[Region]]) -> dict[str, list[Turn]]:
    """The fused turns of each recording of ``scored``; its regions are where agreement is measured.

    Speakers are numbered from 1. Raises ValueError with fewer than two systems.
    """
    if len(systems) < 2:
        raise ValueError("a fusion needs two systems or more")
    uris = list(scored)
    merged = [merge_overlapping(system, uris) for system in systems]
    order = _by_agreement(merged, scored)
    # The k-th of these has, for each recording, the system that came k-th there.
    ranked = [{uri: merged[order[uri][rank]][uri] for uri in uris} for rank in range(len(systems))]
    labelled = _match_speakers(ranked, scored)
    return {uri: _vote([system[uri] for system in labelled]) for uri in uris}


def _by_agreement(systems: Sequence[Turns], scored: Mapping[str, Sequence[Region]]) -> dict[str, list[int]]:
    """For each recording, the systems from the one with the least mean error against the others; ties by position."""
    distance = {uri: [0.0] * len(systems) for uri in scored}
    for i, one in enumerate(systems):
        for j, other in enumerate(systems):
            if i != j:
                for uri, errors in score(one, other, scored, [CONDITIONS["full"]])["full"].items():
                    distance[uri][j] += 1.0 if errors.der is None else errors.der
    return {uri: sorted(range(len(systems)), key=lambda k: (found[k], k)) for uri, found in distance.items()}


def _match_speakers(systems: Sequence[Turns], scored: Mapping[str, Sequence[Region]]) -> list[dict[str, list[Turn]]]:
    """The same turns, with speakers numbered alike wherever they are matched."""
    union: dict[str, list[Turn]] = {uri: [] for uri in scored}
    labelled = []
    for system in systems:
        found: Sweep = sweep(union, system, scored, [])
        renamed = {}
        for uri, mapping in zip(found.uris, found.mapping, strict=True):
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
    """One recording's turns, from the systems' in order of weight."""
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
    # A mean number of speakers is the sum of all votes, since each is worth its system's weight; a half is rounded up.
    speakers = np.floor(votes.sum(axis=0) + 0.5 + 1e-9)
    place = np.argsort(np.argsort(-votes, axis=0, kind="stable"), axis=0)
    chosen = place < speakers
    fused = []
    for label, active in zip(labels, chosen, strict=True):
        edges = np.flatnonzero(np.diff(active, prepend=False, append=False))
        fused += [Turn(float(cuts[a]), float(cuts[b]), label) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    return sorted(fused)
