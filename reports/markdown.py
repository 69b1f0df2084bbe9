"""A comparison as Markdown that GitHub renders: ``report.md``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from diarbench.reports.cells import (
    CHOSEN_LEGEND,
    COST_LEGEND,
    DATA_LEGEND,
    FORGOTTEN_LEGEND,
    TUNED_LEGEND,
    Table,
    chosen_table,
    constants,
    contrast_table,
    cost_table,
    data_table,
    epoch_table,
    forgotten_table,
    identity_table,
    metric_table,
    over_seeds,
    protocol,
    recipes,
    runs_table,
    score_table,
    slice_table,
    tuned_table,
    versions,
)
from diarbench.reports.plots import Plot
from diarbench.reports.records import Comparison, Run
from diarbench.reports.summary import Section, Summary, summarize, verdict
from diarbench.reports.text import convention, visible


def render(comparison: Comparison, plots: Sequence[Plot] = ()) -> str:
    """The verdict, a table a condition, cost, marks, epochs, what was run on what, and how to repeat it.

    Plots are linked as ``plots/NAME.png``.
    """
    summary = summarize(comparison)
    return "\n".join(_lines(summary, plots)) + "\n"


def escape(name: object) -> str:
    """Text that stays text: whatever would be markup, a link or a cell's end is escaped."""
    escaped = re.sub(r"([\\`*_\[\]<>&|~$#])", r"\\\1", visible(name))
    return re.sub(r"(?i)(:)(?=//)|(?<=www)(\.)", r"\\\g<0>", escaped)


def code(text: str, language: str = "sh") -> str:
    """A fenced block, whatever the text holds."""
    lines = [visible(line) for line in text.splitlines()]
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join((f"{fence}{language}", *lines, fence))


def table(content: Table) -> str:
    rows = [
        [escape(column.name) for column in content.columns],
        ["---:" if column.numeric else "---" for column in content.columns],
        *([escape(cell.text) for cell in row] for row in content.rows),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _lines(summary: Summary, plots: Sequence[Plot]) -> Iterator[str]:
    comparison = summary.comparison
    yield "# Comparison of speaker diarization systems"
    for dataset in summary.datasets:
        yield from ("", f"## {escape(dataset)}", "", escape(verdict(summary, dataset)))
        for number, section in enumerate(summary.of(dataset)):
            yield from _section(section, first=number == 0)
            if number == 0:
                yield from _table(f"{TUNED_LEGEND}:", tuned_table(summary, dataset))
                yield from _table(f"{CHOSEN_LEGEND}:", chosen_table(summary, dataset))
                yield from _table(f"{DATA_LEGEND}:", data_table(section))
                yield from _table(f"{FORGOTTEN_LEGEND}:", forgotten_table(summary, dataset))
        yield from _list("Not like for like", (f"({k}) {v}" for k, v in summary.footnotes_of(dataset).items()))
    for plot in plots:
        yield from ("", f"![{escape(plot.text)}](plots/{plot.name}.png)", "", escape(plot.text))
    yield from _list("Failed or unfinished", summary.failures)
    yield from _list("Dropped, clipped or cut", summary.notes)
    if any(run.epochs for run in comparison.runs):
        yield from ("", "## Epochs")
        for run in comparison.runs:
            yield from _epochs(run)
    yield from ("", "## What was run on what", "")
    yield table(runs_table(comparison.runs))
    yield from _list("Versions", versions(comparison.runs))
    yield from _list("Protocol", protocol(comparison))
    for title, settings in recipes(comparison.runs):
        yield from ("", f"### {escape(title)}", "", code(settings, "yaml"))
    yield from ("", f"Repeat it with diarbench {escape(comparison.diarbench)}:", "", code(comparison.command))


def _section(section: Section, first: bool) -> Iterator[str]:
    same = constants(section)
    yield from ("", f"### {escape(section.dataset)}, {section.subset}, {escape(section.condition.name)}", "")
    yield escape(f"{convention(section.condition)}{f'; {same}' if same else ''}. Parts are in % of reference speech.")
    yield from ("", table(identity_table(section) + score_table(section)))
    yield from _table("Over the seeds:", over_seeds(section))
    yield from _table("Differences, in points of DER:", contrast_table(section))
    if first:
        yield from _table(f"What it took. {COST_LEGEND}", identity_table(section) + cost_table(section))
        yield from _table("Where the error is: points of DER, a slicing's parts adding up to it:", slice_table(section))
        yield from _table("Other figures by pyannote.metrics, without a collar:", metric_table(section))


def _table(title: str, content: Table | None) -> Iterator[str]:
    if content is not None:
        yield from ("", title, "", table(content))


def _list(title: str, items: Iterable[str]) -> Iterator[str]:
    listed = list(items)
    if listed:
        yield from ("", f"### {title}", "")
        yield from (f"- {escape(item)}" for item in listed)


def _epochs(run: Run) -> Iterator[str]:
    yield from ("", f"### {escape(run.name)}", "")
    if not run.epochs:
        yield "No epoch was finished."
        return
    yield table(epoch_table(run))
    best = "" if run.best_epoch is None else f" The best epoch was {run.best_epoch}."
    yield from ("", f"Rates are fractions over dev windows at the best threshold; epoch 0 is before training.{best}")
