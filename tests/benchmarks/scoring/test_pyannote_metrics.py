"""Other metrics and the baselines, against hand-computed values."""

from __future__ import annotations

import pytest

from diarbench.benchmarks.scoring.baselines import one_speaker, silence
from diarbench.benchmarks.scoring.der import CONDITIONS, score
from diarbench.benchmarks.scoring.pyannote_metrics import other_metrics
from diarbench.datasets.io.rttm import Region, Turn
from diarbench.reports.results.scores import ErrorSeconds

# A 0-6, B 6-10, C 10-12; x 0-8, y 8-10 and 13-14. C has no match.
REFERENCE = {"r": [Turn(0, 6, "A"), Turn(6, 10, "B"), Turn(10, 12, "C")]}
HYPOTHESIS = {"r": [Turn(0, 8, "x"), Turn(8, 10, "y"), Turn(13, 14, "y")]}
SCORED = {"r": [Region(0, 20)]}


def test_by_hand():
    assert other_metrics(REFERENCE, HYPOTHESIS, SCORED).model_dump() == pytest.approx(
        {
            # A: 2 of 8 s wrong; B: 2 s missed and 1 s false alarm, of 5; C: all
            "jaccard_error_rate": (2 / 8 + 3 / 5 + 1) / 3,
            "purity": (6 + 2) / 11,  # of all hypothesis speech; the last second of y overlaps no one
            "coverage": (6 + 2) / 12,  # of all reference speech; C has no match
            "detection_error_rate": (2 + 1) / 12,
            "speaker_count_accuracy": 0,
            "speaker_count_error": 1,
        }
    )


def test_pooling_over_recordings():
    reference, hypothesis = {**REFERENCE, "s": [Turn(0, 1, "A")]}, {**HYPOTHESIS, "s": [Turn(0, 1, "x")]}
    metrics = other_metrics(reference, hypothesis, {**SCORED, "s": [Region(0, 5)]})
    assert metrics.jaccard_error_rate == pytest.approx((2 / 8 + 3 / 5 + 1 + 0) / 4)  # speakers
    assert metrics.detection_error_rate == pytest.approx(3 / 13)  # seconds
    assert (metrics.speaker_count_accuracy, metrics.speaker_count_error) == (0.5, 0.5)  # recordings


def test_own_overlap_counts_once():
    twice = {"r": [*REFERENCE["r"], Turn(0, 6, "A")]}
    assert other_metrics(twice, HYPOTHESIS, SCORED) == other_metrics(REFERENCE, HYPOTHESIS, SCORED)


def test_empty_input():
    metrics = other_metrics({}, {}, SCORED)
    assert (metrics.jaccard_error_rate, metrics.purity, metrics.coverage, metrics.detection_error_rate) == (None,) * 4
    assert metrics.speaker_count_accuracy == 1
    with pytest.raises(ValueError, match="no recordings"):
        other_metrics(REFERENCE, HYPOTHESIS, {})


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        (silence, ErrorSeconds(total=12, miss=12)),
        (one_speaker, ErrorSeconds(total=12, false_alarm=8, confusion=6)),  # A, who speaks most, is correct
    ],
)
def test_baselines(system, expected):
    metrics = score(REFERENCE, {"r": system(SCORED["r"])}, SCORED, [CONDITIONS["full"]])
    assert metrics["full"]["r"] == expected
