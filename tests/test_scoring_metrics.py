"""The figures beside the error rate, by hand, and the systems that know nothing."""

from __future__ import annotations

import pytest

from diarbench.benchmarks.metrics import other_metrics
from diarbench.benchmarks.reference_systems import one_speaker, silence
from diarbench.benchmarks.scoring import CONDITIONS, score
from diarbench.datasets.rttm import Region, Turn
from diarbench.reports.records import ErrorSeconds

# A 0-6, B 6-10, C 10-12; x 0-8, y 8-10 and 13-14. C has no match.
REFERENCE = {"r": [Turn(0, 6, "A"), Turn(6, 10, "B"), Turn(10, 12, "C")]}
HYPOTHESIS = {"r": [Turn(0, 8, "x"), Turn(8, 10, "y"), Turn(13, 14, "y")]}
SCORED = {"r": [Region(0, 20)]}


def test_by_hand():
    assert other_metrics(REFERENCE, HYPOTHESIS, SCORED).model_dump() == pytest.approx(
        {
            # A: 2 of 8 s wrong; B: 2 s missed and 1 s too many, of 5; C: all
            "jaccard_error_rate": (2 / 8 + 3 / 5 + 1) / 3,
            "purity": (6 + 2) / 11,  # of all that is heard; the last second of y is with nobody
            "coverage": (6 + 2) / 12,  # of all that is said; C is with nobody
            "detection_error_rate": (2 + 1) / 12,
            "speaker_count_accuracy": 0,
            "speaker_count_error": 1,
        }
    )


def test_recordings_are_pooled_by_what_each_figure_counts():
    reference, hypothesis = {**REFERENCE, "s": [Turn(0, 1, "A")]}, {**HYPOTHESIS, "s": [Turn(0, 1, "x")]}
    found = other_metrics(reference, hypothesis, {**SCORED, "s": [Region(0, 5)]})
    assert found.jaccard_error_rate == pytest.approx((2 / 8 + 3 / 5 + 1 + 0) / 4)  # speakers
    assert found.detection_error_rate == pytest.approx(3 / 13)  # seconds
    assert (found.speaker_count_accuracy, found.speaker_count_error) == (0.5, 0.5)  # recordings


def test_a_speakers_own_overlap_counts_once():
    twice = {"r": [*REFERENCE["r"], Turn(0, 6, "A")]}
    assert other_metrics(twice, HYPOTHESIS, SCORED) == other_metrics(REFERENCE, HYPOTHESIS, SCORED)


def test_nothing_to_measure():
    found = other_metrics({}, {}, SCORED)
    assert (found.jaccard_error_rate, found.purity, found.coverage, found.detection_error_rate) == (None,) * 4
    assert found.speaker_count_accuracy == 1
    with pytest.raises(ValueError, match="no recordings"):
        other_metrics(REFERENCE, HYPOTHESIS, {})


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        (silence, ErrorSeconds(total=12, miss=12)),
        (one_speaker, ErrorSeconds(total=12, false_alarm=8, confusion=6)),  # A, who speaks most, is right
    ],
)
def test_reference_systems(system, expected):
    found = score(REFERENCE, {"r": system(SCORED["r"])}, SCORED, [CONDITIONS["full"]])
    assert found["full"]["r"] == expected
