"""Merge comparisons whose figures may be ranked together."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from diarbench.datasets.io.errors import UserError
from diarbench.reports.results.comparison import Comparison
from diarbench.reports.results.run_folder import ComparisonFolder, RunFolder
from diarbench.reports.results.scores import Condition, Row

MAX_NAMES = 3
"""So many folders are named in a message."""


class Group(NamedTuple):
    """The key of comparisons that may be ranked together: same dataset, recordings, protocol and way of testing."""

    dataset: str
    fingerprints: frozenset[str]
    conditions: tuple[Condition, ...]
    is_cross_validated: bool


def read_comparison(out: Path) -> Comparison:
    """Read a folder's ``results.json``. Raises UserError where it is missing or invalid."""
    if not ComparisonFolder(out).results.is_file():
        raise UserError(f"{out}: {_instead_of(out)}")
    return ComparisonFolder(out).read_results()


def _instead_of(out: Path) -> str:
    """What is wrong with a folder that holds no comparison, and what to pass instead."""
    if not out.is_dir():
        return "no such folder; pass the folder of a finished 'bench run'"
    if RunFolder(out).run.is_file():
        return f"the folder of one run; pass its comparison's, {out.parent}"
    if below := sorted(path.parent for path in out.glob(f"*/{ComparisonFolder(out).results.name}")):
        names = ", ".join(map(str, below[:MAX_NAMES])) + (", ..." if len(below) > MAX_NAMES else "")
        return f"holds several comparisons; pass them ({names}), or rank all with 'bench leaderboard {out}'"
    return "no results.json in this folder; pass the folder of a finished 'bench run'"


def refuse_repeated(outs: Iterable[Path]) -> None:
    """Raises UserError where a folder is given twice, by whatever path: each of its runs would be counted twice."""
    known: dict[Path, Path] = {}
    for out in outs:
        if out.resolve() in known:
            raise UserError(f"{out}: given twice; a comparison cannot be merged with itself")
        known[out.resolve()] = out


def refuse_copies(comparisons: Mapping[Path, Comparison]) -> None:
    """Raises UserError where one is a copy of another: each of its runs would be counted twice."""
    for (first, one), (second, other) in combinations(comparisons.items(), 2):
        if one == other:
            raise UserError(f"{second}: a copy of {first}, so each run would be counted twice; leave one out")


def merge(comparisons: Mapping[Path, Comparison], root: Path) -> tuple[list[Comparison], list[str]]:
    """One comparison per group, and the reasons why groups are separate.

    ``comparisons`` are keyed by folder; runs and source files are named by their path relative to ``root``.
    """
    groups: dict[Group, list[Comparison]] = {}
    for out, comparison in comparisons.items():
        moved = _moved(comparison, os.path.relpath(out, root))
        for dataset in dict.fromkeys(run.dataset for run in moved.runs):
            fingerprints = frozenset(run.fingerprint for run in moved.runs if run.dataset == dataset)
            folds = any(run.folds for run in moved.runs if run.dataset == dataset)
            group = Group(dataset, fingerprints, moved.conditions, folds)
            groups.setdefault(group, []).append(_only(moved, dataset))
    left_out = {group: list(_conflicting_domains(parts)) for group, parts in groups.items()}
    joined = [_joined([_without(part, left_out[group]) for part in parts]) for group, parts in groups.items()]
    return joined, [
        *_reasons(groups),
        *(
            f"{other}: left out of the report on {group.dataset}: other recordings under the same name"
            for group, others in left_out.items()
            for other in others
        ),
    ]


def _moved(comparison: Comparison, prefix: str) -> Comparison:
    runs = (
        run.model_copy(update={"name": f"{prefix}/{run.name}", "folds": tuple(f"{prefix}/{of}" for of in run.folds)})
        for run in comparison.runs
    )
    rows = (row.model_copy(update={"run": row.run and f"{prefix}/{row.run}"}) for row in comparison.rows)
    source_hashes = {f"{prefix}/{path}": sha256 for path, sha256 in comparison.source_hashes.items()}
    fold_runs = (run.model_copy(update={"name": f"{prefix}/{run.name}"}) for run in comparison.fold_runs)
    fold_rows = (row.model_copy(update={"run": f"{prefix}/{row.run}"}) for row in comparison.fold_rows)
    return comparison.model_copy(
        update={
            "runs": tuple(runs),
            "rows": tuple(rows),
            "fold_runs": tuple(fold_runs),
            "fold_rows": tuple(fold_rows),
            "source_hashes": source_hashes,
        }
    )


def _only(comparison: Comparison, dataset: str) -> Comparison:
    """The runs trained on a dataset, with their scores on it and on other domains."""
    runs = tuple(run for run in comparison.runs if run.dataset == dataset)
    names = {run.name for run in runs}
    scored = {dataset, *(domain.dataset for run in runs for domain in run.also_score)}
    rows = tuple(row for row in comparison.rows if row.dataset in scored and row.run in {None, *names})
    contrasts = tuple(contrast for contrast in comparison.contrasts if contrast.dataset in scored)
    of_folds = {
        "fold_runs": tuple(run for run in comparison.fold_runs if run.dataset == dataset),
        "fold_rows": tuple(row for row in comparison.fold_rows if row.dataset == dataset),
    }
    return comparison.model_copy(update={"runs": runs, "rows": rows, "contrasts": contrasts, **of_folds})


def _conflicting_domains(parts: Iterable[Comparison]) -> Iterable[str]:
    """The other domains whose fingerprint is not the same in all comparisons."""
    domains = {(d.dataset, d.fingerprint) for part in parts for run in part.runs for d in run.also_score}
    names = [name for name, _ in domains]
    return sorted({name for name in names if names.count(name) > 1})


def _without(comparison: Comparison, datasets: Sequence[str]) -> Comparison:
    """The comparison without its scores on these datasets."""
    runs = (
        run.model_copy(update={"also_score": tuple(d for d in run.also_score if d.dataset not in datasets)})
        for run in comparison.runs
    )
    rows = (row for row in comparison.rows if row.dataset not in datasets)
    contrasts = (contrast for contrast in comparison.contrasts if contrast.dataset not in datasets)
    return comparison.model_copy(update={"runs": tuple(runs), "rows": tuple(rows), "contrasts": tuple(contrasts)})


def _joined(parts: list[Comparison]) -> Comparison:
    """Join comparisons. Reference systems are the same in all and are kept once.

    Contrasts and fusions concern the systems of a single comparison and are left out.
    """
    if len(parts) == 1:
        return parts[0]
    rows: dict[object, Row] = {}
    for number, row in enumerate(row for part in parts for row in part.rows):
        if row.run is not None or row.backend == "reference":
            key = (row.dataset, row.stage, row.subset, row.condition)
            rows.setdefault(number if row.run else key, row)
    return parts[0].model_copy(
        update={
            "diarbench": ", ".join(_once(part.diarbench for part in parts)),
            "command": "\n".join(_once(part.command for part in parts)),
            "scorer": "; ".join(_once(part.scorer for part in parts)),
            "runs": tuple(run for part in parts for run in part.runs),
            "rows": tuple(rows.values()),
            "contrasts": (),
            "groups": {name: groups for part in parts for name, groups in part.groups.items()},
            "fold_runs": tuple(run for part in parts for run in part.fold_runs),
            "fold_rows": tuple(row for part in parts for row in part.fold_rows),
            "source_hashes": {path: sha256 for part in parts for path, sha256 in part.source_hashes.items()},
        }
    )


def _reasons(groups: Iterable[Group]) -> Iterable[str]:
    """Why the groups are separate."""
    listed = list(groups)
    for dataset in _once(group.dataset for group in listed):
        of_dataset = [group for group in listed if group.dataset == dataset]
        if len({group.fingerprints for group in of_dataset}) > 1:
            yield f"{dataset}: shown separately, not ranked: the recordings or references differ (fingerprint)"
        if len({group.conditions for group in of_dataset}) > 1:
            yield f"{dataset}: shown separately, not ranked: scored under different protocols"
        if len({group.is_cross_validated for group in of_dataset}) > 1:
            yield f"{dataset}: shown separately, not ranked: one is a cross-validation and tests other recordings"
    if len({group.dataset for group in listed}) > 1:
        yield "Different datasets are shown separately and not ranked against each other"


def _once(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
