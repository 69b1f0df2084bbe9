"""The other figures that stand beside the diarization error rate, all by pyannote.metrics and without a collar.

Jaccard error rate (Ryant et al. 2019, the second DIHARD's evaluation plan), purity and coverage (Bredin 2017),
detection error rate (speech or not, whoever speaks), and how often and by how much the number of speakers is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from diarbench.benchmarks.scoring import for_pyannote
from diarbench.datasets.rttm import Region, Turn
from diarbench.reports.records import Record


class Metrics(Record):
    """Fractions, but for the last; None where there is no speech to take them of."""

    jaccard_error_rate: float | None
    """Mean over reference speakers: one who says little counts as much as one who says a lot."""
    purity: float | None
    """Share of the hypothesis' speech in which its speaker is with the reference speaker that it is most with."""
    coverage: float | None
    """The same, seen from the reference."""
    detection_error_rate: float | None
    speaker_count_accuracy: float
    """Share of recordings with the right number of speakers."""
    speaker_count_error: float
    """Mean of how many speakers too many or too few."""


def other_metrics(
    reference: Mapping[str, Sequence[Turn]],
    hypothesis: Mapping[str, Sequence[Turn]],
    scored: Mapping[str, Sequence[Region]],
) -> Metrics:
    """Over all recordings of ``scored``, inside its regions. Raises ValueError where there are none."""
    from pyannote.metrics.detection import DetectionErrorRate
    from pyannote.metrics.diarization import (
        DiarizationCoverage,
        DiarizationPurity,
        DiarizationSpeakerCountAccuracy,
        DiarizationSpeakerCountError,
        JaccardErrorRate,
    )

    if not scored:
        raise ValueError("no recordings, no metrics")
    jaccard, purity, coverage, detection = (
        JaccardErrorRate(),
        DiarizationPurity(),
        DiarizationCoverage(),
        DetectionErrorRate(),
    )
    accuracy, error = DiarizationSpeakerCountAccuracy(), DiarizationSpeakerCountError()
    for _, ref, hyp, uem in for_pyannote(reference, hypothesis, scored):
        for metric in (jaccard, purity, coverage, detection, accuracy, error):
            metric(ref, hyp, uem=uem)
    return Metrics(
        jaccard_error_rate=abs(jaccard) if jaccard["speaker count"] else None,
        purity=abs(purity) if purity["total"] else None,
        coverage=abs(coverage) if coverage["total"] else None,
        detection_error_rate=abs(detection) if detection["total"] else None,
        speaker_count_accuracy=abs(accuracy),
        speaker_count_error=abs(error),
    )
