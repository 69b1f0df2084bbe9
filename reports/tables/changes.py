"""Tables of changes: more training data, other domains, and tuning."""

from __future__ import annotations

from diarbench.datasets.io.names import visible
from diarbench.reports.formatting import NONE, count, difference_span, number, percent, points
from diarbench.reports.results.statistics import Contrast
from diarbench.reports.summary.summary import Section, Summary
from diarbench.reports.tables.table import Cell, Column, Table


def data_table(section: Section) -> Table | None:
    """DER by fraction of the train set, with the change from the next smaller one; None where all are equal."""
    home = [contender for contender in section.last_stages if not contender.lines[0].is_out_of_domain]
    kinds = list(dict.fromkeys((c.runs[0].backend, c.runs[0].recipe) for c in home))
    systems = sorted(home, key=lambda c: (kinds.index((c.runs[0].backend, c.runs[0].recipe)), c.runs[0].train_fraction))
    if len({contender.runs[0].train_fraction for contender in systems}) < 2:
        return None
    rows = []
    for before, contender in zip([None, *systems], systems, strict=False):
        contrast = section.contrast(before, contender) if before else None
        train_s = contender.train_s
        rows.append(
            (
                Cell(visible(contender.label)),
                Cell(number(train_s and train_s / 3600, "{:.3g}"), train_s),
                Cell(percent(contender.der), contender.der),
                *_change(contrast, contender.label),
            )
        )
    names = ("System", "Hours", "DER %", "Change", "95 % interval", "p")
    return Table(tuple(Column(name, n > 0) for n, name in enumerate(names)), tuple(rows))


def forgotten_table(summary: Summary, dataset: str) -> Table | None:
    """DER before and after fine-tuning, on the dataset and on other domains; None without other domains."""
    other_domains = summary.is_out_of_domain(dataset)
    rows = []
    for section in (*summary.of(dataset)[:1], *other_domains) if other_domains else ():
        for contender in section.last_stages:
            start = section.first_stage(contender)
            if start and contender.runs[0].dataset == dataset:
                rows.append(
                    (
                        Cell(visible(contender.label.removesuffix(f" on {dataset}"))),
                        Cell(visible(section.dataset)),
                        Cell(percent(start.der), start.der),
                        Cell(percent(contender.der), contender.der),
                        *_change(section.contrast(start, contender), contender.label, contender.der - start.der),
                    )
                )
    names = ("System", "Scored on", "Before %", "After %", "Change", "95 % interval", "p")
    return Table(tuple(Column(name, n > 1) for n, name in enumerate(names)), tuple(rows)) if rows else None


def tuned_table(summary: Summary, dataset: str) -> Table | None:
    """DER before and after tuning, on dev and test: a gain on dev alone is overfitting to dev."""
    der = {(row.run, row.stage, row.subset, row.condition): row.der for row in summary.comparison.rows}
    rows = []
    for run in summary.comparison.runs:
        if run.tuning and run.dataset == dataset:
            pairs = [
                [der.get((run.name, stage, subset, run.tuning.condition)) for stage in ("finetuned", "tuned")]
                for subset in ("dev", "test")
            ]
            rates = [
                cell
                for before, after in pairs
                for change in [None if before is None or after is None else after - before]
                for cell in (Cell(percent(before), before), Cell(percent(after), after), Cell(points(change), change))
            ]
            trials = len(run.tuning.trials) + (len(run.tuning.upstream.trials) if run.tuning.upstream else 0)
            rows.append((Cell(visible(run.name)), Cell(count(trials), trials), *rates))
    names = ("Run", "Trials", "Dev %", "tuned", "change", "Test %", "tuned", "change")
    return Table(tuple(Column(name, n > 0) for n, name in enumerate(names)), tuple(rows)) if rows else None


def chosen_table(summary: Summary, dataset: str) -> Table | None:
    """The hyper-parameters that tuning changed, one row each."""
    rows = [
        tuple(Cell(visible(text)) for text in (run.name, name, _value(run.tuning.defaults.get(name)), _value(value)))
        for run in summary.comparison.trained_runs
        if run.tuning and run.dataset == dataset
        for name, value in run.tuning.chosen.items()
        if value != run.tuning.defaults.get(name)
    ]
    names = ("Run", "Hyper-parameter", "Default", "Chosen")
    return Table(tuple(Column(name, n > 1) for n, name in enumerate(names)), tuple(rows)) if rows else None


def _change(contrast: Contrast | None, to: str, otherwise: float | None = None) -> tuple[Cell, Cell, Cell]:
    """The change in DER to the system labelled ``to``, in points, with interval and p where recorded.

    Without a contrast the change is ``otherwise``.
    """
    if contrast is None:
        return Cell(points(otherwise), otherwise), Cell(NONE), Cell(NONE)
    difference = contrast.difference if contrast.b == to else contrast.difference.reversed()
    return (
        Cell(points(difference.der), difference.der),
        Cell(difference_span(difference.interval), difference.interval.low),
        Cell(f"{difference.p:.2g}", difference.p),
    )


def _value(value: float | int | str | None) -> str:
    return f"{value:.3g}" if isinstance(value, float) else NONE if value is None else str(value)
