"""Scored regions cut into pieces, and the error in each of equally long windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from diarbench.benchmarks.scoring import MICROSECONDS, ScoringProtocol, sweep
from diarbench.datasets.rttm import Region, Turn
from diarbench.reports.records import ErrorSeconds


def split(regions: Sequence[Region], times_s: Sequence[float]) -> list[Region]:
    """The same regions, cut at some times."""
    edges = np.unique(np.asarray(times_s, np.float64))
    pieces: list[Region] = []
    for region in regions:
        inner = edges[(edges > region.start_s) & (edges < region.end_s)].tolist()
        pieces.extend(map(Region, [region.start_s, *inner], [*inner, region.end_s]))
    return pieces


def errors_by_window(
    reference: Mapping[str, Sequence[Turn]],
    hypothesis: Mapping[str, Sequence[Turn]],
    scored: Mapping[str, Sequence[Region]],
    protocol: ScoringProtocol,
    window_s: float,
) -> list[tuple[str, float, ErrorSeconds]]:
    """Uri, start in seconds and error of each window: laid end to end from 0, the same ones for every hypothesis."""
    longest = max((region.end_s for regions in scored.values() for region in regions), default=0.0)
    windows = int(longest // window_s) + 1
    cut = {uri: split(regions, [k * window_s for k in range(1, windows)]) for uri, regions in scored.items()}
    found = sweep(reference, hypothesis, cut, [protocol])
    group = found.recording * windows + found.start_us // round(window_s * MICROSECONDS)
    errors = found.errors(protocol.name, group, len(scored) * windows)
    return [(uri, k * window_s, errors[i * windows + k]) for i, uri in enumerate(found.uris) for k in range(windows)]
