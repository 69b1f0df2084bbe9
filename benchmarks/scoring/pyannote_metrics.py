"""pyannote.metrics: a cross-check of our scores, and metrics other than the DER (no collar).

Jaccard error rate (Ryant et al. 2019, evaluation plan of DIHARD II), purity and coverage (Bredin 2017),
detection error rate (speech against non-speech), and accuracy and error of the number of speakers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from diarbench.benchmarks.scoring.turns import MICROSECONDS, merge_overlapping, to_microseconds
from diarbench.datasets.io.records import Record
from diarbench.datasets.io.rttm import Region, Turn
from diarbench.reports.results.scores import ErrorSeconds

if TYPE_CHECKING:
    from pyannote.core import Annotation, Timeline


class Metrics(Record):
    """Fractions, except for the last; None if there is no speech to compute them from."""

    jaccard_error_rate: float | None
    """Mean over reference speakers, whatever the length of their speech."""
    purity: float | None
    """Share of hypothesis speech that overlaps its speaker's dominant reference speaker."""
    coverage: float | None
    """Share of reference speech that overlaps its speaker's dominant hypothesis speaker."""
    detection_error_rate: float | None
    speaker_count_accuracy: float
    """Share of recordings with the right number of speakers."""
    speaker_count_error: float
    """Mean absolute error of the number of speakers."""


def other_metrics(
    reference: Mapping[str, Sequence[Turn]],
    hypothesis: Mapping[str, Sequence[Turn]],
    scored: Mapping[str, Sequence[Region]],
) -> Metrics:
    """Metrics over all recordings of ``scored``, inside its regions. Raises ValueError if there are none."""
    from pyannote.metrics.detection import DetectionErrorRate
    from pyannote.metrics.diarization import (
        DiarizationCoverage,
        DiarizationPurity,
        DiarizationSpeakerCountAccuracy,
        DiarizationSpeakerCountError,
        JaccardErrorRate,
    )

    if not scored:
        raise ValueError("no recordings to compute metrics from")
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


PYANNOTE_NAMES = {
    "total": "total",
    "miss": "missed detection",
    "false_alarm": "false alarm",
    "confusion": "confusion",
}


def cross_check(
    reference: Mapping[str, Sequence[Turn]],
    hypothesis: Mapping[str, Sequence[Turn]],
    scored: Mapping[str, Sequence[Region]],
    errors: Mapping[str, ErrorSeconds],
    tolerance_s: float = 1e-6,
) -> float:
    """Score with pyannote.metrics, without a collar, and compare with our ``errors`` on the same input.

    Returns the largest difference in any error component of any recording, in seconds. Raises RuntimeError if it
    exceeds the tolerance.
    """
    from pyannote.metrics.diarization import DiarizationErrorRate

    metric = DiarizationErrorRate(collar=0.0, skip_overlap=False)
    largest = 0.0
    for uri, ref, hyp, uem in for_pyannote(reference, hypothesis, scored):
        theirs = metric(ref, hyp, uem=uem, detailed=True)
        for part, their_name in PYANNOTE_NAMES.items():
            our_s, their_s = getattr(errors[uri], part), theirs[their_name] / MICROSECONDS
            largest = max(largest, abs(our_s - their_s))
            if largest > tolerance_s:
                raise RuntimeError(
                    f"{uri}: {their_name} is {our_s:.6f} s by diarbench and {their_s:.6f} s by pyannote.metrics; one "
                    "of the two scorers is wrong, so trust neither figure: please report this recording"
                )
    return largest


def for_pyannote(
    reference: Mapping[str, Sequence[Turn]],
    hypothesis: Mapping[str, Sequence[Turn]],
    scored: Mapping[str, Sequence[Region]],
) -> Iterator[tuple[str, Annotation, Annotation, Timeline]]:
    """URI, reference, hypothesis and scored regions of each recording as pyannote.core types, own overlaps merged.

    Times are in microseconds, not seconds, because pyannote.core drops segments shorter than 1e-6 of its unit.
    """
    from pyannote.core import Annotation, Segment, Timeline

    def annotation(turns: Sequence[Turn]) -> Annotation:
        return Annotation.from_records(
            (Segment(to_microseconds(turn.start_s), to_microseconds(turn.end_s)), track, turn.speaker)
            for track, turn in enumerate(turns)
        )

    uris = list(scored)
    ref, hyp = merge_overlapping(reference, uris), merge_overlapping(hypothesis, uris)
    for uri in uris:
        uem = Timeline([Segment(to_microseconds(r.start_s), to_microseconds(r.end_s)) for r in scored[uri]])
        yield uri, annotation(ref[uri]), annotation(hyp[uri]), uem
