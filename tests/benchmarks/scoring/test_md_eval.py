"""The scorer against NIST's md-eval-22 (Debian's sctk) and NeMo's port of it, on generated RTTM and on real files.

md-eval does not merge a speaker's overlapping turns, so it receives merged ones. Among equally good mappings it may
take another one, on which confusion depends under a collar or without overlap.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from places import SCORING_ORACLE as ORACLE

from diarbench.benchmarks.scoring.der import CONDITIONS, ScoringProtocol, pooled, score
from diarbench.benchmarks.scoring.inputs import read_inputs
from diarbench.benchmarks.scoring.turns import merge_overlapping
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.rttm import Region, Turn, read_rttm, read_uem
from diarbench.reports.speaker_mapping import best_mapping

PROTOCOLS = [*CONDITIONS.values(), ScoringProtocol(name="strict", collar_s=0.0, score_overlap=False)]
PARTS = ("total", "miss", "false_alarm", "confusion")

MD_EVAL = shutil.which("md-eval.pl", path="/usr/lib/sctk/bin:" + os.environ.get("PATH", ""))
needs_md_eval = pytest.mark.skipif(not MD_EVAL, reason="md-eval.pl is not installed (Debian: sctk)")
needs_nemo = pytest.mark.skipif(not importlib.util.find_spec("nemo"), reason="NeMo is not installed")


needs_oracle = pytest.mark.skipif(not (ORACLE / "oracle.json").is_file(), reason="no folder of oracle data")


def md_eval(folder, reference, hypothesis, scored, protocol):
    """md-eval's seconds by recording. It prints two decimals, so its input is in units of 0.1 ms."""
    unit = 10_000
    for name, turns in (("ref", reference), ("hyp", hypothesis)):
        times = ((uri, t.start_s * unit, (t.end_s - t.start_s) * unit, t.speaker) for uri in turns for t in turns[uri])
        lines = (f"SPEAKER {uri} 1 {on:.2f} {length:.2f} <NA> <NA> {who} <NA> <NA>\n" for uri, on, length, who in times)
        (folder / f"{name}.rttm").write_text("".join(lines), encoding="utf-8")
    regions = (f"{uri} 1 {r.start_s * unit:.2f} {r.end_s * unit:.2f}\n" for uri in scored for r in scored[uri])
    (folder / "all.uem").write_text("".join(regions), encoding="utf-8")
    command = ["perl", MD_EVAL, "-af", "-r", "ref.rttm", "-s", "hyp.rttm", "-u", "all.uem"]
    command += ["-c", str(protocol.collar_s * unit), *(["-1"] if not protocol.score_overlap else [])]
    output = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    by_uri = {}
    for block in re.split(r"\*\*\* Performance analysis for Speaker Diarization for ", output)[1:]:
        condition = block.split(" ***")[0]
        if uri := re.fullmatch(r"f=(.+)", condition):
            times = re.findall(
                r"(?:SCORED|MISSED|FALARM) SPEAKER TIME =\s*([\d.]+)|SPEAKER ERROR TIME =\s*([\d.]+)", block
            )
            by_uri[uri[1]] = [float(a or b) / unit for a, b in times]
    return by_uri


def nemo_md_eval(reference, hypothesis, scored, protocol):
    from nemo.collections.asr.metrics.md_eval import (
        _labels_to_rttm_data,
        _merge_rttm_dicts,
        _merge_uem_dicts,
        _uem_list_to_uem_data,
        evaluate,
    )

    def data(turns):
        return _merge_rttm_dicts(
            [_labels_to_rttm_data(uri, [f"{t.start_s!r} {t.end_s!r} {t.speaker}" for t in turns[uri]]) for uri in turns]
        )

    regions = _merge_uem_dicts([_uem_list_to_uem_data(uri, scored[uri]) for uri in scored])
    stats, _ = evaluate(
        data(reference),
        data(hypothesis),
        regions,
        collar=protocol.collar_s,
        opt_1=not protocol.score_overlap,
        verbose=False,
    )
    return {
        uri: [counts["1"][kind] for kind in ("SCORED_SPEAKER", "MISSED_SPEAKER", "FALARM_SPEAKER", "SPEAKER_ERROR")]
        for uri, counts in stats.items()
    }


def tied(reference, hypothesis, regions):
    """Whether the best mapping depends on the order of the hypothesis speakers."""

    def spans(turns):
        return [[t[:2] for t in turns if t.speaker == name] for name in sorted({t.speaker for t in turns})]

    def shared(a, b, region):
        return max(round((min(a[1], b[1], region[1]) - max(a[0], b[0], region[0])) * 1e6), 0)

    overlap = np.array(
        [
            [sum(shared(a, b, region) for a in ref for b in hyp for region in regions) for hyp in spans(hypothesis)]
            for ref in spans(reference)
        ],
        np.int64,
    )
    row, column = best_mapping(overlap)
    other_row, other_column = best_mapping(overlap[:, ::-1])
    return set(zip(row, column, strict=True)) != set(zip(other_row, overlap.shape[1] - 1 - other_column, strict=True))


def overlaps_touch(reference, regions):
    """Whether an overlap begins exactly where another ends or a scored region begins, or ends with a region.

    Without overlap, md-eval-22 then still scores it or the next one.
    """
    begins, ends = ({getattr(region, side) for region in regions} for side in ("start_s", "end_s"))
    for edge in {time for turn in reference for time in turn[:2]}:
        before = sum(t.start_s < edge <= t.end_s for t in reference)
        after = sum(t.start_s <= edge < t.end_s for t in reference)
        if edge in begins and before <= 1 < after:
            return True
        if edge in ends and before > 1 >= after:
            return True
        if min(before, after) > 1 >= sum(t.start_s < edge < t.end_s for t in reference):
            return True
    return False


def check(meetings, theirs_of):
    """Score meetings with both, and compare wherever md-eval's result is well defined."""
    uris = [f"rec{i}" for i in range(len(meetings))]
    reference, hypothesis, scored = (dict(zip(uris, side, strict=True)) for side in zip(*meetings, strict=True))
    for uri in uris:  # md-eval divides by the scored time
        reference[uri] = [*reference[uri], Turn(100.0, 102.0, "A")]
        scored[uri] = [*scored[uri], Region(99.0, 103.0)]
    reference, hypothesis = merge_overlapping(reference, uris), merge_overlapping(hypothesis, uris)
    ours = score(reference, hypothesis, scored, PROTOCOLS)
    for protocol in PROTOCOLS:
        theirs = theirs_of(reference, hypothesis, scored, protocol)
        assert theirs.keys() == scored.keys()
        for uri in uris:
            expected = dict(zip(PARTS, theirs[uri], strict=True))
            if not protocol.score_overlap and overlaps_touch(reference[uri], scored[uri]):
                continue
            if protocol != CONDITIONS["full"] and tied(reference[uri], hypothesis[uri], scored[uri]):
                del expected["confusion"]
            actual = {part: getattr(ours[protocol.name][uri], part) for part in expected}
            assert actual == pytest.approx(expected, abs=2e-6), (uri, protocol)


def turns_of(names):
    """Turns on a grid of a millisecond, short and long, often touching or overlapping."""
    turn = st.tuples(st.integers(0, 9000), st.integers(1, 3000), st.sampled_from(names))
    return st.lists(turn.map(lambda t: Turn(t[0] / 1000, (t[0] + t[1]) / 1000, t[2])), max_size=12)


def regions_of(edges):
    edges = sorted(edges)
    return [Region(a / 1000, b / 1000) for a, b in zip(edges[::2], edges[1::2], strict=False)]


MEETINGS = st.lists(
    st.tuples(
        turns_of("ABCD"),
        turns_of("vwxyz"),
        st.lists(st.integers(0, 13_000), min_size=2, max_size=6, unique=True).map(regions_of),
    ),
    min_size=1,
    max_size=4,
)


@needs_md_eval
@example(meetings=[([Turn(0.0, 0.003, "A"), Turn(0.001, 0.003, "B")], [], regions_of([1, 2]))])
@given(meetings=MEETINGS)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_generated_meetings_equal_md_eval(meetings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("md_eval")
    check(meetings, lambda *inputs: md_eval(folder, *inputs))


@needs_nemo
@pytest.mark.slow
@example(
    meetings=[([Turn(0.0, 0.171, "A"), Turn(0.001, 0.169, "B"), Turn(0.17, 0.171, "B")], [], regions_of([0, 169]))]
)
@given(meetings=MEETINGS)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_generated_meetings_equal_nemos_port(meetings):
    check(meetings, nemo_md_eval)


@pytest.mark.parametrize(
    "scorer",
    [pytest.param("md-eval", marks=needs_md_eval), pytest.param("NeMo", marks=[needs_nemo, pytest.mark.slow])],
)
def test_ami_mini_agrees(ami_mini, tmp_path, scorer):
    """Each reference of ami-mini is scored against that of the next recording: real turns, every kind of error."""
    recordings = [recording for subset in ("train", "dev", "test") for recording in ami_mini.subset(subset)]
    turns = [recording.turns for recording in recordings]
    meetings = zip(turns, [*turns[1:], []], [recording.regions for recording in recordings], strict=True)
    check(list(meetings), nemo_md_eval if scorer == "NeMo" else lambda *inputs: md_eval(tmp_path, *inputs))


@needs_md_eval
@pytest.mark.parametrize(
    ("reference", "hypothesis", "scored", "protocol", "ours", "theirs"),
    [
        pytest.param(
            {"a.b": [Turn(0, 5, "A")]}, {"a.b": [Turn(0, 5, "x")]}, {"a.b": [Region(0, 3)]}, "full", 3.0, 5.0,
            id="cuts a dotted name in the UEM, then scores the extent of the reference",
        ),
        pytest.param(
            {"a": [Turn(0, 4, "A"), Turn(2, 6, "A")]}, {"a": []}, {"a": [Region(0, 6)]}, "fair", 5.5, 4.5,
            id="does not merge a speaker's overlapping turns, and puts collars at the inner edges",
        ),
        pytest.param(
            {"a": [Turn(0, 2, "A"), Turn(0, 1, "B"), Turn(1, 2, "B"), Turn(3, 4, "A")]}, {"a": [Turn(0, 4, "x")]},
            {"a": [Region(0, 1.5), Region(3, 4)]}, "strict", 1.0, 2.0,
            id="without overlap, scores an overlap that touches another if a region ends in it",
        ),
    ],
)  # fmt: skip
def test_where_md_eval_differs(reference, hypothesis, scored, protocol, ours, theirs, tmp_path):
    protocol = next(p for p in PROTOCOLS if p.name == protocol)
    (uri,) = reference
    assert score(reference, hypothesis, scored, [protocol])[protocol.name][uri].total == ours
    assert md_eval(tmp_path, reference, hypothesis, scored, protocol)[uri][0] == theirs


@needs_md_eval
def test_md_eval_drops_the_false_alarm_of_an_empty_reference(tmp_path):
    reference, hypothesis = {"a": [Turn(0, 5, "A")]}, {"a": [Turn(0, 5, "x")], "b": [Turn(0, 5, "x")]}
    scored = {"a": [Region(0, 5)], "b": [Region(0, 5)]}
    assert md_eval(tmp_path, reference, hypothesis, scored, PROTOCOLS[0]).keys() == {"a"}
    assert score(reference, hypothesis, scored, PROTOCOLS)["full"]["b"].false_alarm == 5


ZONED_MEETING = st.tuples(
    st.lists(st.tuples(st.integers(0, 900), st.integers(1, 300), st.sampled_from("AB")), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 60), st.sampled_from(["NOSCORE", "NON-LEX", "LEXEME"]))),
)
"""Turns, and lines that say what is not scored; in hundredths of a second, which md-eval prints."""


@needs_md_eval
@given(meeting=ZONED_MEETING)
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_zones_that_md_eval_does_not_score(meeting, tmp_path_factory):
    """Where a turn follows: md-eval ends no zone after the last one. Without a mapping: ours ignores NON-LEX zones."""
    folder = tmp_path_factory.mktemp("zones")
    turns, zones = meeting
    merged = merge_overlapping(
        {"r": [Turn(a / 100, (a + n) / 100, who) for a, n, who in (*turns, (2000, 100, "A"))]}, ["r"]
    )
    lines = [f"SPEAKER r 1 {t.start_s:.2f} {t.end_s - t.start_s:.2f} <NA> <NA> {t.speaker} <NA>" for t in merged["r"]]
    subtype = {"NOSCORE": "<NA>", "NON-LEX": "laugh", "LEXEME": "lex"}
    lines += [f"{kind} r 1 {a / 100:.2f} {n / 100:.2f} x {subtype[kind]} A <NA>" for a, n, kind in zones]
    (folder / "ref.rttm").write_text("\n".join(lines) + "\n")
    (folder / "hyp.rttm").write_text("SPEAKER r 1 3 4 <NA> <NA> x <NA>\n")
    (folder / "all.uem").write_text("r 1 0 30\n")
    inputs = read_inputs(folder / "ref.rttm", [folder / "hyp.rttm"], folder / "all.uem")
    for protocol in (CONDITIONS["full"], CONDITIONS["fair"]):
        command = ["perl", MD_EVAL, "-r", "ref.rttm", "-s", "hyp.rttm", "-u", "all.uem", "-c", str(protocol.collar_s)]
        printed = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
        theirs = re.findall(r"(?:SCORED|MISSED|FALARM) SPEAKER TIME =\s*([\d.]+)", printed)
        (ours,) = score(inputs.reference, inputs.hypotheses[0], inputs.scored, [protocol])[protocol.name].values()
        assert [ours.total, ours.miss, ours.false_alarm] == pytest.approx([float(t) for t in theirs[:3]], abs=0.0051)


OWN_OVERLAPS = {
    "voxconverse_test__vbx": ("fair", "forgiving", "strict"),
    "voxconverse_test__diart_online5s": ("fair", "forgiving", "strict"),
    "tricky/same_spk_duplicate_ref": ("forgiving", "strict"),
}
"""Exceptions of the oracle, by row and protocol: md-eval does not merge a reference speaker's overlapping turns, but
treats them as overlapped speech with edges of its own. Given merged turns, md-eval agrees here too."""


def oracle_rows():
    if not (ORACLE / "oracle.json").is_file():
        return []
    return [row for row in json.loads((ORACLE / "oracle.json").read_text("utf-8")) if row["uem"]]


def read_lenient(path):
    """Turns of an RTTM, and counts of the lines that the strict reader rejects and md-eval accepts."""
    problems = []
    return read_rttm(path, problems), Counter(problem.kind for problem in problems)


@needs_oracle
@pytest.mark.parametrize(
    "row", oracle_rows(), ids=lambda row: f"{row['name']}-{row['collar_s']}-{row['score_overlap']}"
)
def test_oracle(row):
    protocol = next(p for p in PROTOCOLS if (p.collar_s, p.score_overlap) == (row["collar_s"], row["score_overlap"]))
    (reference, ref_problems), (hypothesis, hyp_problems) = (
        read_lenient(ORACLE / row["ref"]),
        read_lenient(ORACLE / row["hyp"]),
    )
    if row["name"] == "tricky/negative_onset_hyp":
        assert hyp_problems == {"negative time": 1}
        with pytest.raises(UserError, match=r"hyp\.rttm:1: onset -0\.02"):
            read_rttm(ORACLE / row["hyp"])
        hypothesis = {"f1": [Turn(-0.02, 5.0, "x")]}
    else:
        assert {*ref_problems, *hyp_problems} <= {"zero length"}
    ours = pooled(score(reference, hypothesis, read_uem(ORACLE / row["uem"]), [protocol])[protocol.name])
    difference = {part: getattr(ours, part) - row[part] for part in PARTS}
    if protocol.name in OWN_OVERLAPS.get(row["name"], ()):
        assert difference["total"] > 1e-4
    else:
        assert difference == pytest.approx(dict.fromkeys(PARTS, 0.0), abs=1e-4)


@needs_oracle
@needs_md_eval
@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [*OWN_OVERLAPS, *sorted({r["name"] for r in oracle_rows() if "ami_test" in r["name"]})]
)
def test_each_recording_of_the_oracle_agrees_once_merged(name, tmp_path):
    row = next(row for row in oracle_rows() if row["name"] == name)
    sides = [read_rttm(ORACLE / row[side]) for side in ("ref", "hyp")]
    scored = read_uem(ORACLE / row["uem"])
    ours = score(*sides, scored, PROTOCOLS)
    reference, hypothesis = (merge_overlapping(side, list(scored)) for side in sides)
    for protocol in PROTOCOLS:
        theirs = md_eval(tmp_path, reference, hypothesis, scored, protocol)
        assert theirs.keys() == scored.keys()
        different = {
            uri
            for uri, parts in theirs.items()
            if parts != pytest.approx([getattr(ours[protocol.name][uri], part) for part in PARTS], abs=2e-6)
        }
        assert all(tied(reference[uri], hypothesis[uri], scored[uri]) for uri in different), different
