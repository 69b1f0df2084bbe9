"""Intervals and tests: by hand where that can be done, and by how often they are right where it cannot."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diarbench.benchmarks import significance
from diarbench.benchmarks.scoring import CONDITIONS, pooled, score
from diarbench.benchmarks.significance import FEW_RECORDINGS, compare, interval, units_of
from diarbench.benchmarks.windows import split
from diarbench.datasets.rttm import Region, Turn
from diarbench.reports.records import ErrorSeconds

FULL = CONDITIONS["full"]


def errors(total, *miss):
    return [ErrorSeconds(total=total, miss=part) for part in miss]


def test_exact_permutation_by_hand():
    # Of the eight sign patterns of (1, 1, 1), two sum to 3 or -3; of (3, 1, 1), the same two sum to 5 or more.
    assert compare(errors(10, 2, 2, 2), errors(10, 1, 1, 1)).p == 2 / 8
    assert compare(errors(10, 4, 2, 2), errors(10, 1, 1, 1)).p == 2 / 8
    # of (2, 1, -1): 2 is reached or passed by +-2 (+-1 cancel: 4 patterns) and +-4 (2)
    assert compare(errors(10, 3, 2, 1), errors(10, 1, 1, 2)).p == 6 / 8


def test_a_difference_has_the_sign_of_the_second_system():
    found = compare(errors(10, *[3, 4] * 10), errors(10, *[1, 3] * 10))
    assert found.der == pytest.approx(-0.15)
    assert found.interval.low < -0.15 < found.interval.high < 0
    assert found.settled and found.units_needed is None
    assert found.verdict("A", "B").startswith("B is better than A by 15.00 points of DER (p = 0.0001, 20 recordings).")


def test_equal_systems():
    found = compare(errors(10, *range(12)), errors(10, *range(12)))
    assert (found.der, found.p, found.interval.low, found.interval.high) == (0, 1, 0, 0)
    assert not found.settled and found.units_needed is None
    assert (
        found.verdict("A", "B")
        == "No verdict: 0.00 points of DER between A and B may be chance (p = 1, 12 recordings)."
    )


def test_too_little_data_is_said_plainly_and_how_much_more_would_do():
    # gained: -1 and +0.5 in turn: mean -0.25, standard deviation 0.7746
    found = compare(errors(10, *[2.0, 1.0] * 8), errors(10, *[1.0, 1.5] * 8))
    assert found.der == pytest.approx(-0.025) and not found.settled
    by_hand = ((1.959964 + 0.841621) * 0.774597 / 0.25) ** 2
    assert found.units_needed == int(np.ceil(by_hand)) == 76
    assert found.verdict("A", "B").endswith("some 76 recordings would show it four times in five.")


def test_five_recordings_can_never_decide_by_permutation():
    found = compare(errors(10, *[5] * 5), errors(10, 1.0, 1.1, 0.9, 1.0, 1.0))
    assert found.p == 2 / 32 and found.interval.high < 0
    assert not found.settled and found.units_needed == 6


def test_one_recording_has_no_interval():
    found = interval(errors(10, 3))
    assert (found.low, found.high, found.units) == (None, None, 1)
    assert not compare(errors(10, 3), errors(10, 1)).settled


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="not scored on the same reference"):
        compare(errors(10, 1, 2), errors(10, 1))
    with pytest.raises(ValueError, match="not scored on the same reference"):
        compare(errors(10, 1, 2), errors(11, 1, 2))
    with pytest.raises(ValueError, match="no reference speech"):
        compare(errors(0, 0), errors(0, 0))


@given(st.lists(st.tuples(st.floats(1, 100), st.floats(0, 1)), min_size=2, max_size=30))
def test_an_interval_is_repeatable_and_lies_among_the_recordings_rates(parts):
    listed = [ErrorSeconds(total=total, miss=total * rate) for total, rate in parts]
    found = interval(listed)
    assert found == interval(listed)
    rates = [one.der for one in listed]
    assert min(rates) - 1e-9 <= found.low <= found.high <= max(rates) + 1e-9


def test_few_recordings_are_cut_into_blocks_that_add_up():
    reference = {"r": [Turn(0, 25, "A"), Turn(30, 42, "B")], "s": [Turn(3, 8, "A")]}
    hypothesis = {"r": [Turn(0, 20, "x"), Turn(30, 42, "x")], "s": []}
    scored = {"r": [Region(0, 29), Region(29, 43)], "s": [Region(0, 60)]}
    found = units_of(reference, [hypothesis, {}], scored, FULL)
    assert found.unit == "blocks of 10 s"
    # r has blocks 0-10, ..., 40-50; of s only 0-10 has anything in it
    assert [part.total for part in found.errors[0]] == [10, 10, 5, 10, 2, 5]
    assert [part.miss for part in found.errors[0]] == [0, 0, 5, 0, 0, 5]
    assert [part.confusion for part in found.errors[0]] == [0, 0, 0, 10, 2, 0]
    for system, errors_of in zip([hypothesis, {}], found.errors, strict=True):
        whole = pooled(score(reference, system, scored, [FULL])["full"])
        assert sum(errors_of, ErrorSeconds()).model_dump() == pytest.approx(whole.model_dump())


def test_many_recordings_are_the_units():
    uris = [str(i) for i in range(FEW_RECORDINGS)]
    reference = {uri: [Turn(0, 5 + i, "A")] for i, uri in enumerate(uris)}
    scored = {uri: [Region(0, 30)] for uri in uris}
    found = units_of(reference, [{}], scored, FULL)
    assert found.unit == "recordings"
    assert [part.miss for part in found.errors[0]] == [5.0 + i for i in range(FEW_RECORDINGS)]


def test_split():
    assert split([Region(0, 5), Region(6, 9)], [7, 2, 2, 5, 11]) == [
        Region(0, 2),
        Region(2, 5),
        Region(6, 7),
        Region(7, 9),
    ]


def population(rng, recordings, drift):
    """Scored recordings of two simulated systems; ``drift`` is how many more turns the second loses or mislabels.

    Recordings differ much more than systems do: in length, in speakers, and in how hard they are for both.
    """
    reference, systems, scored = {}, ({}, {}), {}
    for i in range(recordings):
        uri, at = str(i), 0.0
        hard = rng.beta(1.2, 8)
        turns = []
        for _ in range(rng.integers(10, 40)):
            start = at + rng.normal(0.3, 0.6)
            at = max(start, 0) + rng.gamma(1.5, 1.5) + 0.1
            turns.append(Turn(round(max(start, 0), 3), round(at, 3), str(rng.integers(0, 4))))
        reference[uri], scored[uri] = turns, [Region(0, at + 1)]
        for system, rate in zip(systems, (hard, hard + drift), strict=True):
            lost = rng.random(len(turns)) < rate
            mixed = rng.random(len(turns)) < rate
            system[uri] = [
                Turn(turn.start_s, turn.end_s, str(rng.integers(0, 4)) if other else turn.speaker)
                for turn, gone, other in zip(turns, lost, mixed, strict=True)
                if not gone
            ]
    return [list(score(reference, system, scored, [FULL])["full"].values()) for system in systems]


@pytest.mark.slow
@pytest.mark.parametrize("recordings", [50, 100])
def test_intervals_cover_the_truth_and_tests_raise_no_false_alarm(recordings, monkeypatch):
    """A thousand test sets drawn from recordings whose true difference is known, since all of them are scored."""
    monkeypatch.setattr(significance, "RESAMPLES", 2000)  # for speed; more only makes the figures smoother
    rng = np.random.default_rng(6)
    a, b = population(rng, 4000, drift=0.03)
    truth_a = sum(a, ErrorSeconds()).der
    truth = sum(b, ErrorSeconds()).der - truth_a
    assert truth > 0.02
    covered = single_covered = false_alarms = 0
    for _ in range(1000):
        drawn = rng.integers(0, len(a), recordings)
        of_a, of_b = [a[i] for i in drawn], [b[i] for i in drawn]
        found = compare(of_a, of_b)
        covered += found.interval.low <= truth <= found.interval.high
        single = interval(of_a)
        single_covered += single.low <= truth_a <= single.high
        # Two systems that are alike: of each recording, chance says which output is whose.
        swapped = rng.random(recordings) < 0.5
        alike = compare(
            [y if swap else x for x, y, swap in zip(of_a, of_b, swapped, strict=True)],
            [x if swap else y for x, y, swap in zip(of_a, of_b, swapped, strict=True)],
        )
        false_alarms += alike.p < 0.05
    assert 930 <= covered <= 970
    assert 930 <= single_covered <= 970
    assert 35 <= false_alarms <= 65
