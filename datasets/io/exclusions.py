"""What a reference says is not scored: NOSCORE and NON-LEX zones, as in NIST's md-eval-22."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from diarbench.datasets.io.rttm import Region, RttmRecording

LONGEST_EXTENSION_S = 0.5


def unscored(recording: RttmRecording) -> list[Region]:
    """The stretches of a recording that are not scored, sorted and merged.

    A NON-LEX zone (a laugh, a breath, a cough) is extended by up to half a second at both ends, but not beyond the
    start or end of a turn or of a LEXEME.
    """
    lexemes = _merged(recording.zones["LEXEME"])
    edges = sorted(
        {time for turn in recording.turns for time in turn[:2]} | {time for word in lexemes for time in word}
    )
    zones = list(recording.zones["NOSCORE"])
    for start_s, end_s in recording.zones["NON-LEX"]:
        before, after = bisect_right(edges, start_s), bisect_left(edges, end_s)
        start_s = (
            start_s
            if _inside(lexemes, start_s)
            else max([start_s - LONGEST_EXTENSION_S, *edges[max(0, before - 1) : before]])
        )
        end_s = end_s if _inside(lexemes, end_s) else min([end_s + LONGEST_EXTENSION_S, *edges[after : after + 1]])
        zones.append(Region(start_s, end_s))
    return _merged(zones)


def outside(regions: Iterable[Region], zones: list[Region]) -> list[Region]:
    """The parts of some regions that are outside zones, which are sorted and merged."""
    parts = []
    ends = [zone.end_s for zone in zones]
    for start_s, end_s in regions:
        for zone in zones[bisect_right(ends, start_s) :]:
            if zone.start_s >= end_s:
                break
            if zone.start_s > start_s:
                parts.append(Region(start_s, zone.start_s))
            start_s = zone.end_s
        if start_s < end_s:
            parts.append(Region(start_s, end_s))
    return parts


def _merged(regions: Iterable[Region]) -> list[Region]:
    merged: list[Region] = []
    for region in sorted(regions):
        if merged and region.start_s <= merged[-1].end_s:
            merged[-1] = Region(merged[-1].start_s, max(merged[-1].end_s, region.end_s))
        else:
            merged.append(region)
    return merged


def _inside(regions: list[Region], time_s: float) -> bool:
    """Whether a time is inside one of some sorted regions, and not at its edge."""
    at = bisect_left(regions, (time_s,)) - 1
    return at >= 0 and time_s < regions[at].end_s
