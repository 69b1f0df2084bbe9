"""Scores: the components of the diarization error rate in seconds, by row and by recording."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import Field, computed_field, model_validator

from diarbench.datasets.dataset import Subset
from diarbench.datasets.io.names import Name, RelativePath
from diarbench.datasets.io.records import Record
from diarbench.reports.results.statistics import Interval


class ErrorSeconds(Record):
    """The components of the diarization error rate, in seconds of speaker time. They can be added.

    The names follow NIST's md-eval and pyannote.metrics: ``total`` is the reference speech,
    ``der = (miss + false_alarm + confusion) / total``.
    """

    total: float = 0.0
    miss: float = 0.0
    false_alarm: float = 0.0
    confusion: float = 0.0

    @model_validator(mode="before")
    @classmethod
    def _drop_derived(cls, data: Any) -> Any:
        return {k: v for k, v in data.items() if k != "der"} if isinstance(data, dict) else data

    @computed_field  # type: ignore[prop-decorator]
    @property
    def der(self) -> float | None:
        """Diarization error rate as a fraction; None where the reference has no speech."""
        return (self.miss + self.false_alarm + self.confusion) / self.total if self.total > 0 else None

    @property
    def error_s(self) -> float:
        return self.miss + self.false_alarm + self.confusion

    def __add__(self, other: ErrorSeconds) -> ErrorSeconds:
        return ErrorSeconds(
            total=self.total + other.total,
            miss=self.miss + other.miss,
            false_alarm=self.false_alarm + other.false_alarm,
            confusion=self.confusion + other.confusion,
        )

    def __truediv__(self, number: float) -> ErrorSeconds:
        return ErrorSeconds(
            total=self.total / number,
            miss=self.miss / number,
            false_alarm=self.false_alarm / number,
            confusion=self.confusion / number,
        )


class FileScore(ErrorSeconds):
    """One recording's part of a row."""

    uri: RelativePath


class SpeakerCounts(Record):
    """How often each pair of speaker counts, in the reference and in the hypothesis, occurs."""

    in_recording: dict[int, dict[int, int]]
    """Number of recordings, by speakers in the reference, then in the hypothesis."""
    at_a_time: dict[int, dict[int, float]]
    """Seconds, by simultaneous speakers in the reference, then in the hypothesis."""


SPEAKERS_SLICING, MOST_IN_SLICING = "speakers in the recording", 5
"""The slicing by number of speakers; the last of its parts has the recordings with that many and more."""


class Row(ErrorSeconds):
    """A system's pooled score on a subset under a condition, in seconds, with the score of each recording."""

    run: Name | None
    """The name of the run; None for a reference system."""
    dataset: Name
    backend: Name
    recipe: Name | None
    seed: int | None
    stage: Name
    """``pretrained``, ``finetuned``, ``tuned``, or a reference system's name: ``silence``, ``one-speaker``."""
    init: str | None
    subset: Subset
    condition: str
    protocol: str = ""
    """Hash of the scoring protocol behind the condition."""
    files: tuple[FileScore, ...]
    folds: tuple[int, ...] = ()
    """The fold of each of the files in a pooled cross-validation, else empty."""
    interval: Interval | None = None
    """Interval of the pooled DER; test set only."""
    slices: dict[str, dict[str, ErrorSeconds]] = Field(default_factory=dict)
    """Error seconds by slicing and part; test set only, under the first condition."""
    metrics: dict[str, float | None] = Field(default_factory=dict)
    """Other metrics by pyannote.metrics, by name; present with slices."""
    speaker_counts: SpeakerCounts | None = None
    """Speaker counts in hypothesis and reference; present with slices."""

    @model_validator(mode="after")
    def _check_folds(self) -> Row:
        if self.folds and len(self.folds) != len(self.files):
            raise ValueError(f"{len(self.folds)} folds of {len(self.files)} files; each file has one")
        return self


class Scores(Record):
    """``scores.json`` of a run: its rows, and the largest difference from an independent scorer."""

    rows: tuple[Row, ...]
    largest_difference_s: float
    source_hashes: dict[RelativePath, str] = Field(default_factory=dict)
    """SHA-256 of the files that were scored, by path in the run's folder; empty in runs of version 0.1."""


class Condition(Record):
    """The scoring protocol behind a row's condition."""

    name: str
    collar_s: float
    """Half-width around each reference boundary, as in md-eval."""
    score_overlap: bool
    text: str
    """The convention in words, printed beside the figures."""


def rates_of(row: ErrorSeconds | None) -> tuple[float | None, ...]:
    """DER, miss, false alarm and confusion as fractions of reference speech."""
    if row is None or row.total <= 0:
        return (None,) * 4
    return row.der, row.miss / row.total, row.false_alarm / row.total, row.confusion / row.total


def sum_slices(rows: Iterable[Row]) -> dict[str, dict[str, ErrorSeconds]]:
    """Seconds by slicing and part, summed over rows."""
    sums: dict[str, dict[str, ErrorSeconds]] = {}
    for row in rows:
        for slicing, parts in row.slices.items():
            of_slicing = sums.setdefault(slicing, {})
            for part, errors in parts.items():
                of_slicing[part] = of_slicing.get(part, ErrorSeconds()) + errors
    return sums
