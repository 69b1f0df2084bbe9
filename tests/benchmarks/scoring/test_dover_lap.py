"""DOVER-Lap on hand-computed cases; systems that agree are not changed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diarbench.benchmarks.scoring.der import CONDITIONS, pooled, score
from diarbench.benchmarks.scoring.dover_lap import dover_lap
from diarbench.datasets.io.rttm import Region, Turn

SCORED = {"r": [Region(0, 30)]}


def fused(*systems):
    return dover_lap([{"r": [Turn(*turn) for turn in system]} for system in systems], SCORED)["r"]


def test_two_of_three_win_by_hand():
    # The third system uses other names, has B from 10 on, and has an extra speaker at 25-26.
    agreed = [(0, 10, "A"), (12, 20, "B")]
    assert fused(agreed, agreed, [(0, 10, "x"), (10, 20, "y"), (25, 26, "z")]) == [Turn(0, 10, "1"), Turn(12, 20, "2")]


def test_overlap_by_majority():
    # The mean number of speakers is 2 in 4-6, since two of three systems have both speakers there.
    both = [(0, 6, "A"), (4, 10, "B")]
    assert fused(both, both, [(0, 5, "A"), (5, 10, "B")]) == [Turn(0, 6, "1"), Turn(4, 10, "2")]


def test_names_are_matched_and_ties_go_to_the_first_system():
    assert fused([(0, 4, "A"), (4, 8, "B")], [(0, 4, "B"), (4, 8, "A")]) == [Turn(0, 4, "1"), Turn(4, 8, "2")]
    # Two systems always agree equally with each other, so the first one ranks higher.
    assert fused([(0, 10, "A")], [(0, 5, "A"), (5, 10, "B")])[-1].end_s == 10


def test_one_system_is_rejected():
    with pytest.raises(ValueError, match="at least two systems"):
        fused([(0, 1, "A")])


def test_nobody_speaks():
    assert fused([], []) == []


turn = st.tuples(st.integers(0, 20), st.integers(1, 9), st.sampled_from("ABC"))
TURNS = st.lists(turn.map(lambda t: Turn(t[0], t[0] + t[1], t[2])), max_size=8)


@given(TURNS, st.permutations("xyz"))
@settings(max_examples=50, deadline=None)
def test_equal_systems_are_unchanged(turns, names):
    renamed = [t._replace(speaker=dict(zip("ABC", names, strict=True))[t.speaker]) for t in turns]
    result = dover_lap([{"r": turns}, {"r": renamed}, {"r": turns}], SCORED)
    errors = pooled(score({"r": turns}, result, SCORED, [CONDITIONS["full"]])["full"])
    assert errors.miss == errors.false_alarm == errors.confusion == 0
