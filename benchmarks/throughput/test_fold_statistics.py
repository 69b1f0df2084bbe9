"""How often a cross-validation's interval covers the true difference, and how often equal systems are told apart.

Two systems are drawn 1,000 times. Recordings differ in length, in difficulty and in the systems' true difference. Each
training, one a fold, repetition and seed, has a deviation that all recordings of its fold share: half of its variance
comes from the training data and is the same for all seeds of a fold, half from the seed. The difference to cover is
that of the whole population, over all trainings. Where the network was pretrained, its errors are known too.
"""

from __future__ import annotations

import numpy as np
import pytest

from diarbench.benchmarks.runs.comparison import difference_of
from diarbench.benchmarks.scoring import significance
from diarbench.reports.results.scores import FileScore, Row

DRAWS = 1000

DIFFERENCE = 0.03
"""The true difference of DER."""

SPREAD = 0.08
"""Standard deviation over recordings of the difference between the systems."""

HALF = 0.5**0.5

RESAMPLES = 2000
"""Fewer than in reports, for speed."""


def draw(rng, recordings, folds, repetitions, seeds, training, difference, pretrained):
    """What `difference_of` takes: two systems' rows, one a repetition and seed; no groups; rows before training."""
    speech_s = rng.gamma(4, 60, recordings)
    difficulty = rng.beta(2, 8, recordings)
    own = rng.normal(difference, SPREAD, recordings) / 2
    divisions = [rng.permutation(recordings) % folds for _ in range(repetitions)]
    systems, starts = [], {}
    for sign in (-1, 1):
        rows = []
        before = row(str(sign), 0, speech_s, difficulty + sign * own, divisions[0])
        starts |= {before.run: before} if pretrained else {}
        for division in divisions:
            of_data = rng.normal(0, training * HALF, folds)
            for seed in range(seeds):
                deviation = of_data + rng.normal(0, training * HALF, folds)
                rates = difficulty + sign * own + deviation[division]
                rows.append(row(str(sign), seed, speech_s, rates, division))
        systems.append(rows)
    return *systems, {}, starts


def row(run, seed, speech_s, rates, division):
    files = tuple(
        FileScore.model_construct(uri=str(n), total=s, miss=s * rate, false_alarm=0.0, confusion=0.0)
        for n, (s, rate) in enumerate(zip(speech_s.tolist(), rates.tolist(), strict=True))
    )
    return Row.model_construct(run=run, seed=seed, stage="finetuned", files=files, folds=tuple(division.tolist()))


@pytest.mark.benchmark(group="statistics of a cross-validation")
@pytest.mark.parametrize("pretrained", [True, False])
@pytest.mark.parametrize("training", [0.0, 0.01, 0.02])
@pytest.mark.parametrize(("repetitions", "seeds"), [(1, 1), (3, 1), (1, 3), (2, 2)])
@pytest.mark.parametrize(("recordings", "folds"), [(14, 7), (50, 5)])
def test_coverage_and_false_alarms(benchmark, monkeypatch, recordings, folds, repetitions, seeds, training, pretrained):
    monkeypatch.setattr(significance, "RESAMPLES", RESAMPLES)

    def simulate():
        rng = np.random.default_rng([recordings, folds, repetitions, seeds, round(1000 * training)])
        covered = alarms = 0
        design = recordings, folds, repetitions, seeds, training
        for _ in range(DRAWS):
            bounds = difference_of(*draw(rng, *design, DIFFERENCE, pretrained)).interval
            covered += bounds.low <= DIFFERENCE <= bounds.high
            alarms += difference_of(*draw(rng, *design, 0.0, pretrained)).p < 0.05
        return covered, alarms

    covered, alarms = benchmark.pedantic(simulate, rounds=1)
    benchmark.extra_info.update(covered_percent=100 * covered / DRAWS, false_alarms_percent=100 * alarms / DRAWS)
