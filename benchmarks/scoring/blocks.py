"""Error in consecutive windows of equal length, and the splitting of scored regions that it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from diarbench.benchmarks.scoring.der import ScoringProtocol, sweep
from diarbench.benchmarks.scoring.turns import MICROSECONDS
from diarbench.datasets.io.rttm import Region, Turn
from diarbench.reports.results.scores import ErrorSeconds


def errors_by_window(
    reference: Mapping[str, Sequence[Turn]],
    hypothesis: Mapping[str, Sequence[Turn]],
    scored: Mapping[str, Sequence[Region]],
    protocol: ScoringProtocol,
    window_s: float,
) -> list[tuple[str, float, ErrorSeconds]]:
    """URI, start in seconds and error of each window.

    Windows are consecutive from 0, and are the same for every hypothesis.
    """
    longest = max((region.end_s for regions in scored.values() for region in regions), default=0.0)
    windows = int(longest // window_s) + 1
    times_s = [k * window_s for k in range(1, windows)]
    swept = sweep(
        reference, hypothesis, {uri: split_regions(regions, times_s) for uri, regions in scored.items()}, [protocol]
    )
    group = swept.recording * windows + swept.start_us // round(window_s * MICROSECONDS)
    errors = swept.errors(protocol.name, group, len(scored) * windows)
    return [(uri, k * window_s, errors[i * windows + k]) for i, uri in enumerate(swept.uris) for k in range(windows)]


def split_regions(regions: Sequence[Region], times_s: Sequence[float]) -> list[Region]:
    """The regions, split at the given times."""
    edges = np.unique(np.asarray(times_s, np.float64))
    pieces: list[Region] = []
    for region in regions:
        inner = edges[(edges > region.start_s) & (edges < region.end_s)].tolist()
        pieces.extend(map(Region, [region.start_s, *inner], [*inner, region.end_s]))
    return pieces
