"""The scorer against hand-computed values, and against a slow scorer that counts frames one by one."""

from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diarbench.benchmarks.scoring.der import CONDITIONS, ScoringProtocol, pooled, score, sweep
from diarbench.benchmarks.scoring.pyannote_metrics import cross_check
from diarbench.benchmarks.scoring.turns import merge_overlapping
from diarbench.datasets.io.files import digest
from diarbench.datasets.io.rttm import Region, Turn
from diarbench.reports.results.scores import ErrorSeconds
from diarbench.reports.speaker_mapping import best_mapping

FULL, FAIR, FORGIVING = CONDITIONS.values()
STRICT = ScoringProtocol(name="strict", collar_s=0.0, score_overlap=False)
ALL = (FULL, FAIR, FORGIVING, STRICT)
FRAME_S = 0.05


def one(reference, hypothesis, regions, protocol=FULL):
    """One recording's seconds; turns as (start, end, speaker)."""
    turns = [{"r": [Turn(*turn) for turn in side]} for side in (reference, hypothesis)]
    return score(*turns, {"r": [Region(*region) for region in regions]}, [protocol])[protocol.name]["r"]


def seconds(total, miss, false_alarm, confusion):
    return ErrorSeconds(total=total, miss=miss, false_alarm=false_alarm, confusion=confusion)


# Hand-computed. A speaks 0-5 and 10-12, B 4-9; x speaks 0-4.5 and 9.8-12.4, y 4.2-9.3.
MEETING = (
    [(0, 5, "A"), (4, 9, "B"), (10, 12, "A")],
    [(0, 4.5, "x"), (4.2, 9.3, "y"), (9.8, 12.4, "x")],
    [(0, 13)],
)


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        # 4.0-4.2 and 4.5-5.0 have one speaker of two; 9.0-9.3, 9.8-10.0 and 12.0-12.4 have one too many
        (FULL, seconds(12, 0.7, 0.9, 0)),
        # no longer scored: 0-0.25, 3.75-4.25, 4.75-5.25, 8.75-9.25, 9.75-10.25, 11.75-12.25
        (FAIR, seconds(9.5, 0.25, 0.05 + 0.15, 0)),
        # nor 4-5
        (FORGIVING, seconds(8.5, 0, 0.05 + 0.15, 0)),
        (STRICT, seconds(10, 0, 0.9, 0)),
    ],
    ids=lambda value: value.name if isinstance(value, ScoringProtocol) else "",
)
def test_hand_computed(protocol, expected):
    assert one(*MEETING, protocol).model_dump() == pytest.approx(expected.model_dump())


def test_seconds_are_exact():
    errors = one(*MEETING)
    assert errors == seconds(12.0, 0.7, 0.9, 0.0)
    assert errors.der == (0.7 + 0.9) / 12.0


def test_own_overlapping_turns_are_merged_and_touching_ones_keep_their_collar():
    hypothesis, regions = [(0, 10, "x")], [(0, 10)]
    assert one([(0, 6, "A"), (4, 10, "A")], hypothesis, regions).total == 10
    assert one([(0, 5, "A"), (0, 5, "A")], hypothesis, regions, STRICT).total == 5  # a line written twice
    assert one([(0, 6, "A"), (4, 10, "A")], hypothesis, regions, FAIR).total == 9.5
    assert one([(0, 5, "A"), (5, 10, "A")], hypothesis, regions, FAIR).total == 9.0  # the collar at 5 is kept


def test_speakers_are_mapped_before_collars():
    # x overlaps A for 20 half seconds, all inside collars, and B for 6 s.
    reference = [(k, k + 0.5, "A") for k in range(20)] + [(30, 36, "B")]
    hypothesis = [(k, k + 0.5, "x") for k in range(20)] + [(30, 36, "x")]
    assert one(reference, hypothesis, [(0, 40)]) == seconds(16, 0, 0, 6)
    assert one(reference, hypothesis, [(0, 40)], FAIR) == seconds(5.5, 0, 0, 5.5)


def test_speakers_are_mapped_inside_scored_regions():
    # Including time outside the region, x overlaps B much longer than A.
    reference, hypothesis = [(0, 5, "A"), (5, 50, "B")], [(0, 50, "x")]
    assert one(reference, hypothesis, [(0, 8)]) == seconds(8, 0, 0, 3)


def test_collars_of_turns_outside_the_region():
    assert one([(0, 5, "A"), (5.1, 9, "A")], [], [(0, 5)], FAIR).total == 5 - 0.25 - 0.25
    assert one([(0, 5, "A"), (5.1, 9, "A")], [], [(0, 4.9)], FAIR).total == 4.5


def test_an_optimal_mapping_where_a_greedy_one_is_worse():
    # Greedy takes A-x (6 s) and leaves B-y (1 s): 7 s right. A-y and B-x make 5 + 5.
    reference = [(0, 11, "A"), (11, 17, "B")]
    hypothesis = [(0, 6, "x"), (6, 11, "y"), (11, 16, "x"), (16, 17, "y")]
    assert one(reference, hypothesis, [(0, 17)]) == seconds(17, 0, 0, 7)


def test_missing_recordings():
    turns, region = [Turn(0, 5, "A")], [Region(0, 10)]
    scores = score(
        {"a": turns, "c": turns}, {"b": turns, "c": turns, "d": turns}, dict.fromkeys("abce", region), [FULL]
    )
    assert scores["full"] == {
        "a": seconds(5, 5, 0, 0),  # no hypothesis: all speech is missed
        "b": seconds(0, 0, 5, 0),  # no reference: its false alarm is kept
        "c": seconds(5, 0, 0, 0),
        "e": seconds(0, 0, 0, 0),
    }
    assert scores["full"]["b"].der is None
    assert pooled(scores["full"]) == seconds(10, 5, 5, 0)
    assert pooled(scores["full"]).der == 1.0


def test_empty_input():
    assert score({}, {}, {}, ALL) == {protocol.name: {} for protocol in ALL}
    assert score({}, {}, {"r": []}, [FULL]) == {"full": {"r": ErrorSeconds()}}


def test_speaker_labels_of_reference_and_hypothesis_are_independent():
    assert one([(0, 5, "1"), (5, 10, "2")], [(0, 5, "2"), (5, 10, "1")], [(0, 10)]).der == 0
    assert one([(0, 5, "A"), (5, 10, "Ä")], [(0, 5, "x"), (5, 10, "話者")], [(0, 10)]).der == 0


def test_negative_onsets_and_single_microseconds():
    assert one([(0, 5, "A")], [(-0.02, 5, "x")], [(0, 6)]) == seconds(5, 0, 0, 0)
    assert one([(0, 0.000002, "A")], [(0, 0.000001, "x")], [(0, 6)]) == seconds(0.000002, 0.000001, 0, 0)


def test_times_that_are_not_finite_are_rejected():
    with pytest.raises(ValueError, match="finite"):
        one([(0, float("nan"), "A")], [], [(0, 6)])


def test_ties_go_to_the_first_by_name():
    # Both mappings have 4 s of correct speech.
    reference = [(0, 4, "A"), (4, 8, "B")]
    hypothesis = [(0, 2, "x"), (2, 4, "y"), (4, 6, "x"), (6, 8, "y")]
    turns = [{"r": [Turn(*turn) for turn in side]} for side in (reference, hypothesis)]
    assert sweep(*turns, {"r": [Region(0, 8)]}, [FULL]).mapping == ({"A": "x", "B": "y"},)
    swapped = [Turn(t.start_s, t.end_s, {"x": "y", "y": "x"}[t.speaker]) for t in turns[1]["r"]]
    assert sweep(turns[0], {"r": swapped}, {"r": [Region(0, 8)]}, [FULL]).mapping == ({"A": "x", "B": "y"},)


def all_mappings(overlap):
    """Every one-to-one mapping, by brute force: (sum, columns by row, with unmatched rows as a last column)."""
    rows, columns = overlap.shape
    for chosen in permutations([*range(columns), *[columns] * rows], rows):
        if all(j == columns or overlap[i, j] > 0 for i, j in enumerate(chosen)):
            yield sum(int(overlap[i, j]) for i, j in enumerate(chosen) if j < columns), chosen


@given(
    st.integers(1, 4).flatmap(
        lambda columns: st.lists(
            st.lists(st.integers(0, 4), min_size=columns, max_size=columns), min_size=1, max_size=4
        )
    )
)
@settings(max_examples=300, deadline=None)
def test_best_mapping_is_optimal_and_first(rows):
    overlap = np.array(rows, np.int64)
    best, first = min(all_mappings(overlap), key=lambda mapping: (-mapping[0], mapping[1]))
    row, column = best_mapping(overlap)
    assert overlap[row, column].sum() == best
    assert list(zip(row, column, strict=True)) == [(i, j) for i, j in enumerate(first) if j < overlap.shape[1]]


def by_frames(reference, hypothesis, regions, protocol):
    """A slow scorer that shares no code with the fast one: sets of speakers, frame by frame."""
    frames = range(-20, 160)
    collar = round(protocol.collar_s / FRAME_S)

    def speaking(turns, frame):
        return {speaker for start, end, speaker in turns if start <= frame < end}

    inside = [frame for frame in frames if any(start <= frame < end for start, end in regions)]
    references = sorted({turn[2] for turn in reference})
    hypotheses = sorted({turn[2] for turn in hypothesis})
    overlap = np.zeros((len(references), len(hypotheses)), np.int64)
    for frame in inside:
        for ref in speaking(reference, frame):
            for hyp in speaking(hypothesis, frame):
                overlap[references.index(ref), hypotheses.index(hyp)] += 1
    _, columns = min(all_mappings(overlap), key=lambda mapping: (-mapping[0], mapping[1]))
    mapping = {references[i]: hypotheses[j] for i, j in enumerate(columns) if j < len(hypotheses)}

    # Merge each speaker's overlapping turns; the remaining edges have collars.
    merged = []
    for start, end, speaker in sorted(reference, key=lambda turn: (turn[2], turn[0])):
        if merged and merged[-1][2] == speaker and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]), speaker)
        else:
            merged.append((start, end, speaker))
    edges = [edge for start, end, _ in merged for edge in (start, end)]
    total = miss = false_alarm = confusion = 0
    for frame in inside:
        ref, hyp = speaking(reference, frame), speaking(hypothesis, frame)
        if any(edge - collar <= frame < edge + collar for edge in edges):
            continue
        if len(ref) > 1 and not protocol.score_overlap:
            continue
        correct = sum(mapping.get(speaker) in hyp for speaker in ref)
        total += len(ref)
        miss += max(len(ref) - len(hyp), 0)
        false_alarm += max(len(hyp) - len(ref), 0)
        confusion += min(len(ref), len(hyp)) - correct
    return [frames * FRAME_S for frames in (total, miss, false_alarm, confusion)]


def turns_of(names):
    turn = st.tuples(st.integers(-5, 90), st.integers(1, 30), st.sampled_from(names))
    return st.lists(turn.map(lambda t: (t[0], t[0] + t[1], t[2])), max_size=9)


REGIONS = st.lists(
    st.tuples(st.integers(0, 90), st.integers(1, 60)).map(lambda r: (r[0], r[0] + r[1])), min_size=1, max_size=3
)


@given(st.lists(st.tuples(turns_of("ABC"), turns_of("wxyz"), REGIONS), min_size=1, max_size=3))
@settings(max_examples=100, deadline=None)
def test_equals_a_slow_scorer(recordings):
    def in_seconds(frames, kind):
        return kind(frames[0] * FRAME_S, frames[1] * FRAME_S, *frames[2:])

    reference = {str(i): [in_seconds(turn, Turn) for turn in ref] for i, (ref, _, _) in enumerate(recordings)}
    hypothesis = {str(i): [in_seconds(turn, Turn) for turn in hyp] for i, (_, hyp, _) in enumerate(recordings)}
    scored = {str(i): [in_seconds(r, Region) for r in regions] for i, (_, _, regions) in enumerate(recordings)}
    scores = score(reference, hypothesis, scored, ALL)
    for protocol in ALL:
        for i, recording in enumerate(recordings):
            ours = scores[protocol.name][str(i)]
            parts = [ours.total, ours.miss, ours.false_alarm, ours.confusion]
            assert parts == pytest.approx(by_frames(*recording, protocol), abs=1e-9), (protocol, recording)
    assert cross_check(reference, hypothesis, scored, scores["full"]) <= 1e-6


@given(turns_of("ABC"))
def test_merged_turns_cover_the_same_time_once(turns):
    real = [Turn(*turn) for turn in turns]
    merged = merge_overlapping({"r": real}, ["r"])["r"]
    assert merge_overlapping({"r": merged}, ["r"])["r"] == merged
    for speaker in "ABC":
        own = [t for t in merged if t.speaker == speaker]
        assert all(a.end_s <= b.start_s for a, b in pairwise(own))
        covered = {f for start, end, name in real if name == speaker for f in range(int(start), int(end))}
        assert sum(t.end_s - t.start_s for t in own) == len(covered)


def test_cross_check_raises_if_the_scorers_differ():
    reference, hypothesis, scored = {"r": [Turn(0, 5, "A")]}, {"r": [Turn(0, 4, "x")]}, {"r": [Region(0, 6)]}
    right = score(reference, hypothesis, scored, [FULL])["full"]
    assert cross_check(reference, hypothesis, scored, right) == 0
    with pytest.raises(RuntimeError, match=r"r: missed detection is 1\.000002 s by diarbench and 1\.000000 s"):
        cross_check(reference, hypothesis, scored, {"r": seconds(5, 1.000002, 0, 0)})


def test_protocols_are_values():
    assert ScoringProtocol(name="full", collar_s=0, score_overlap=True) == FULL
    assert len({digest(protocol) for protocol in ALL}) == len(ALL)
    assert str(FORGIVING) == "forgiving (collar ±0.25 s, overlap left out)"
    for wrong in ({"collar_s": -1.0}, {"collar_s": float("nan")}, {"collar": 0.25}):
        with pytest.raises(ValueError):
            ScoringProtocol(**{"name": "x", "collar_s": 0.0, "score_overlap": True, **wrong})
