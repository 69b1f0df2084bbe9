"""The searches for a recipe, side by side."""

from __future__ import annotations

from typing import Any

from diarbench.datasets.io.names import visible
from diarbench.reports.formatting import NONE, minutes, percent
from diarbench.reports.results.recipe_search import RecipeTrial
from diarbench.reports.summary.summary import Summary
from diarbench.reports.tables.table import Cell, Column, Table


def recipe_search_table(summary: Summary, dataset: str) -> Table | None:
    """Every recipe of every search, those that got furthest first; None without a search."""
    searches = [
        (run, run.recipe_search)
        for run in summary.comparison.trained_runs
        if run.recipe_search and run.dataset == dataset
    ]
    epochs = sorted({epoch for _, search in searches for epoch in search.rungs})
    rows = []
    for run, search in searches:
        order = sorted(enumerate(search.trials), key=lambda pair: (-len(pair[1].dev_der), pair[1].dev_der[-1]))
        for number, trial in order:
            der = dict(zip(search.rungs, trial.dev_der, strict=False))
            rows.append(
                (
                    Cell(visible(run.name)),
                    Cell(f"{_in_words(trial)}{' (chosen)' if number == search.chosen else ''}"),
                    *(Cell(percent(der.get(epoch)), der.get(epoch)) for epoch in epochs),
                    Cell(minutes(trial.audio_s), trial.audio_s),
                )
            )
        total = (NONE for _ in epochs)
        rows.append((Cell(visible(run.name)), Cell("all"), *map(Cell, total), Cell(minutes(search.audio_s))))
    names = ("Run", "Recipe", *(f"Epoch {epoch}" for epoch in epochs), "Audio seen")
    return Table(tuple(Column(name, n > 1) for n, name in enumerate(names)), tuple(rows)) if rows else None


def _in_words(trial: RecipeTrial) -> str:
    changes = [f"{key} {_value(value)}" for key, value in trial.changes.items() if value not in (None, {}, 0.0)]
    return visible(", ".join(changes)) if trial.changes else "as given"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return value["name"] if "name" in value else " ".join(f"{key} {_value(each)}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
