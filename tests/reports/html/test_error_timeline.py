"""The error timeline: checked by hand, against the scorer and against pyannote.metrics."""

from __future__ import annotations

import base64
import json
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from places import FIXTURES

from diarbench.benchmarks.scoring.der import CONDITIONS, score
from diarbench.datasets.io.records import read_record
from diarbench.datasets.io.rttm import Region, Turn, read_rttm, read_uem
from diarbench.reports.html.error_timeline import KINDS, Error, find_errors, map_speakers, moments
from diarbench.reports.html.explorer import explore
from diarbench.reports.results.comparison import Comparison
from diarbench.reports.summary.summary import summarize

REFERENCE = [Turn(0, 4, "A"), Turn(3, 6, "B"), Turn(8, 9, "A")]
HYPOTHESIS = [Turn(0, 5, "x"), Turn(5, 7, "y")]
REGIONS = [Region(0.0, 8.5)]


def errors(reference, hypothesis, regions):
    cut = moments(reference, hypothesis, regions)
    mapping = map_speakers(cut)
    return mapping, find_errors(cut, mapping)


def test_errors_worked_out_by_hand():
    mapping, listed = errors(REFERENCE, HYPOTHESIS, REGIONS)
    # x shares 4 s with A and 2 s with B, y shares 1 s with B
    assert mapping == {"x": "A", "y": "B"}
    assert listed == [
        Error(3, 4, "miss", 1),  # A and B speak, only x is in the hypothesis
        Error(4, 5, "confusion", 1),  # B speaks, x is mapped to A
        Error(6, 7, "false_alarm", 1),
        Error(8, 8.5, "miss", 1),  # to the end of what is scored
    ]


def test_errors_alike_that_touch_are_one():
    _, listed = errors([Turn(0, 1, "A"), Turn(1, 2, "B")], [], [Region(0.0, 2.0)])
    assert listed == [Error(0, 2, "miss", 1)]
    assert Error(0, 2, "miss", 2).seconds == 4


def test_nothing_at_all_has_no_errors():
    assert errors([], [], []) == ({}, [])


def test_seconds_are_those_of_the_scorer_on_the_fixture_recordings():
    root = FIXTURES / "reports" / "ami-mini"
    compared = 0
    for path in sorted(root.glob("*/rttm*/*/*.rttm")):
        reference_path = root / "reference" / "ami-mini" / path.parent.name / path.name
        reference, hypothesis = read_rttm(reference_path), read_rttm(path)
        regions = read_uem(reference_path.with_suffix(".uem"))
        expected = score(reference, hypothesis, regions, [CONDITIONS["full"]])["full"][path.stem]
        _, listed = errors(reference[path.stem], hypothesis.get(path.stem, []), regions[path.stem])
        seconds = {kind: sum(error.seconds for error in listed if error.kind == kind) for kind in KINDS}
        assert seconds == pytest.approx({kind: getattr(expected, kind) for kind in KINDS}, abs=1e-6)
        compared += 1
    assert compared == 12


def test_a_real_comparisons_errors_are_its_records_seconds():
    """The drawn errors have the seconds in results.json: every recording, system and error kind."""
    root = FIXTURES / "reports" / "ami-mini"
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
            seconds_of_kind = [0.0, 0.0, 0.0]
            for at in range(0, len(layer["errors"]), 4):
                start_ms, end_ms, kind, speakers = layer["errors"][at : at + 4]
                seconds_of_kind[kind] += (end_ms - start_ms) * speakers / 1000
            expected = seconds.get((name, recording["where"].split()[-1], recording["name"]))
            if expected is not None:  # None for a fusion
                compared += 1
                # Start and end of each error are rounded to milliseconds.
                assert seconds_of_kind == pytest.approx(expected, abs=0.1)
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

    _, listed = errors(reference, hypothesis, [Region(0.0, 45.0)])
    theirs = DiarizationErrorRate()(
        annotation(reference), annotation(hypothesis), uem=Timeline([Segment(0, 45)]), detailed=True
    )
    ours = {kind: sum(e.seconds for e in listed if e.kind == kind) for kind in ("miss", "false_alarm", "confusion")}
    assert ours["miss"] == pytest.approx(theirs["missed detection"])
    assert ours["false_alarm"] == pytest.approx(theirs["false alarm"])
    assert ours["confusion"] == pytest.approx(theirs["confusion"])
