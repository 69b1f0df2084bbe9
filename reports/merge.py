"""Several comparisons as one, as far as their figures may stand side by side."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
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
        for dataset in dict.fromkeys([run.dataset for run in moved.runs] + [row.dataset for row in moved.rows]):
            fingerprints = frozenset(run.fingerprint for run in moved.runs if run.dataset == dataset)
            groups.setdefault(Group(dataset, fingerprints, moved.conditions), []).append(_only(moved, dataset))
    return [_joined(parts) for parts in groups.values()], list(_apart(groups))


def _moved(comparison: Comparison, prefix: str) -> Comparison:
    runs = (run.model_copy(update={"name": f"{prefix}/{run.name}"}) for run in comparison.runs)
    rows = (row.model_copy(update={"run": row.run and f"{prefix}/{row.run}"}) for row in comparison.rows)
    rests_on = {f"{prefix}/{path}": sha256 for path, sha256 in comparison.rests_on.items()}
    return comparison.model_copy(update={"runs": tuple(runs), "rows": tuple(rows), "rests_on": rests_on})


def _only(comparison: Comparison, dataset: str) -> Comparison:
    runs = tuple(run for run in comparison.runs if run.dataset == dataset)
    rows = tuple(row for row in comparison.rows if row.dataset == dataset)
    contrasts = tuple(contrast for contrast in comparison.contrasts if contrast.dataset == dataset)
    return comparison.model_copy(update={"runs": runs, "rows": rows, "contrasts": contrasts})


def _joined(parts: list[Comparison]) -> Comparison:
    """Reference systems are the same in each part, and are kept once.

    Contrasts and fusions are of one comparison's systems and say nothing of another's: they are left out.
    """
    if len(parts) == 1:
        return parts[0]
    rows: dict[object, Row] = {}
    for number, row in enumerate(row for part in parts for row in part.rows):
        if row.run is not None or row.backend == "reference":
            rows.setdefault((row.stage, row.subset, row.condition) if row.run is None else number, row)
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
