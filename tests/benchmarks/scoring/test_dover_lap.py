"""DOVER-Lap on hand-computed cases; systems that agree are not changed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from places import SCORING_ORACLE

from diarbench.benchmarks.scoring.der import CONDITIONS, pooled, score
from diarbench.benchmarks.scoring.dover_lap import dover_lap
from diarbench.benchmarks.scoring.inputs import read_inputs
from diarbench.datasets.io.rttm import Region, Turn

SCORED = {"r": [Region(0, 30)]}
needs_oracle = pytest.mark.skipif(not SCORING_ORACLE.is_dir(), reason="no folder of oracle data")
PAIRS = [
    ("ami_test", ("dz_pyannote_baseline", "dz_wavlm_updated_conformer")),
    ("ami_test", ("dz_pyannote_baseline", "vbx")),
    ("ami_test", ("dz_wavlm_updated_conformer", "vbx")),
    ("voxconverse_test", ("vbx", "diart_online5s")),
]


def outputs(corpus, names):
    """Reference, two systems' outputs, and scored regions, of recordings in which all speak."""
    folder = SCORING_ORACLE / corpus
    inputs = read_inputs(folder / "ref.rttm", [folder / f"{name}.rttm" for name in names], folder / f"{names[0]}.uem")
    uris = [uri for uri in inputs.scored if all(system.get(uri) for system in inputs.hypotheses)]
    systems = [{uri: system[uri] for uri in uris} for system in inputs.hypotheses]
    return inputs.reference, systems, {uri: inputs.scored[uri] for uri in uris}


def der(reference, hypothesis, scored):
    return pooled(score(reference, hypothesis, scored, [CONDITIONS["full"]])["full"]).der


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
    # Two systems always agree equally with each other, so they have equal weights.
    assert fused([(0, 10, "A")], [(0, 5, "A"), (5, 10, "B")])[-1].end_s == 10


def test_one_system_is_rejected():
    with pytest.raises(ValueError, match="at least two systems"):
        fused([(0, 1, "A")])


def test_nobody_speaks():
    assert fused([], []) == []


@needs_oracle
@pytest.mark.parametrize(("corpus", "names"), PAIRS)
def test_no_system_gains_by_leaving_speech_out(corpus, names):
    """Half of an output's turns, fused with the whole; the whole was lost before agreement was symmetrical."""
    reference, (whole, _), scored = outputs(corpus, names)
    draw = np.random.default_rng(0)
    half = {uri: [turn for turn in turns if draw.random() < 0.5] for uri, turns in whole.items()}
    alone, with_half = der(reference, whole, scored), der(reference, dover_lap([whole, half], scored), scored)
    assert with_half < alone + 0.05
    assert with_half == pytest.approx(der(reference, dover_lap([half, whole], scored), scored), abs=0.005)


@needs_oracle
@pytest.mark.parametrize(("corpus", "names"), PAIRS)
def test_the_published_tool_gives_about_the_same(corpus, names):
    published = pytest.importorskip("dover_lap.src.doverlap").DOVERLap
    tool_turn = pytest.importorskip("dover_lap.libs.turn").Turn
    reference, systems, scored = outputs(corpus, names)
    theirs = {}
    for uri in scored:
        sides = [
            [tool_turn(t.start_s, offset=t.end_s, speaker_id=t.speaker, file_id=uri) for t in system[uri]]
            for system in systems
        ]
        fused_turns = published.combine_turns_list(sides, uri, gaussian_filter_std=0.5)
        theirs[uri] = [Turn(float(t.onset), float(t.offset), str(t.speaker_id)) for t in fused_turns]
    ours = dover_lap(systems, scored)
    assert der(reference, ours, scored) == pytest.approx(der(reference, theirs, scored), abs=0.01)


turn = st.tuples(st.integers(0, 20), st.integers(1, 9), st.sampled_from("ABC"))
TURNS = st.lists(turn.map(lambda t: Turn(t[0], t[0] + t[1], t[2])), max_size=8)


@given(TURNS, st.permutations("xyz"))
@settings(max_examples=50, deadline=None)
def test_equal_systems_are_unchanged(turns, names):
    renamed = [t._replace(speaker=dict(zip("ABC", names, strict=True))[t.speaker]) for t in turns]
    result = dover_lap([{"r": turns}, {"r": renamed}, {"r": turns}], SCORED)
    errors = pooled(score({"r": turns}, result, SCORED, [CONDITIONS["full"]])["full"])
    assert errors.miss == errors.false_alarm == errors.confusion == 0
