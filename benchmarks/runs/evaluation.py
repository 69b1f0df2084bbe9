"""Score a run's RTTM files, and describe a run before it starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from diarbench.backends.base import BoundsSpeakers, Diarizer, InitialWeights, SpeakerBounds
from diarbench.backends.objective import Objective
from diarbench.benchmarks.scoring import significance
from diarbench.benchmarks.scoring.der import CONDITIONS, pooled, score
from diarbench.benchmarks.scoring.pyannote_metrics import cross_check, other_metrics
from diarbench.benchmarks.scoring.slices import slices, speaker_counts
from diarbench.datasets.dataset import Dataset, Recording, Subset
from diarbench.datasets.folds import groups_of, number_groups
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import digest, write_atomic
from diarbench.datasets.io.records import write_record
from diarbench.datasets.io.rttm import Region, Turn
from diarbench.datasets.roots import find_dataset
from diarbench.datasets.verification import watched
from diarbench.reports.results.job import Job
from diarbench.reports.results.run import Run
from diarbench.reports.results.run_folder import RunFolder
from diarbench.reports.results.scores import FileScore, Row

Turns = Mapping[str, Sequence[Turn]]
"""Turns by recording."""

FIRST_CONDITION, *_ = CONDITIONS

SCORED_SUBSETS: tuple[Subset, ...] = ("dev", "test")


def scored_subsets(dataset: Dataset) -> tuple[Subset, ...]:
    """Test, and dev where the dataset has one: only a run that trains needs it."""
    return tuple(subset for subset in SCORED_SUBSETS if subset == "test" or dataset.recordings.get(subset))


def score_rows(recordings: Sequence[Recording], hypothesis: Turns, identity: dict[str, Any]) -> tuple[list[Row], float]:
    """One row per condition for a system's turns, and the largest difference to pyannote.metrics at collar 0 (s).

    Rows of the test subset have statistics.
    """
    reference = {recording.uri: recording.turns for recording in recordings}
    scored = {recording.uri: recording.regions for recording in recordings}
    errors = score(reference, hypothesis, scored, list(CONDITIONS.values()))
    difference = cross_check(reference, hypothesis, scored, errors["full"])
    rows = [
        Row(
            **identity,
            condition=condition,
            protocol=digest(CONDITIONS[condition]),
            files=tuple(FileScore(uri=uri, **seconds.model_dump()) for uri, seconds in by_uri.items()),
            **pooled(by_uri).model_dump(),
        )
        for condition, by_uri in errors.items()
    ]
    if identity["subset"] == "test":
        groups = number_groups(reference)
        rows = [with_statistics(row, reference, hypothesis, scored, groups) for row in rows]
    return rows, difference


def with_statistics(
    row: Row, reference: Turns, hypothesis: Turns, scored: Mapping[str, Sequence[Region]], groups: Mapping[str, int]
) -> Row:
    """A row with its interval; under the first condition also with slices, other metrics and speaker counts.

    ``groups`` has the number of each recording's group, of those that share speakers or a session, where it is known.
    """
    interval = significance.interval(row.files, groups_of([part.uri for part in row.files], groups))
    statistics: dict[str, Any] = {"interval": interval}
    if row.condition == FIRST_CONDITION:
        sides, protocol = (reference, hypothesis, scored), CONDITIONS[row.condition]
        statistics |= {
            "slices": slices(*sides, protocol),
            "metrics": other_metrics(*sides).model_dump(),
            "speaker_counts": speaker_counts(*sides, protocol),
        }
    return row.model_copy(update=statistics)


def bounded(diarizer: Diarizer, bounds: SpeakerBounds) -> Diarizer:
    """The diarizer, told how many speakers there are. Raises UserError where it cannot be told."""
    if not bounds.text:
        return diarizer
    if not isinstance(diarizer, BoundsSpeakers):
        raise UserError(f"{bounds.text}: this backend cannot be told the number of speakers")
    return diarizer.with_speakers(bounds)


def separable(initial: InitialWeights, objective: Objective) -> int | None:
    """The most speakers that the network can separate in a recording; None where there is no limit, or none known."""
    return initial.max_speakers and max(initial.max_speakers, objective.outputs or 0)


def too_many_speakers_warning(dataset: Dataset, initial: InitialWeights, objective: Objective) -> tuple[str, ...]:
    """A warning where recordings have more speakers than the network can separate; the network need not be built."""
    most = separable(initial, objective)
    recordings = [recording for subset in dataset.recordings.values() for recording in subset]
    counts = [len({turn.speaker for turn in recording.turns}) for recording in recordings]
    too_many = [count for count in counts if most and count > most]
    if not too_many:
        return ()
    return (
        f"{len(too_many)} of {len(counts)} recordings have more than the {most} speakers that the "
        f"network can separate (up to {max(too_many)}): further speakers are missed or confused with others",
    )


def open_unchanged(name: str, root: str, fingerprint: str) -> Dataset:
    """The dataset that a job was planned with, of which nothing is read once its files changed: see `watched`.

    Raises UserError where this machine lacks it, or its files changed.
    """
    return watched(find_dataset(name, Path(root), fingerprint))


def mark_interrupted(folder: RunFolder) -> None:
    """Record that a run was stopped before its end; a record that cannot be read or written stays as it is."""
    _mark(folder, "interrupted", None)


def mark_cancelled(folder: RunFolder) -> None:
    """Record that a run was cancelled; a record that cannot be read or written stays as it is."""
    _mark(folder, "failed", CANCELLED)


def _mark(folder: RunFolder, state: str, failure: str | None) -> None:
    with suppress(UserError):
        run = folder.read_run()
        if run.state not in ("done", "failed"):
            write_record(folder.run, run.model_copy(update={"state": state, "failure": failure}))
            write_atomic(folder.state, f"{state}\n")


CANCELLED = "cancelled by 'bench cancel'"


def queued_run(job: Job) -> Run:
    """The record of a run before it starts."""
    return Run(
        name=job.name,
        job=job.hash,
        backend=job.backend,
        dataset=job.dataset,
        dataset_root=job.dataset_root,
        corpus="",
        fingerprint=job.fingerprint,
        recipe=job.recipe["name"],
        recipe_settings={key: value for key, value in job.recipe.items() if key != "name"},
        seed=job.seed,
        train_fraction=job.train_fraction,
        train=job.train,
        also_score=job.also_score,
        fold=job.fold,
        min_speakers=job.min_speakers,
        max_speakers=job.max_speakers,
        init=job.init,
        state="queued",
    )
