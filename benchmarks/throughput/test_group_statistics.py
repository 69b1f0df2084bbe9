"""How often intervals cover the true difference, and equal systems are told apart, where recordings share speakers.

Two systems are drawn 1,000 times. Recordings differ in length and in the systems' true difference. A share of the
variance of this difference is common to all recordings of a group. The same draws are also compared without groups.
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


def draw(rng, groups, share, difference):
    """Two systems' errors on recordings with these groups' numbers."""
    speech_s = rng.gamma(4, 60, len(groups))
    common, own = rng.normal(0, share**0.5, max(groups) + 1)[groups], rng.normal(0, (1 - share) ** 0.5, len(groups))
    rates = 0.3 + difference + SPREAD * (common + own)
    a = [ErrorSeconds.model_construct(total=s, miss=0.3 * s, false_alarm=0.0, confusion=0.0) for s in speech_s]
    b = [
        ErrorSeconds.model_construct(total=s, miss=rate * s, false_alarm=0.0, confusion=0.0)
        for s, rate in zip(speech_s, rates, strict=True)
    ]
    return a, b


@pytest.mark.benchmark(group="statistics of groups of recordings")
@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.6, 0.9])
@pytest.mark.parametrize(("groups", "recordings"), [(2, 8), (4, 4), (7, 2), (10, 5), (20, 2)])
def test_coverage_and_false_alarms(benchmark, monkeypatch, groups, recordings, share):
    monkeypatch.setattr(significance, "RESAMPLES", RESAMPLES)
    monkeypatch.setattr(significance, "EXACT_UNITS", 12)  # for speed
    numbers = [number for number in range(groups) for _ in range(recordings)]

    def simulate():
        rng = np.random.default_rng([groups, recordings, round(10 * share)])
        found = np.zeros(5, int)
        for _ in range(DRAWS):
            differing, equal = (draw(rng, numbers, share, difference) for difference in (DIFFERENCE, 0.0))
            by_group = significance.compare(*differing, groups=numbers)
            bounds = by_group.interval
            found += (
                bounds.low <= DIFFERENCE <= bounds.high,
                by_group.is_significant,
                significance.compare(*equal, groups=numbers).is_significant,
                significance.compare(*differing).is_significant,
                significance.compare(*equal).is_significant,
            )
        return found

    found = 100 * benchmark.pedantic(simulate, rounds=1) / DRAWS
    names = ("covered", "power", "false_alarms", "power_of_recordings", "false_alarms_of_recordings")
    benchmark.extra_info.update({f"{name}_percent": float(value) for name, value in zip(names, found, strict=True)})
