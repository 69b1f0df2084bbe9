"""Intervals and tests against hand-computed values, scipy, and their error rates in simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import permutation_test, t

from diarbench.benchmarks.scoring import significance
from diarbench.benchmarks.scoring.blocks import split_regions
from diarbench.benchmarks.scoring.der import CONDITIONS, score
from diarbench.benchmarks.scoring.significance import compare, compare_seeds, interval, permutation_p
from diarbench.datasets.io.rttm import Region, Turn
from diarbench.reports.results.scores import ErrorSeconds
from diarbench.reports.results.statistics import Difference, Interval

FULL = CONDITIONS["full"]


def errors(total, *miss):
    return [ErrorSeconds(total=total, miss=part) for part in miss]


def test_exact_permutation_by_hand():
    # Of the eight sign patterns of (1, 1, 1), two sum to 3 or -3; of (3, 1, 1), the same two sum to 5 or more.
    assert compare(errors(10, 2, 2, 2), errors(10, 1, 1, 1)).p == 2 / 8
    assert compare(errors(10, 4, 2, 2), errors(10, 1, 1, 1)).p == 2 / 8
    # Of (2, 1, -1), a sum of at least 2 is reached by +-2 (where +-1 cancel: 4 patterns) and +-4 (2 patterns).
    assert compare(errors(10, 3, 2, 1), errors(10, 1, 1, 2)).p == 6 / 8


@given(st.lists(st.integers(-20, 20), min_size=2, max_size=10))
def test_exact_permutation_equals_scipy(tenths):
    differences = np.array(tenths, float)  # whole numbers, of which scipy's sums are exact
    scipy_result = permutation_test(
        (differences,),
        lambda signed, axis: np.abs(signed.sum(axis=axis)),
        permutation_type="samples",
        vectorized=True,
        n_resamples=2**differences.size,
        alternative="greater",
    )
    assert permutation_p(differences) == scipy_result.pvalue


def test_random_permutation_equals_scipy_within_sampling_error():
    differences = np.random.default_rng(0).normal(0.2, 1, 50)
    scipy_result = permutation_test(
        (differences,),
        lambda signed, axis: np.abs(signed.sum(axis=axis)),
        permutation_type="samples",
        vectorized=True,
        n_resamples=significance.RESAMPLES,
        alternative="greater",
        rng=np.random.default_rng(1),
    )
    assert permutation_p(differences) == pytest.approx(scipy_result.pvalue, abs=0.02)


def test_zero_sum_is_not_broken_by_rounding():
    assert permutation_p(np.array([0.1, 2.0, -0.9, -1.2])) == 1  # in floats, these sum to 2e-16


def test_a_difference_has_the_sign_of_the_second_system():
    comparison = compare(errors(10, *[3, 4] * 10), errors(10, *[1, 3] * 10))
    assert comparison.der == pytest.approx(-0.15)
    assert comparison.interval.low < -0.15 < comparison.interval.high < 0
    assert comparison.is_significant and comparison.units_needed is None
    assert comparison.verdict("A", "B").startswith(
        "B is better than A by 15.00 points of DER (p at most 0.0001, 20 recordings, 0 favour A, 20 favour B)."
    )


def test_equal_systems():
    comparison = compare(errors(10, *range(12)), errors(10, *range(12)))
    assert (comparison.der, comparison.p, comparison.interval.low, comparison.interval.high) == (0, 1, 0, 0)
    assert not comparison.is_significant and comparison.units_needed is None
    assert comparison.verdict("A", "B") == (
        "No significant difference: 0.00 points of DER between A and B (p = 1, 12 recordings, 0 favour A, 0 favour B)."
    )


def test_units_needed_for_a_verdict():
    # Differences alternate between -1 and +0.5: mean -0.25, standard deviation 0.7746.
    comparison = compare(errors(10, *[2.0, 1.0] * 8), errors(10, *[1.0, 1.5] * 8))
    assert comparison.der == pytest.approx(-0.025) and not comparison.is_significant
    # Student's t with n - 1 degrees of freedom: quantiles of 1.99 and 0.85 at 79 recordings.
    needed = [((t.ppf(0.975, n - 1) + t.ppf(0.8, n - 1)) * 0.774597 / 0.25) ** 2 <= n for n in (77, 78, 79)]
    assert comparison.units_needed == 77 + needed.index(True)
    assert comparison.verdict("A", "B").endswith(
        f"; about {comparison.units_needed} recordings (13.0 minutes of speech) would be needed to show it "
        "(80 % power)."
    )


def test_five_recordings_are_never_significant():
    comparison = compare(errors(10, *[5] * 5), errors(10, 1.0, 1.1, 0.9, 1.0, 1.0))
    assert comparison.p == 2 / 32 and comparison.interval.high < 0
    assert not comparison.is_significant and comparison.units_needed == 6
    assert comparison.verdict("A", "B").endswith("; at least 6 recordings are needed for one.")


def test_one_recording_has_no_interval():
    comparison = interval(errors(10, 3))
    assert (comparison.low, comparison.high, comparison.units) == (None, None, 1)
    assert not compare(errors(10, 3), errors(10, 1)).is_significant


def test_systems_scored_differently_are_rejected():
    with pytest.raises(ValueError, match="not scored on the same reference"):
        compare(errors(10, 1, 2), errors(10, 1))
    with pytest.raises(ValueError, match="not scored on the same reference"):
        compare(errors(10, 1, 2), errors(11, 1, 2))
    with pytest.raises(ValueError, match="no reference speech"):
        compare(errors(0, 0), errors(0, 0))


@given(st.lists(st.tuples(st.floats(50, 100), st.floats(0, 1)), min_size=12, max_size=30))
@settings(deadline=None)
def test_bootstrap_interval_is_repeatable_and_within_the_range_of_rates(parts):
    recordings = [ErrorSeconds(total=total, miss=total * rate) for total, rate in parts]
    bounds = interval(recordings)
    assert bounds == interval(recordings)
    rates = [recording.der for recording in recordings]
    assert min(rates) - 1e-9 <= bounds.low <= bounds.high <= max(rates) + 1e-9


def test_few_recordings_have_a_t_interval_by_hand():
    # Rates of 0.1, 0.2 and 0.3: mean 0.2, standard error 0.1 / sqrt(3), t with two degrees of freedom 4.3027.
    bounds = interval(errors(10, 1, 2, 3))
    assert bounds.high == pytest.approx(0.2 + 4.3027 * 0.1 / 3**0.5, abs=1e-5)
    assert (bounds.low, bounds.units, bounds.unit) == (0, 3, "recordings"), "a rate is never negative"
    difference = compare(errors(10, 0, 0, 0), errors(10, 1, 2, 3))
    assert difference.interval.low == pytest.approx(0.2 - 4.3027 * 0.1 / 3**0.5, abs=1e-5)


def test_the_verdict_names_the_recordings_that_decide():
    uris = [f"r{k}" for k in range(30)]
    # B is better on 27 of 30 by 0.5 s; three recordings, on which it fails, hide it.
    hidden = compare(errors(10, *[3.0] * 30), errors(10, *[2.5, 2.4, 2.6] * 9, 9.5, 9.0, 9.2), uris)
    assert not hidden.is_significant and (hidden.better_a, hidden.better_b) == (3, 27)
    assert set(hidden.outliers) == {"r27", "r28", "r29"}
    assert "3 favour A, 27 favour B" in hidden.verdict("A", "B")
    assert "; without r27, r29, r28 it would be significant; about" in hidden.verdict("A", "B")
    # Without the first two recordings the difference is within chance.
    made = compare(errors(10, *[3.0] * 30), errors(10, 2.2, 2.3, *[2.7, 3.15] * 14), uris)
    assert made.is_significant and set(made.outliers) <= {"r0", "r1"} and made.outliers
    assert "it would not be shown" in made.verdict("A", "B")
    assert compare(errors(10, *[3.0] * 30), errors(10, *[2.5, 2.4, 2.6] * 10), uris).outliers == ()


def test_a_difference_that_no_test_set_would_show():
    nearly_equal = compare(errors(10, *[3.0, 2.0] * 8), errors(10, *[2.0, 2.999] * 8))
    assert nearly_equal.units_needed > 1600 and nearly_equal.is_beyond_reach
    assert nearly_equal.verdict("A", "B").endswith("; no number of recordings worth having would show it.")


def test_p_at_the_floor_of_resampling_is_at_most():
    clear = compare(errors(10, *[3.0, 3.1] * 10), errors(10, *[2.0, 2.1] * 10))
    assert clear.p_at_most and "p at most 0.0001" in clear.verdict("A", "B")
    exact = compare(errors(10, *[3.0, 3.1] * 5), errors(10, *[2.0, 2.1] * 5))
    assert exact.p == 2 / 2**10 and not exact.p_at_most and "p = 0.002" in exact.verdict("A", "B")


def test_blocks_of_old_results_give_no_verdict():
    old = Difference(
        der=-0.1, interval=Interval(low=-0.2, high=-0.1, units=276, unit="blocks of 10 s"), p=0.001, units_needed=None
    )
    assert not old.is_significant
    assert old.verdict("A", "B").startswith("No verdict: 10.00 points of DER between A and B (p = 0.001, 276 blocks of")


def test_seeds_count_as_what_they_are_by_hand():
    # B's seeds differ by 2 points, A's by none: the variance over seeds is (0.02**2 / 2) / 2 = 0.0001.
    a, b = errors(10, *[3.0, 2.0] * 8), [errors(10, *[2.7, 1.9] * 8), errors(10, *[2.9, 2.1] * 8)]
    both = compare_seeds([a, a], b)
    alone = compare(a, [ErrorSeconds(total=10, miss=miss) for miss in [2.8, 2.0] * 8])
    assert both.der == pytest.approx(alone.der) == pytest.approx(-0.01)
    over_recordings = 0.1 / 15**0.5 / 10  # the differences are -0.2 and 0: standard deviation 0.1 * sqrt(16 / 15)
    variance = over_recordings**2 + 0.0001
    freedom = variance**2 / (over_recordings**4 / 15 + 0.0001**2)
    assert both.p == pytest.approx(2 * t.sf(0.01 / variance**0.5, freedom))
    assert alone.is_significant and not both.is_significant and both.needs_seeds
    assert both.verdict("A", "B").endswith(
        "2 seeds each); the seeds differ too much for any number of recordings: more seeds are needed."
    )
    assert compare_seeds([a], [b[0]]).verdict("A", "B").count("one seed each") == 1


def test_split_regions():
    assert split_regions([Region(0, 5), Region(6, 9)], [7, 2, 2, 5, 11]) == [
        Region(0, 2),
        Region(2, 5),
        Region(6, 7),
        Region(7, 9),
    ]


def test_the_trainings_of_folds_are_part_of_the_error():
    """Twelve recordings of 10 s; B has 1, 2 and 3 s more error on each of the three folds' four recordings."""
    a = [ErrorSeconds(total=10, miss=1)] * 12
    b = [ErrorSeconds(total=10, miss=1 + extra) for extra in (1, 2, 3) for _ in range(4)]
    by_fold = compare_seeds([a], [b], folds=[1] * 4 + [2] * 4 + [3] * 4)
    # The folds' residuals are -4, 0 and 4 s of 120 s, the recordings' -1, 0 and 1 s: variances of 3 / 2 * 32 and of
    # 12 / 11 * 8 over 120**2. The second is that of the recordings, with 11 degrees of freedom; the rest has 2.
    of_folds, of_recordings = 1.5 * 32, 12 / 11 * 8
    freedom = of_folds**2 / (of_recordings**2 / 11 + (of_folds - of_recordings) ** 2 / 2)
    margin = t.ppf(0.975, freedom) * of_folds**0.5 / 120
    assert (by_fold.der, by_fold.folds, by_fold.interval.units) == (pytest.approx(0.2), 3, 12)
    assert (by_fold.interval.low, by_fold.interval.high) == pytest.approx((0.2 - margin, 0.2 + margin))
    assert by_fold.p == pytest.approx(2 * t.sf(0.2 / (of_folds**0.5 / 120), freedom))
    assert ", over 3 folds, whose trainings differ" in by_fold.verdict("A", "B")
    # Where the systems differed as much before they were trained, this is no deviation of trainings.
    untrained = compare_seeds([a], [b], folds=[1] * 4 + [2] * 4 + [3] * 4, training_s=[0.0] * 12)
    assert untrained == compare_seeds([a], [b])
    # Two seeds that agree share the folds' deviation; seeds alone would not show it.
    by_seed = compare_seeds([a, a], [b, b], folds=[1] * 4 + [2] * 4 + [3] * 4)
    assert (by_seed.interval, by_seed.p, by_seed.folds) == (by_fold.interval, by_fold.p, 3)
    assert compare_seeds([a, a], [b, b]).p < 0.01
    # In folds that hold one recording of each kind, recordings are the units, as without folds.
    assert compare_seeds([a], [b], folds=[1, 2, 3, 4] * 3) == compare_seeds([a], [b])


def test_groups_that_share_speakers_are_the_units():
    """Twelve recordings of 10 s in six groups of two; B differs by the same in both recordings of a group."""
    uris, groups = [f"r{n}" for n in range(12)], [n // 2 for n in range(12)]
    changes = [-0.5, -0.2, -0.1, -0.8, -0.4, 0.1]
    a, b = errors(10, *[5.0] * 12), errors(10, *(5 + change for change in changes for _ in range(2)))
    by_group = compare(a, b, uris, groups)
    # The figures are as if each group were one recording of 20 s.
    alone = compare(errors(20, *[10.0] * 6), errors(20, *(10 + 2 * change for change in changes)))
    assert (by_group.interval.unit, by_group.interval.units) == ("groups", 6)
    assert (by_group.p, by_group.units_needed) == (alone.p, alone.units_needed) == (6 / 64, 11)
    assert by_group.interval.low == pytest.approx(alone.interval.low)
    # By recordings, they are about other recordings of these speakers.
    assert not by_group.is_significant and by_group.for_these == by_group.of_these
    assert by_group.of_these.p == compare(a, b, uris).p and by_group.of_these.interval.units == 12
    assert by_group.verdict("A", "B") == (
        f"B is better than A by 3.17 points of DER for these speakers (p = {by_group.of_these.p:.2g}, 12 recordings "
        "that share speakers, 2 favour A, 10 favour B); for other speakers it is not shown (p = 0.094, 6 groups of "
        "recordings); about 11 groups (3.7 minutes of speech) would be needed to show it (80 % power)."
    )
    assert by_group.reversed().verdict("B", "A") == by_group.verdict("A", "B").replace(
        "2 favour A, 10 favour B", "10 favour B, 2 favour A"
    )
    single = errors(20, *(10 + 2 * change for change in changes))
    assert interval(b, groups) == interval(single).model_copy(update={"unit": "groups"})
    # The choice does not depend on the figures: groups whose recordings are unlike are the units too.
    assert compare(a, b, uris, [0, 1, 2, 3, 0, 1, 4, 5, 2, 3, 4, 5]).interval.unit == "groups"


@pytest.mark.parametrize("groups", [[0] * 8, [0, 1] * 4, [0, 0, 1, 1, 1, 2, 2, 2], [0, 0, 0, 0, 1, 2, 3, 4]])
def test_fewer_than_six_groups_say_nothing_about_other_speakers(groups):
    uris = [f"r{n}" for n in range(8)]
    a, b = errors(10, *[5.0] * 8), errors(10, 4.0, 4.1, 4.2, 4.3, 4.0, 4.1, 4.2, 4.3)
    these, alone = compare(a, b, uris, groups), compare(a, b, uris)
    assert (these.p, these.interval.low, these.interval.units) == (alone.p, alone.interval.low, 8)
    assert not these.is_significant and these.verdict("A", "B") == (
        "B is better than A by 8.50 points of DER for these speakers (p = 0.0078, 8 recordings that share speakers, "
        "0 favour A, 8 favour B); fewer than 6 groups without common speakers say nothing about others."
    )
    assert interval(b, groups).counted == "8 recordings that share speakers"


def test_a_host_in_most_recordings_does_not_hide_a_difference():
    """One host in forty recordings, and thirty recordings of others; all favour B."""
    groups = [0] * 40 + list(range(1, 31))
    a, b = errors(10, *[5.0] * 70), errors(10, *[4.0, 4.4] * 35)
    host, both = compare(a[:40], b[:40], groups=[0] * 40), compare(a, b, groups=groups)
    assert host.for_these and not host.is_significant
    assert both.is_significant and both.interval.units == 31


def test_unequal_groups_have_the_variance_and_the_freedom_of_what_they_are_worth():
    """Groups of 2 and five of 1 recording, each of 10 s: 7**2 / 9 = 49 / 9 effective groups."""
    b = errors(10, 4.5, 4.5, 5.5, 4.0, 4.0, 4.5, 4.5)
    difference = compare(errors(10, *[5.0] * 7), b, groups=[0, 0, 1, 2, 3, 4, 5])
    # B minus A is -3.5 s of 70 s; without each group -2.5 of 50, and -4, -2.5, -2.5, -3 and -3 of 60.
    without = np.array([-2.5 / 50, -4 / 60, -2.5 / 60, -2.5 / 60, -3 / 60, -3 / 60])
    variance = 5 / 6 * ((without + 0.05) ** 2).sum()
    assert difference.der == pytest.approx(-0.05)
    assert difference.interval.high == pytest.approx(-0.05 + t.ppf(0.975, 49 / 9 - 1) * variance**0.5)
    # Of the sign patterns of (-1, 0.5, -1, -1, -0.5, -0.5), 18 have a sum of at least 3.5 in size.
    assert difference.p == permutation_p(np.array([-1, 0.5, -1, -1, -0.5, -0.5]))


def test_a_unit_with_all_speech_leaves_the_interval_unknown():
    recordings = [ErrorSeconds(total=100, miss=10), *[ErrorSeconds(total=0, false_alarm=1)] * 6]
    assert (interval(recordings).low, interval(recordings).units) == (None, 7)
    assert not compare(recordings, [ErrorSeconds(total=100), *recordings[1:]]).is_significant


def test_a_difference_without_variance_is_certain():
    uris, groups = [f"r{n}" for n in range(12)], [n // 2 for n in range(12)]
    certain = compare(errors(10, *[5.0] * 12), errors(10, *[4.0] * 12), uris, groups)
    assert certain.is_significant and certain.interval.low == certain.interval.high == -0.1
    equal = compare(errors(10, *[5.0] * 12), errors(10, *[5.0] * 12), uris, groups)
    assert not equal.is_significant and equal.p == 1


def test_a_group_that_decides_is_named_by_its_recordings():
    uris, groups = [f"r{n}" for n in range(24)], [n // 2 for n in range(24)]
    b = errors(10, *(miss for miss in (9.0, *[2.5, 2.4, 2.6] * 3, 2.5, 2.6) for _ in range(2)))
    hidden = compare(errors(10, *[3.0] * 24), b, uris, groups)
    assert (hidden.better_a, hidden.better_b, hidden.outliers) == (1, 11, ("r0", "r1"))


def population(rng, recordings, drift):
    """Scored recordings of two simulated systems; the second loses and mislabels a share ``drift`` more turns.

    Recordings differ much more than the systems: in length, in speakers, and in difficulty for both systems.
    """
    reference, systems, scored = {}, ({}, {}), {}
    for i in range(recordings):
        uri, end = str(i), 0.0
        difficulty = rng.beta(1.2, 8)
        turns = []
        for _ in range(rng.integers(10, 40)):
            start = end + rng.normal(0.3, 0.6)
            end = max(start, 0) + rng.gamma(1.5, 1.5) + 0.1
            turns.append(Turn(round(max(start, 0), 3), round(end, 3), str(rng.integers(0, 4))))
        reference[uri], scored[uri] = turns, [Region(0, end + 1)]
        for system, rate in zip(systems, (difficulty, difficulty + drift), strict=True):
            lost = rng.random(len(turns)) < rate
            mislabelled = rng.random(len(turns)) < rate
            system[uri] = [
                Turn(turn.start_s, turn.end_s, str(rng.integers(0, 4)) if is_wrong else turn.speaker)
                for turn, is_lost, is_wrong in zip(turns, lost, mislabelled, strict=True)
                if not is_lost
            ]
    return [list(score(reference, system, scored, [FULL])["full"].values()) for system in systems]


@pytest.mark.slow
@pytest.mark.parametrize("recordings", [50, 100])
def test_intervals_cover_the_truth_and_tests_raise_no_false_alarm(recordings, monkeypatch):
    """A thousand test sets are drawn from a population of recordings whose true difference is known."""
    monkeypatch.setattr(significance, "RESAMPLES", 2000)  # for speed
    rng = np.random.default_rng(6)
    a, b = population(rng, 4000, drift=0.03)
    truth_a = sum(a, ErrorSeconds()).der
    truth = sum(b, ErrorSeconds()).der - truth_a
    assert truth > 0.02
    covered = single_covered = false_alarms = 0
    for _ in range(1000):
        drawn = rng.integers(0, len(a), recordings)
        drawn_a, drawn_b = [a[i] for i in drawn], [b[i] for i in drawn]
        comparison = compare(drawn_a, drawn_b)
        covered += comparison.interval.low <= truth <= comparison.interval.high
        single = interval(drawn_a)
        single_covered += single.low <= truth_a <= single.high
        # Two equal systems: for each recording, the two outputs are swapped at random.
        swapped = rng.random(recordings) < 0.5
        equal = compare(
            [y if swap else x for x, y, swap in zip(drawn_a, drawn_b, swapped, strict=True)],
            [x if swap else y for x, y, swap in zip(drawn_a, drawn_b, swapped, strict=True)],
        )
        false_alarms += equal.p < 0.05
    assert 930 <= covered <= 970
    assert 930 <= single_covered <= 970
    assert 35 <= false_alarms <= 65
