"""Errors laid out in time: by hand, and held against the scorer."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diarbench.reports.errors import Error, Turn, find_errors, map_speakers, moments, read_regions, read_turns
from diarbench.reports.explorer import explore
from diarbench.reports.records import Comparison, read_record
from diarbench.reports.summary import summarize

REFERENCE = [Turn(0, 4, "A"), Turn(3, 6, "B"), Turn(8, 9, "A")]
HYPOTHESIS = [Turn(0, 5, "x"), Turn(5, 7, "y")]
REGIONS = [(0.0, 8.5)]


def errors(reference, hypothesis, regions):
    cut = moments(reference, hypothesis, regions)
    mapping = map_speakers(cut)
    return mapping, find_errors(cut, mapping)


def test_errors_worked_out_by_hand():
    mapping, found = errors(REFERENCE, HYPOTHESIS, REGIONS)
    # x shares 4 s with A and 2 s with B, y shares 1 s with B
    assert mapping == {"x": "A", "y": "B"}
    assert found == [
        Error(3, 4, "miss", 1),  # A and B speak, only x is heard
        Error(4, 5, "confusion", 1),  # B speaks, x is taken for A
        Error(6, 7, "false_alarm", 1),
        Error(8, 8.5, "miss", 1),  # to the end of what is scored
    ]


def test_errors_alike_that_touch_are_one():
    _, found = errors([Turn(0, 1, "A"), Turn(1, 2, "B")], [], [(0.0, 2.0)])
    assert found == [Error(0, 2, "miss", 1)]
    assert Error(0, 2, "miss", 2).seconds == 4


def test_nothing_at_all_has_no_errors():
    assert errors([], [], []) == ({}, [])


def test_reading_what_is_written():
    rttm = "SPEAKER one 1 2.500000 1.000000 <NA> <NA> A <NA> <NA>\nSPEAKER one 1 0.5 1 <NA> <NA> B <NA> <NA>\n"
    assert read_turns(rttm) == [Turn(0.5, 1.5, "B"), Turn(2.5, 3.5, "A")]
    assert read_regions(";; comment\none 1 0.0 30.0\n") == [(0.0, 30.0)]


@pytest.mark.parametrize("read", [read_turns, read_regions])
def test_what_is_not_such_a_file_is_a_value_error(read):
    with pytest.raises(ValueError):
        read("SPEAKER one x\n")


def test_a_real_comparisons_errors_are_its_records_seconds():
    """Drawn from the files, scored by the scorer: every recording, system and part of a real comparison."""
    root = Path(__file__).parent / "fixtures" / "reports" / "ami-mini"
    comparison = read_record(root / "results.json", Comparison)
    drawn = explore(summarize(comparison), root)
    seconds = {
        (f"{row.run}, {row.stage}", row.subset, part.uri): (part.miss, part.false_alarm, part.confusion)
        for row in comparison.rows
        if row.run and row.condition == "full"
        for part in row.files
    }
    compared = 0
    for recording in drawn["recordings"]:
        timeline = json.loads(zlib.decompress(base64.b64decode(recording["packed"])))
        assert timeline["missing"] == []
        for layer in timeline["systems"]:
            name = drawn["systems"][layer["system"]]["name"]
            wrong = [0.0, 0.0, 0.0]
            for at in range(0, len(layer["errors"]), 4):
                start_ms, end_ms, kind, speakers = layer["errors"][at : at + 4]
                wrong[kind] += (end_ms - start_ms) * speakers / 1000
            expected = seconds.get((name, recording["where"].split()[-1], recording["name"]))
            if expected is not None:  # a fusion's are no run's
                compared += 1
                assert wrong == pytest.approx(expected, abs=0.1)  # each error's ends are rounded to milliseconds
    assert compared == len(seconds) == 12


turns = st.lists(
    st.tuples(st.integers(0, 40), st.integers(1, 10), st.sampled_from("ABC")).map(
        lambda turn: Turn(turn[0], turn[0] + turn[1], turn[2])
    ),
    max_size=8,
)


@settings(deadline=None)
@given(turns, turns)
def test_the_parts_are_those_of_pyannote_metrics(reference, hypothesis):
    from pyannote.core import Annotation, Segment, Timeline
    from pyannote.metrics.diarization import DiarizationErrorRate

    def annotation(listed):
        merged = Annotation()
        for speaker in sorted({turn.speaker for turn in listed}):
            own = Timeline([Segment(t.start_s, t.end_s) for t in listed if t.speaker == speaker]).support()
            for segment in own:
                merged[segment, speaker] = speaker
        return merged

    _, found = errors(reference, hypothesis, [(0.0, 45.0)])
    theirs = DiarizationErrorRate()(
        annotation(reference), annotation(hypothesis), uem=Timeline([Segment(0, 45)]), detailed=True
    )
    ours = {kind: sum(e.seconds for e in found if e.kind == kind) for kind in ("miss", "false_alarm", "confusion")}
    assert ours["miss"] == pytest.approx(theirs["missed detection"])
    assert ours["false_alarm"] == pytest.approx(theirs["false alarm"])
    assert ours["confusion"] == pytest.approx(theirs["confusion"])
