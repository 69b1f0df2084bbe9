"""How often intervals cover the true difference, and equal systems are told apart, where recordings share speakers.

Two systems are drawn 1,000 times. Recordings differ in length and in the systems' true difference. A share of the
variance of this difference is common to all recordings of a group. The same draws are also compared without groups.
Figures are of the draws with groups as the units; in the others, groups were too few or too unequal to be the units.
"""

from __future__ import annotations

import numpy as np
import pytest

from diarbench.benchmarks.scoring import significance
from diarbench.reports.results.scores import ErrorSeconds
from diarbench.reports.results.statistics import GROUPS

DRAWS = 1000

DIFFERENCE = 0.05
"""The true difference of DER."""

SPREAD = 0.08
"""Standard deviation over recordings of the difference between the systems."""

RESAMPLES = 2000
"""Fewer than in reports, for speed."""

DESIGNS = {
    "4 of 4": (4,) * 4,
    "7 of 2": (2,) * 7,
    "10 of 5": (5,) * 10,
    "20 of 2": (2,) * 20,
    "6, 4, 2, 2": (6, 4, 2, 2),
    "4, 3, 3, 2, 2, 1": (4, 3, 3, 2, 2, 1),
    "8, 4, 2, and 5 of 1": (8, 4, 2, 1, 1, 1, 1, 1),
    "10, and 20 of 1": (10, *(1,) * 20),
    "20, and 20 of 1": (20, *(1,) * 20),
}
"""The numbers of recordings of the groups."""


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
@pytest.mark.parametrize("design", DESIGNS)
def test_coverage_and_false_alarms(benchmark, monkeypatch, design, share):
    monkeypatch.setattr(significance, "RESAMPLES", RESAMPLES)
    monkeypatch.setattr(significance, "EXACT_UNITS", 12)  # for speed
    numbers = [number for number, recordings in enumerate(DESIGNS[design]) for _ in range(recordings)]

    def simulate():
        rng = np.random.default_rng([*DESIGNS[design], round(10 * share)])
        found = []
        for _ in range(DRAWS):
            differing, equal = (draw(rng, numbers, share, difference) for difference in (DIFFERENCE, 0.0))
            by_group, alarm = (significance.compare(*both, groups=numbers) for both in (differing, equal))
            if by_group.interval.unit == alarm.interval.unit == GROUPS:
                found.append(
                    (
                        by_group.interval.low <= DIFFERENCE <= by_group.interval.high,
                        by_group.is_significant,
                        alarm.is_significant,
                        significance.compare(*differing).is_significant,
                        significance.compare(*equal).is_significant,
                    )
                )
        return found

    found = benchmark.pedantic(simulate, rounds=1)
    names = ("covered", "power", "false_alarms", "power_of_recordings", "false_alarms_of_recordings")
    percent = 100 * np.mean(found, axis=0)
    benchmark.extra_info.update({f"{name}_percent": float(value) for name, value in zip(names, percent, strict=True)})
    benchmark.extra_info["draws_by_group"] = len(found)
