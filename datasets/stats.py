"""What a reference holds: who speaks how long, and how many at once."""

from __future__ import annotations

from collections.abc import Iterable

from diarbench.datasets.rttm import Region, Turn


def seconds_by_speakers(turns: Iterable[Turn], regions: Iterable[Region]) -> dict[int, float]:
    """Seconds inside the regions in which so many turns are active (0: nobody speaks).

    A speaker's turns should not overlap one another, nor regions one another: each would count twice.
    """
    events = [event for start, end, _ in turns for event in ((start, 1, 0), (end, -1, 0))]
    events += [event for start, end in regions for event in ((start, 0, 1), (end, 0, -1))]
    seconds: dict[int, float] = {}
    active = inside = 0
    before = 0.0
    for time, speakers, region in sorted(events):
        if inside and time > before:
            seconds[active] = seconds.get(active, 0.0) + time - before
        before = time
        active += speakers
        inside += region
    return seconds
