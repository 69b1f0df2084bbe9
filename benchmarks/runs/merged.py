"""Paired differences between the systems of merged comparisons, from the scores of each recording in their rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations

from diarbench.benchmarks.runs.comparison import difference_of
from diarbench.reports.results.comparison import Comparison
from diarbench.reports.results.statistics import Contrast
from diarbench.reports.summary.summary import Section, summarize


def with_contrasts(comparison: Comparison) -> Comparison:
    """The comparison with the differences that its report needs; one that has them already stays as it is."""
    if comparison.contrasts:
        return comparison
    sections = [section for section in summarize(comparison).sections if section.subset == "test"]
    contrasts = tuple(contrast for section in sections for contrast in _contrasts(section, comparison.groups))
    return comparison.model_copy(update={"contrasts": contrasts})


def _contrasts(section: Section, groups: Mapping[str, Mapping[str, int]]) -> Iterator[Contrast]:
    """Between the systems that compete, each at its best stage, and between the stages of each system."""
    pairs = [*combinations(section.contenders, 2), *(pair for each in section.stages for pair in combinations(each, 2))]
    rows = [line.row for line in section.lines if line.row]
    starts = {row.run: row for row in rows if row.run and row.stage == "pretrained"}
    for a, b in pairs:
        try:
            difference = difference_of(a.rows, b.rows, groups.get(section.dataset, {}), starts)
        except ValueError:  # other recordings, other references, or no speech that is scored
            continue
        yield Contrast(
            dataset=section.dataset,
            subset=section.subset,
            condition=section.condition.name,
            a=a.label,
            b=b.label,
            difference=difference,
            verdict=difference.verdict(a.label, b.label),
            explains={},
        )
