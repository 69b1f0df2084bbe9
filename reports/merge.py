"""Several comparisons as one, as far as their figures may stand side by side."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from diarbench.reports.records import Comparison, Condition, Row, UserError, read_record


class Group(NamedTuple):
    """What may be ranked together: one dataset, the same recordings, the same protocol."""

    dataset: str
    fingerprints: frozenset[str]
    conditions: tuple[Condition, ...]


def read_comparison(out: Path) -> Comparison:
    """A folder's ``results.json``. Raises UserError where there is none, or it is not one."""
    if not (out / "results.json").is_file():
        raise UserError(f"{out}: no results.json there; give the folder of a finished 'bench run'")
    return read_record(out / "results.json", Comparison)


def merge(comparisons: Mapping[Path, Comparison], root: Path) -> tuple[list[Comparison], list[str]]:
    """A comparison for each group, and why groups of a dataset are apart.

    ``comparisons`` are by folder; runs and the files that they rest on are named by their path from ``root``.
    """
    groups: dict[Group, list[Comparison]] = {}
    for out, comparison in comparisons.items():
        moved = _moved(comparison, os.path.relpath(out, root))
        for dataset in dict.fromkeys(run.dataset for run in moved.runs):
            fingerprints = frozenset(run.fingerprint for run in moved.runs if run.dataset == dataset)
            groups.setdefault(Group(dataset, fingerprints, moved.conditions), []).append(_only(moved, dataset))
    left_out = {group: list(_unlike_abroad(parts)) for group, parts in groups.items()}
    joined = [_joined([_without(part, left_out[group]) for part in parts]) for group, parts in groups.items()]
    return joined, [
        *_apart(groups),
        *(
            f"{other}: left out of the report on {group.dataset}: the comparisons scored other recordings of that name"
            for group, others in left_out.items()
            for other in others
        ),
    ]


def _moved(comparison: Comparison, prefix: str) -> Comparison:
    runs = (run.model_copy(update={"name": f"{prefix}/{run.name}"}) for run in comparison.runs)
    rows = (row.model_copy(update={"run": row.run and f"{prefix}/{row.run}"}) for row in comparison.rows)
    rests_on = {f"{prefix}/{path}": sha256 for path, sha256 in comparison.rests_on.items()}
    return comparison.model_copy(update={"runs": tuple(runs), "rows": tuple(rows), "rests_on": rests_on})


def _only(comparison: Comparison, dataset: str) -> Comparison:
    """What is of a dataset, and what its runs made of other domains."""
    runs = tuple(run for run in comparison.runs if run.dataset == dataset)
    names = {run.name for run in runs}
    scored = {dataset, *(domain.dataset for run in runs for domain in run.also_scored)}
    rows = tuple(row for row in comparison.rows if row.dataset in scored and row.run in {None, *names})
    contrasts = tuple(contrast for contrast in comparison.contrasts if contrast.dataset in scored)
    return comparison.model_copy(update={"runs": runs, "rows": rows, "contrasts": contrasts})


def _unlike_abroad(parts: Iterable[Comparison]) -> Iterable[str]:
    """The other domains that are not the same in all parts."""
    domains = {(d.dataset, d.fingerprint) for part in parts for run in part.runs for d in run.also_scored}
    names = [name for name, _ in domains]
    return sorted({name for name in names if names.count(name) > 1})


def _without(comparison: Comparison, datasets: Sequence[str]) -> Comparison:
    """The same without what was made of other domains."""
    runs = (
        run.model_copy(update={"also_scored": tuple(d for d in run.also_scored if d.dataset not in datasets)})
        for run in comparison.runs
    )
    rows = (row for row in comparison.rows if row.dataset not in datasets)
    contrasts = (contrast for contrast in comparison.contrasts if contrast.dataset not in datasets)
    return comparison.model_copy(update={"runs": tuple(runs), "rows": tuple(rows), "contrasts": tuple(contrasts)})


def _joined(parts: list[Comparison]) -> Comparison:
    """Reference systems are the same in each part, and are kept once.

    Contrasts and fusions are of one comparison's systems and say nothing of another's: they are left out.
    """
    if len(parts) == 1:
        return parts[0]
    rows: dict[object, Row] = {}
    for number, row in enumerate(row for part in parts for row in part.rows):
        if row.run is not None or row.backend == "reference":
            same = (row.dataset, row.stage, row.subset, row.condition)
            rows.setdefault(number if row.run else same, row)
    return parts[0].model_copy(
        update={
            "diarbench": ", ".join(_once(part.diarbench for part in parts)),
            "command": "\n".join(_once(part.command for part in parts)),
            "scorer": "; ".join(_once(part.scorer for part in parts)),
            "runs": tuple(run for part in parts for run in part.runs),
            "rows": tuple(rows.values()),
            "contrasts": (),
            "rests_on": {path: sha256 for part in parts for path, sha256 in part.rests_on.items()},
        }
    )


def _apart(groups: Iterable[Group]) -> Iterable[str]:
    listed = list(groups)
    for dataset in _once(group.dataset for group in listed):
        of_dataset = [group for group in listed if group.dataset == dataset]
        if len({group.fingerprints for group in of_dataset}) > 1:
            yield f"{dataset}: shown apart and not ranked: the recordings or references differ (other fingerprint)"
        if len({group.conditions for group in of_dataset}) > 1:
            yield f"{dataset}: shown apart and not ranked: scored under different protocols"
    if len({group.dataset for group in listed}) > 1:
        yield "Different datasets are shown apart and not ranked against each other"


def _once(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
