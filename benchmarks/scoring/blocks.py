"""Error in consecutive windows of equal length, and regions split at given times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

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
    alike: int,
) -> list[tuple[str, float, ErrorSeconds]]:
    """URI, start in seconds and error of each scored window, in order.

    Windows are consecutive from 0, and are the same for every hypothesis. Of the windows that lie in one stretch in
    which nothing changes, and so are alike, the first ``alike`` are returned: a turn may last for a million windows.
    """
    swept = sweep(reference, hypothesis, scored, [protocol])
    window_us = round(window_s * MICROSECONDS)
    first, last = swept.start_us // window_us, (swept.end_us - 1) // window_us
    # Of each stretch, the window in which it starts, those that it fills, and the one in which it ends.
    before_last = np.minimum(last - first, alike + 1)
    parts = before_last + 1
    stretch = np.repeat(np.arange(parts.size), parts)
    part = np.arange(stretch.size) - np.repeat(np.cumsum(parts) - parts, parts)
    window = np.where(part == before_last[stretch], last[stretch], first[stretch] + part)
    pieces = replace(
        swept,
        recording=swept.recording[stretch],
        start_us=np.maximum(swept.start_us[stretch], window * window_us),
        end_us=np.minimum(swept.end_us[stretch], (window + 1) * window_us),
        n_ref=swept.n_ref[stretch],
        n_hyp=swept.n_hyp[stretch],
        n_correct=swept.n_correct[stretch],
        scored={name: is_scored[stretch] for name, is_scored in swept.scored.items()},
    )
    windows = int(window.max(initial=0)) + 1
    places, group = np.unique(pieces.recording * windows + window, return_inverse=True)
    errors = pieces.errors(protocol.name, group, places.size)
    recording, number = np.divmod(places, windows)
    return [
        (swept.uris[i], k * window_s, error)
        for i, k, error in zip(recording.tolist(), number.tolist(), errors, strict=True)
    ]


def split_regions(regions: Sequence[Region], times_s: Sequence[float]) -> list[Region]:
    """The regions, split at the given times."""
    edges = np.unique(np.asarray(times_s, np.float64))
    pieces: list[Region] = []
    for region in regions:
        low, high = np.searchsorted(edges, region.start_s, side="right"), np.searchsorted(edges, region.end_s)
        inner = edges[low:high].tolist()
        pieces.extend(map(Region, [region.start_s, *inner], [*inner, region.end_s]))
    return pieces
