"""Slices of a small meeting against hand-computed values; the parts of generated meetings add up."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diarbench.benchmarks.scoring.blocks import split_regions
from diarbench.benchmarks.scoring.der import CONDITIONS, pooled, score, sweep
from diarbench.benchmarks.scoring.slices import contributions, slices, speaker_counts, worst_regions
from diarbench.datasets.io.rttm import LONGEST_S, Region, Turn
from diarbench.reports.results.scores import ErrorSeconds

FULL = CONDITIONS["full"]

# A speaks 0-6 and 14-14.4, B 5-8; the gap between 8 and 14 is six seconds. Of 9.4 s of speech A has 6.4, B 3.
REFERENCE = {"r": [Turn(0, 6, "A"), Turn(5, 8, "B"), Turn(14, 14.4, "A")]}
# x misses B's second in the overlap and A's last turn, gives B's other two seconds to A, and speaks from 10 to 12.
HYPOTHESIS = {"r": [Turn(0, 8, "x"), Turn(10, 12, "x")]}
SCORED = {"r": [Region(0, 20)]}


def turns_of(names):
    turn = st.tuples(st.integers(-500, 30_000), st.integers(1, 8000), st.sampled_from(names))
    return st.lists(turn.map(lambda t: Turn(t[0] / 1000, (t[0] + t[1]) / 1000, t[2])), max_size=10)


def parts(slicing):
    sliced = slices(REFERENCE, HYPOTHESIS, SCORED, FULL)[slicing]
    return {label: (e.total, e.miss, e.false_alarm, e.confusion) for label, e in sliced.items()}


@pytest.mark.parametrize(
    ("slicing", "expected"),
    [
        ("speakers in the recording", {"2": (9.4, 1.4, 2, 2)}),
        ("recording", {"r": (9.4, 1.4, 2, 2)}),
        ("speech", {"no speech": (0, 0, 2, 0), "one speaker": (7.4, 0.4, 0, 2), "two speakers": (2, 1, 0, 0)}),
        (
            "shortest turn",
            {
                "under 0.5 s": (0.4, 0.4, 0, 0),
                "2 to 5 s": (4, 1, 0, 2),
                "5 s and more": (5, 0, 0, 0),
                "no speech": (0, 0, 2, 0),
            },
        ),
        (
            "since a turn began",  # A at 0, B at 5, A at 14
            {
                "under 0.25 s": (0.25 + 2 * 0.25 + 0.25, 0.25 + 0.25, 0, 0),
                "0.25 to 0.5 s": (0.25 + 2 * 0.25 + 0.15, 0.25 + 0.15, 0, 0),
                "0.5 to 1 s": (0.5 + 2 * 0.5, 0.5, 0, 0),
                "1 to 2 s": (1 + 1, 0, 0, 1),
                "2 to 5 s": (3 + 1, 0, 0, 1),
                "5 s and more": (0, 0, 2, 0),  # 10-12 is 5 to 7 s after the start of B
            },
        ),
        (
            "to the nearest boundary",  # 0, 5, 6, 8, 14, 14.4
            {
                "under 0.25 s": (0.25 + 0.25 + 4 * 0.25 + 2 * 0.25 + 0.4, 2 * 0.25 + 0.4, 0, 2 * 0.25),
                "0.25 to 0.5 s": (0.25 + 0.25 + 4 * 0.25 + 2 * 0.25, 2 * 0.25, 0, 2 * 0.25),
                "0.5 to 1 s": (0.5 + 0.5 + 1, 0, 0, 1),
                "1 to 2 s": (2, 0, 0, 0),  # 12 is 2 s before 14, so the false alarm is in the next part
                "2 s and more": (1, 0, 2, 0),
            },
        ),
        ("gap between turns", {"5 s and more": (0, 0, 2, 0), "speech": (9.4, 1.4, 0, 2)}),
        (
            "least share of the speech",  # A has 68 %, B 32 %
            {"20 to 50 %": (4, 1, 0, 2), "50 % and more": (5.4, 0.4, 0, 0), "no speech": (0, 0, 2, 0)},
        ),
    ],
)  # fmt: skip
def test_by_hand(slicing, expected):
    sliced = parts(slicing)
    assert sliced.keys() == expected.keys()
    for label, seconds in expected.items():
        assert sliced[label] == pytest.approx(seconds), label


def test_worst_regions_by_hand():
    sliced = worst_regions(REFERENCE, HYPOTHESIS, SCORED, FULL, count=2, window_s=5.0)
    # 5-10 has 1 s of miss and 2 s of confusion, 10-15 has 2 s of false alarm and 0.4 s of miss
    assert [(w.uri, w.start_s, w.end_s) for w in sliced] == [("r", 5, 10), ("r", 10, 15)]
    assert sliced[0].errors == ErrorSeconds(total=4, miss=1, confusion=2)
    assert len(worst_regions(REFERENCE, HYPOTHESIS, SCORED, FULL, window_s=5.0)) == 2


def test_the_work_is_in_proportion_to_turns():
    """Three years in one turn are ten million windows of 10 s, all of them as bad."""
    start_s, end_s = 3.0, LONGEST_S - 4
    scored = {"r": [Region(0, LONGEST_S)]}
    worst = worst_regions({"r": [Turn(start_s, end_s, "A")]}, {"r": [Turn(0, 3, "x")]}, scored, FULL, count=2)
    assert [(w.start_s, w.errors.miss, w.errors.false_alarm) for w in worst] == [(0, 7, 3), (10, 10, 0)]
    worst = worst_regions({}, {"r": [Turn(start_s, end_s, "x")]}, scored, FULL, count=10**4)
    assert len(worst) == 10**4 and worst[-1].start_s == 10**5
    (last,) = worst_regions({"r": [Turn(end_s - 5, end_s, "A")]}, {}, scored, FULL)
    assert (last.start_s, last.errors.miss) == (LONGEST_S - 10, 5)


@given(st.lists(st.tuples(turns_of("ABC"), turns_of("xyz")), min_size=1, max_size=3), st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_worst_regions_are_those_of_windows_scored_one_by_one(recordings, count):
    uris = [str(i) for i in range(len(recordings))]
    reference, hypothesis = (dict(zip(uris, side, strict=True)) for side in zip(*recordings, strict=True))
    for protocol in CONDITIONS.values():
        scored = {uri: [Region(0, 20), Region(21, 40)] for uri in uris}
        expected = []
        for uri in uris:
            for k in range(40):
                # Only the error of the window: a mapping of its own would not be the recording's.
                pieces = split_regions(scored[uri], [k, k + 1])
                swept = sweep(reference, hypothesis, {uri: pieces}, [protocol])
                inside = (swept.start_us >= 1e6 * k) & (swept.end_us <= 1e6 * (k + 1))
                expected.append((uri, k, swept.errors(protocol.name, inside.astype(int), 2)[1]))
        expected = sorted((w for w in expected if w[2].error_s > 0), key=lambda w: -w[2].error_s)[:count]
        worst = worst_regions(reference, hypothesis, scored, protocol, count=count, window_s=1.0)
        assert [(w.uri, w.start_s, w.errors) for w in worst] == expected


def test_speaker_counts_by_hand():
    reference = {**REFERENCE, "s": [Turn(0, 1, "A"), Turn(50, 51, "B")]}
    hypothesis = {**HYPOTHESIS, "s": [Turn(0, 2, "x")]}
    sliced = speaker_counts(reference, hypothesis, {**SCORED, "s": [Region(0, 10)]}, FULL)
    assert sliced.in_recording == {1: {1: 1}, 2: {1: 1}}  # in s, only A speaks inside the scored region
    assert sliced.at_a_time == {
        0: {0: pytest.approx(20 - 8 - 0.4 - 2 + 8), 1: pytest.approx(2 + 1)},
        1: {0: pytest.approx(0.4), 1: pytest.approx(7 + 1)},
        2: {1: pytest.approx(1)},
    }


def test_nothing_scored():
    assert all(part == {} for part in slices(REFERENCE, HYPOTHESIS, {}, FULL).values())
    assert worst_regions(REFERENCE, {}, {}, FULL) == []
    assert contributions(slices({}, HYPOTHESIS, SCORED, FULL), slices({}, {}, SCORED, FULL))["recording"] == {}


@given(st.lists(st.tuples(turns_of("ABC"), turns_of("xyz"), turns_of("xyz")), min_size=1, max_size=3))
@settings(max_examples=30, deadline=None)
def test_parts_add_up_to_total_and_difference(recordings):
    uris = [str(i) for i in range(len(recordings))]
    reference, a, b = (dict(zip(uris, side, strict=True)) for side in zip(*recordings, strict=True))
    scored = {uri: [Region(0, 20), Region(21, 40)] for uri in uris}
    for protocol in CONDITIONS.values():
        totals = [pooled(score(reference, system, scored, [protocol])[protocol.name]) for system in (a, b)]
        sliced = [slices(reference, system, scored, protocol) for system in (a, b)]
        if protocol.collar_s:  # inside the collars
            assert "under 0.25 s" not in sliced[0]["to the nearest boundary"]
        for slicing in sliced[0]:
            for one, total in zip(sliced, totals, strict=True):
                added = sum(one[slicing].values(), ErrorSeconds())
                assert added.model_dump() == pytest.approx(total.model_dump(), abs=1e-9)
            if totals[0].total > 0:
                explained = contributions(*sliced)[slicing]
                assert sum(explained.values()) == pytest.approx(totals[1].der - totals[0].der, abs=1e-9)
