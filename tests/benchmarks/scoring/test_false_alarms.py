"""False verdicts on real outputs: two systems are made equal by swapping their outputs of each recording at random."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from places import SCORING_ORACLE

from diarbench.benchmarks.scoring import significance
from diarbench.benchmarks.scoring.der import CONDITIONS, score
from diarbench.benchmarks.scoring.inputs import read_inputs
from diarbench.benchmarks.scoring.significance import compare, compare_seeds
from diarbench.datasets.folds import number_groups
from diarbench.reports.results.scores import ErrorSeconds

FULL = CONDITIONS["full"]
DRAWS = 400
MOST = 0.05 + 3 * (0.05 * 0.95 / DRAWS) ** 0.5
"""Three standard errors above the level of 5 %."""


@pytest.mark.skipif(not SCORING_ORACLE.is_dir(), reason="no folder of oracle data")
@pytest.mark.parametrize(
    ("corpus", "names"),
    [
        ("ami_test", ("dz_pyannote_baseline", "dz_wavlm_updated_conformer")),
        ("ami_test", ("dz_pyannote_baseline", "vbx")),
        ("voxconverse_test", ("vbx", "diart_online5s")),
    ],
)
def test_equal_systems_rarely_get_a_verdict(corpus, names, monkeypatch):
    """Blocks of 10 s gave a verdict in 61 to 75 % of draws, blocks of 300 s in 21 to 47 %."""
    monkeypatch.setattr(significance, "RESAMPLES", 500)  # for speed
    folder = SCORING_ORACLE / corpus
    inputs = read_inputs(folder / "ref.rttm", [folder / f"{name}.rttm" for name in names], folder / f"{names[0]}.uem")
    a, b = (list(score(inputs.reference, h, inputs.scored, [FULL])["full"].values()) for h in inputs.hypotheses)
    rng = np.random.default_rng(1)
    for recordings in (2, 5, 7, 9, 14):
        verdicts = 0
        for _ in range(DRAWS):
            drawn = rng.permutation(len(a))[:recordings]
            swapped = rng.random(recordings) < 0.5
            sides = [(b[k], a[k]) if swap else (a[k], b[k]) for k, swap in zip(drawn, swapped, strict=True)]
            verdicts += compare([x for x, _ in sides], [y for _, y in sides]).is_significant
        assert verdicts / DRAWS <= (0 if recordings < 6 else MOST)


@pytest.mark.skipif(not SCORING_ORACLE.is_dir(), reason="no folder of oracle data")
@pytest.mark.parametrize("name", ["dz_pyannote_baseline", "dz_wavlm_updated_conformer"])
def test_systems_that_are_equal_for_each_group_rarely_get_a_verdict(name):
    """AMI's 16 test meetings are four meetings of each of four groups of people, and a system suits some people."""
    folder = SCORING_ORACLE / "ami_test"
    hypotheses = [folder / f"{name}.rttm", folder / "vbx.rttm"]
    inputs = read_inputs(folder / "ref.rttm", hypotheses, folder / "dz_pyannote_baseline.uem")
    numbers = number_groups(inputs.reference)
    groups = [numbers[uri] for uri in inputs.scored]
    assert Counter(groups) == dict.fromkeys(set(groups), 4) and len(set(groups)) == 4
    a, b = (list(score(inputs.reference, h, inputs.scored, [FULL])["full"].values()) for h in inputs.hypotheses)
    alone = by_group = 0
    for signs in range(2**4):
        swapped = [signs >> sorted(set(groups)).index(group) & 1 for group in groups]
        sides = [(y, x) if swap else (x, y) for x, y, swap in zip(a, b, swapped, strict=True)]
        alone += compare([x for x, _ in sides], [y for _, y in sides]).is_significant
        by_group += compare([x for x, _ in sides], [y for _, y in sides], groups=groups).is_significant
    assert 4 <= alone <= 8 and by_group == 0, "four groups say nothing about other people"


@pytest.mark.parametrize("sizes", [(4, 3, 3, 2, 2, 1), (8, 4, 2, 1, 1, 1, 1, 1), (10, *[1] * 10)])
def test_systems_that_are_equal_for_other_speakers_rarely_get_a_verdict(sizes, monkeypatch):
    """Groups of unequal size, whose recordings are alike; the whole measurement is in `test_group_statistics`."""
    monkeypatch.setattr(significance, "RESAMPLES", 500)  # for speed
    groups = np.repeat(np.arange(len(sizes)), sizes)
    rng = np.random.default_rng(5)
    verdicts = alone = 0
    for _ in range(DRAWS):
        changes = rng.normal(0, 8, len(sizes))[groups] + rng.normal(0, 6, groups.size)
        a = [ErrorSeconds(total=100, miss=50)] * groups.size
        b = [ErrorSeconds(total=100, miss=50 + float(change)) for change in changes]
        verdicts += compare(a, b, groups=groups.tolist()).is_significant
        alone += compare(a, b).is_significant
    assert verdicts / DRAWS <= MOST < alone / DRAWS


@pytest.mark.parametrize("seed_points", [0.0, 1.0, 4.0])
def test_equal_recipes_with_several_seeds_rarely_get_a_verdict(seed_points):
    """Three seeds each of the same recipe: seeds differ as a whole, recordings differ, and both interact."""
    rng = np.random.default_rng(2)
    verdicts = alone = 0
    for _ in range(DRAWS):
        difficulty = rng.gamma(4, 5, 20)
        seeds = [
            [
                ErrorSeconds(total=100, miss=float(miss))
                for miss in np.maximum(0, difficulty + luck + rng.normal(0, 2, 20))
            ]
            for luck in rng.normal(0, seed_points, 6)
        ]
        verdicts += compare_seeds(seeds[:3], seeds[3:]).is_significant
        alone += compare(seeds[0], seeds[3]).is_significant
    assert verdicts / DRAWS <= MOST
    if seed_points >= 1:
        assert alone / DRAWS > MOST, "one seed each says nothing about the recipes: the verdict says 'one seed each'"
