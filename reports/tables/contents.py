"""The tables of a report: which ones, in which order and under which titles, for every renderer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from diarbench.reports.summary.summary import Section, Summary
from diarbench.reports.tables.changes import chosen_table, data_table, forgotten_table, tuned_table
from diarbench.reports.tables.folds import fold_table
from diarbench.reports.tables.identity import identity_table
from diarbench.reports.tables.recipe_search import recipe_search_table
from diarbench.reports.tables.runs import cost_table
from diarbench.reports.tables.scores import contrast_table, metric_table, over_seeds, score_table, slice_table
from diarbench.reports.tables.table import Table

SCORES = "Error rates, in % of reference speech"
COSTS = "Cost"
TITLES = (
    SCORES,
    COSTS,
    "DER over seeds",
    "DER by fold of the cross-validation, in % of reference speech",
    "Differences, in points of DER",
    "Recipes searched: DER on dev in % of the best epoch so far",
    "DER before and after tuning on dev, under the condition tuned for",
    "Tuned hyper-parameters that differ from their defaults",
    "DER by amount of training data (annotated hours; change from the row above, in points)",
    "DER before and after fine-tuning, on the training domain and on other domains",
    "Where the errors are, in points of DER (the parts of each slicing add up to the DER)",
    "Other metrics (pyannote.metrics, no collar)",
)


class TitledTable(NamedTuple):
    title: str
    table: Table


def contents(summary: Summary, section: Section) -> Iterator[TitledTable]:
    """The tables of one section in the order of ``TITLES``, systems by DER; tables without rows are left out.

    Costs, folds, tuning, training data, other domains, slices and other metrics come with a dataset's first condition
    only.
    """
    is_first = section.condition == summary.of(section.dataset, section.subset)[0].condition
    ranked = section.ranked
    identity = identity_table(ranked)
    tables = (
        identity + score_table(ranked),
        identity + cost_table(ranked) if is_first else None,
        over_seeds(section),
        fold_table(summary, section) if is_first else None,
        contrast_table(section),
        recipe_search_table(summary, section.dataset) if is_first else None,
        tuned_table(summary, section.dataset) if is_first else None,
        chosen_table(summary, section.dataset) if is_first else None,
        data_table(section) if is_first else None,
        forgotten_table(summary, section.dataset) if is_first else None,
        slice_table(section) if is_first else None,
        metric_table(section) if is_first else None,
    )
    for title, table in zip(TITLES, tables, strict=True):
        if table is not None:
            yield TitledTable(title, table)
