"""The table of a cross-validation: each fold's error rates on its own test recordings."""

from __future__ import annotations

from diarbench.datasets.io.names import visible
from diarbench.reports.formatting import percent
from diarbench.reports.results.scores import rates_of
from diarbench.reports.summary.comparability import STAGES
from diarbench.reports.summary.summary import Section, Summary
from diarbench.reports.tables.scores import RATE_COLUMNS
from diarbench.reports.tables.table import Cell, Column, Table


def fold_table(summary: Summary, section: Section) -> Table | None:
    """DER and its parts by system, stage and fold, in per cent of reference speech; None without folds.

    Oracles are left out.
    """
    runs = {run.name: run for run in summary.comparison.fold_runs}
    rows = []
    for row in summary.comparison.fold_rows:
        run = runs.get(row.run or "")
        if run is None or run.fold is None:
            continue
        is_here = (row.dataset, row.subset, row.condition) == (section.dataset, section.subset, section.condition.name)
        if is_here and row.stage in STAGES:
            fold = f"fold {run.fold.number} of {run.fold.of}"
            fold += f", repetition {run.fold.repetition}" if run.fold.repetition > 1 else ""
            recordings = ", ".join(part.uri for part in row.files)
            identity = (row.backend, row.recipe, row.seed, row.stage, fold, recordings)
            rows.append((*(Cell(visible(value)) for value in identity), *(Cell(percent(r), r) for r in rates_of(row))))
    names = ("Backend", "Recipe", "Seed", "Stage", "Fold", "Recordings")
    return Table((*map(Column, names), *RATE_COLUMNS), tuple(rows)) if rows else None
