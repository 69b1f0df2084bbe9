"""How often a cross-validation's interval covers the true difference, and how often equal systems are told apart.

Two systems are drawn 1,000 times. Recordings differ in length, in difficulty and in the systems' true difference. Each
training, one a fold and repetition, has a deviation of its own that all recordings of its fold share. The difference to
cover is that of the whole population, over all trainings.
"""

from __future__ import annotations

import numpy as np
import pytest

from diarbench.benchmarks.scoring import significance
from diarbench.benchmarks.scoring.significance import compare_seeds
from diarbench.reports.results.scores import ErrorSeconds

DRAWS = 1000

DIFFERENCE = 0.03
"""The true difference of DER."""

SPREAD = 0.08
"""Standard deviation over recordings of the difference between the systems."""

RESAMPLES = 2000
"""Fewer than in reports, for speed."""


def draw(rng, recordings, folds, repetitions, training, difference):
    """The errors of two systems, each ``[repetition][recording]``, and the folds of the first repetition.

    ``training`` is the standard deviation of a training's DER.
    """
    speech_s = rng.gamma(4, 60, recordings)
    difficulty = rng.beta(2, 8, recordings)
    own = rng.normal(difference, SPREAD, recordings) / 2
    divisions = [rng.permutation(recordings) % folds for _ in range(repetitions)]
    systems = []
    for sign in (-1, 1):
        outputs = []
        for division in divisions:
            rates = difficulty + sign * own + rng.normal(0, training, folds)[division]
            outputs.append(
                [
                    ErrorSeconds(total=s, miss=s * rate)
                    for s, rate in zip(speech_s.tolist(), rates.tolist(), strict=True)
                ]
            )
        systems.append(outputs)
    return *systems, (), list(divisions[0])


@pytest.mark.benchmark(group="statistics of a cross-validation")
@pytest.mark.parametrize("training", [0.0, 0.01, 0.02])
@pytest.mark.parametrize("repetitions", [1, 3])
@pytest.mark.parametrize(("recordings", "folds"), [(14, 7), (50, 5)])
def test_coverage_and_false_alarms(benchmark, monkeypatch, recordings, folds, repetitions, training):
    monkeypatch.setattr(significance, "RESAMPLES", RESAMPLES)

    def simulate():
        rng = np.random.default_rng([recordings, folds, repetitions, round(1000 * training)])
        covered = alarms = 0
        for _ in range(DRAWS):
            bounds = compare_seeds(*draw(rng, recordings, folds, repetitions, training, DIFFERENCE)).interval
            covered += bounds.low <= DIFFERENCE <= bounds.high
            alarms += compare_seeds(*draw(rng, recordings, folds, repetitions, training, 0.0)).p < 0.05
        return covered, alarms

    covered, alarms = benchmark.pedantic(simulate, rounds=1)
    benchmark.extra_info.update(covered_percent=100 * covered / DRAWS, false_alarms_percent=100 * alarms / DRAWS)
