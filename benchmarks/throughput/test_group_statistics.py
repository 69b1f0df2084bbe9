"""Coverage of intervals and false alarms of tests, where recordings share speakers.

Two systems are drawn 1,000 times. Recordings differ in length and in the systems' true difference. A share of the
variance of this difference is common to all recordings of a group: normal, or exponential, so that few groups differ
much. The same draws are also compared by recordings.
"""

from __future__ import annotations

import numpy as np
import pytest

from diarbench.benchmarks.scoring import significance
from diarbench.reports.results.scores import ErrorSeconds

DRAWS = 1000

DIFFERENCE = 0.05
"""The true difference of DER."""

SPREAD = 0.08
"""Standard deviation over recordings of the difference between the systems."""

RESAMPLES = 2000
"""Fewer than in reports, for speed."""

DESIGNS = {
    "7 of 2": (2,) * 7,
    "10 of 5": (5,) * 10,
    "20 of 2": (2,) * 20,
    "4, 3, 3, 2, 2, 1": (4, 3, 3, 2, 2, 1),
    "8, 4, 2, and 5 of 1": (8, 4, 2, 1, 1, 1, 1, 1),
    "10, and 20 of 1": (10, *(1,) * 20),
    "20, and 20 of 1": (20, *(1,) * 20),
}
"""The numbers of recordings of the groups."""


SHAPES = {"normal": lambda rng, size: rng.normal(0, 1, size), "skewed": lambda rng, size: rng.exponential(1, size) - 1}
"""Of what is common to a group: zero on average, with a variance of 1."""


def draw(rng, groups, shape, share, difference):
    """Two systems' errors on recordings with these groups' numbers."""
    speech_s = rng.gamma(4, 60, len(groups))
    common = share**0.5 * SHAPES[shape](rng, max(groups) + 1)[groups]
    own = rng.normal(0, (1 - share) ** 0.5, len(groups))
    rates = 0.3 + difference + SPREAD * (common + own)
    a = [ErrorSeconds.model_construct(total=s, miss=0.3 * s, false_alarm=0.0, confusion=0.0) for s in speech_s]
    b = [
        ErrorSeconds.model_construct(total=s, miss=rate * s, false_alarm=0.0, confusion=0.0)
        for s, rate in zip(speech_s, rates, strict=True)
    ]
    return a, b


@pytest.mark.benchmark(group="statistics of groups of recordings")
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("design", DESIGNS)
def test_coverage_and_false_alarms(benchmark, monkeypatch, design, shape, share):
    monkeypatch.setattr(significance, "RESAMPLES", RESAMPLES)
    monkeypatch.setattr(significance, "EXACT_UNITS", 12)  # for speed
    numbers = [number for number, recordings in enumerate(DESIGNS[design]) for _ in range(recordings)]

    def simulate():
        rng = np.random.default_rng([*DESIGNS[design], round(10 * share)])
        found = np.zeros(5, int)
        for _ in range(DRAWS):
            differing, equal = (draw(rng, numbers, shape, share, difference) for difference in (DIFFERENCE, 0.0))
            by_group, alarm = (significance.compare(*both, groups=numbers) for both in (differing, equal))
            bounds = by_group.interval
            found += (
                bounds.low <= DIFFERENCE <= bounds.high,
                by_group.is_significant,
                alarm.is_significant,
                by_group.of_these.is_shown,
                alarm.of_these.is_shown,
            )
        return found

    found = 100 * benchmark.pedantic(simulate, rounds=1) / DRAWS
    names = ("covered", "power", "false_alarms", "power_of_recordings", "false_alarms_of_recordings")
    benchmark.extra_info.update({f"{name}_percent": float(value) for name, value in zip(names, found, strict=True)})
