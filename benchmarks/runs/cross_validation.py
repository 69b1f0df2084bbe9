"""Pool the runs of a cross-validation's folds into one run. Its test set contains all recordings.

Every recording is tested once in a repetition. The seconds of error are added up over the folds, so that the pooled
error rate weighs each second of speech alike, as in a test set of its own.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from diarbench.datasets.io.files import digest
from diarbench.datasets.io.records import write_record
from diarbench.reports.results.job import Job
from diarbench.reports.results.run import Phase, Run, sum_known
from diarbench.reports.results.run_folder import ComparisonFolder
from diarbench.reports.results.scores import ErrorSeconds, Row, Scores


def pool_folds(
    folder: ComparisonFolder, jobs: Sequence[Job], run_of: Mapping[str, Run]
) -> tuple[list[Run], list[Run], list[Row]]:
    """The runs of a comparison with folds pooled, the runs of the folds, and the folds' rows on their test sets.

    ``run_of`` has the run of each job by name. Writes the pooled runs' folders: ``run.json``, ``scores.json`` and the
    test recordings' RTTM.
    """
    runs, fold_runs, fold_rows = [], [], []
    members: dict[str, list[Run]] = {}
    for job in jobs:
        run = run_of[job.name]
        name = job.pooled_name
        if name is None:
            runs.append(run)
        else:
            fold_runs.append(run)
            members.setdefault(name, []).append(run)
    for name, of_name in members.items():
        pooled = _pool(name, of_name)
        runs.append(pooled)
        write_record(folder.run(name).run, pooled)
        if pooled.state == "done":
            fold_rows += _write_scores(folder, pooled, of_name)
    return runs, fold_runs, fold_rows


def _pool(name: str, runs: Sequence[Run]) -> Run:
    """The record of a cross-validation: costs are added up, memory is the largest."""
    first = runs[0]
    failed = next((run for run in runs if run.failure), None)
    unfinished = next((run for run in runs if run.state != "done"), None)
    return first.model_copy(
        update={
            "name": name,
            "job": digest([run.job for run in runs]),
            "fold": None,
            "folds": tuple(run.name for run in runs),
            "pooled_stage": first.final_stage,
            "repetition": first.fold.repetition if first.fold else 1,
            "state": "failed" if failed else unfinished.state if unfinished else "done",
            "failure": f"{failed.name}: {failed.failure}" if failed else None,
            "train_s": sum_known(run.train_s for run in runs),
            "trained_audio_s": sum_known(run.trained_audio_s for run in runs),
            "heard": next((run.heard for run in runs if run.heard), ""),
            "notes": tuple(_pool_notes(runs)),
            "phases": tuple(_add_phases(phase for run in runs for phase in run.phases)),
            # What a fold decided is in its own run.
            "epochs": (),
            "best_epoch": None,
            "epoch_choice": None,
            "tuning": None,
            "recipe_search": None,
        }
    )


def _pool_notes(runs: Sequence[Run]) -> Iterator[str]:
    """Each note once, with the folds that it is about unless it is about all."""
    folds: dict[str, list[int]] = {}
    for run in runs:
        for note in run.notes:
            folds.setdefault(note, []).append(run.fold.number if run.fold else 1)
    for note, numbers in folds.items():
        of_folds = f"{'fold' if len(numbers) == 1 else 'folds'} {', '.join(map(str, numbers))}: "
        yield note if len(numbers) == len(runs) else f"{of_folds}{note}"


def _write_scores(folder: ComparisonFolder, pooled: Run, runs: Sequence[Run]) -> list[Row]:
    """Write the pooled scores and RTTM. Returns the folds' own rows on their test sets."""
    target = folder.run(pooled.name)
    scores = [folder.run(run.name).read_scores() for run in runs]
    rows = [row for of_fold in scores for row in of_fold.rows if row.subset == "test"]
    parts: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        parts.setdefault((row.stage, row.condition), []).append(row)
    largest = max(of_fold.largest_difference_s for of_fold in scores)
    pooled_rows = tuple(_pool_rows(pooled.name, of_condition) for of_condition in parts.values())
    for stage in dict.fromkeys(row.stage for row in rows):
        destination = target.rttm(pooled, pooled.dataset, stage) / "test"
        shutil.rmtree(destination, ignore_errors=True)
        for run in runs:
            source = folder.run(run.name).rttm(run, run.dataset, stage) / "test"
            shutil.copytree(source, destination, dirs_exist_ok=True)
    write_record(target.scores, Scores(rows=pooled_rows, largest_difference_s=largest, source_hashes=target.hashes()))
    return rows


def _pool_rows(name: str, rows: Sequence[Row]) -> Row:
    total = sum(rows, ErrorSeconds())
    parts = sorted(
        ((part, fold) for fold, row in enumerate(rows, start=1) for part in row.files), key=lambda each: each[0].uri
    )
    files, folds = zip(*parts, strict=True)
    # Statistics of one fold's recordings are not those of all; the comparison computes them.
    without: dict[str, Any] = {"interval": None, "slices": {}, "metrics": {}, "speaker_counts": None}
    pooled = {"run": name, "files": files, "folds": folds}
    return rows[0].model_copy(update={**pooled, **without, **total.model_dump(exclude={"der"})})


def _add_phases(phases: Iterable[Phase]) -> Iterable[Phase]:
    by_name: dict[str, list[Phase]] = {}
    for phase in phases:
        by_name.setdefault(phase.name, []).append(phase)
    for name, parts in by_name.items():
        device = [part.peak_device_memory_mb for part in parts if part.peak_device_memory_mb is not None]
        yield parts[0].model_copy(
            update={
                "name": name,
                "seconds": sum(part.seconds for part in parts),
                "peak_memory_mb": max(part.peak_memory_mb for part in parts),
                "peak_device_memory_mb": max(device, default=None),
                "audio_s": sum_known(part.audio_s for part in parts),
                "real_time_factors": tuple(factor for part in parts for factor in part.real_time_factors),
            }
        )
