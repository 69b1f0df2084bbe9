"""Render a comparison as GitHub Markdown: ``report.md``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from diarbench.datasets.io.names import visible
from diarbench.reports.charts.static import Plot
from diarbench.reports.formatting import convention
from diarbench.reports.results.comparison import Comparison
from diarbench.reports.results.run import Run
from diarbench.reports.summary.summary import Section, Summary, summarize
from diarbench.reports.summary.verdict import verdict
from diarbench.reports.tables.contents import COSTS, contents
from diarbench.reports.tables.identity import constants
from diarbench.reports.tables.runs import COST_LEGEND, epoch_table, protocol, recipes, runs_table, versions
from diarbench.reports.tables.table import Table


def render(comparison: Comparison, plots: Sequence[Plot] = ()) -> str:
    """``report.md``; plots are linked as ``plots/NAME.png``."""
    return "\n".join(_lines(summarize(comparison), plots)) + "\n"


def escape(name: object) -> str:
    """Escape markup, links and cell separators."""
    escaped = re.sub(r"([\\`*_\[\]<>&|~$#])", r"\\\1", visible(name))
    return re.sub(r"(?i)(:)(?=//)|(?<=www)(\.)", r"\\\g<0>", escaped)


def code(text: str, language: str = "sh") -> str:
    """A fenced code block; its fence is longer than any in the text."""
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
        for section in summary.of(dataset):
            yield from _section(summary, section)
        footnotes = summary.footnotes_of(dataset)
        yield from _list("Not directly comparable", (f"({mark}) {reason}" for mark, reason in footnotes.items()))
    for plot in plots:
        yield from ("", f"![{escape(plot.text)}](plots/{plot.name}.png)", "", escape(plot.text))
    yield from _list("Failed or unfinished", summary.failures)
    yield from _list("Dropped, clipped or truncated data", summary.notes)
    if any(run.epochs for run in comparison.runs):
        yield from ("", "## Epochs")
        for run in comparison.runs:
            yield from _epochs(run)
    yield from ("", "## Runs", "")
    yield table(runs_table(comparison.runs))
    yield from _list("Versions", versions(comparison.runs))
    yield from _list("Protocol", protocol(comparison))
    for title, settings in recipes(comparison.runs):
        yield from ("", f"### {escape(title)}", "", code(settings, "yaml"))
    yield from (
        "",
        f"To repeat it with diarbench {escape(comparison.diarbench)}:",
        "",
        code(comparison.command),
    )


def _section(summary: Summary, section: Section) -> Iterator[str]:
    same = constants(section)
    yield from ("", f"### {escape(section.dataset)}, {section.subset}, {escape(section.condition.name)}", "")
    yield escape(f"{convention(section.condition)}{f'; {same}' if same else ''}.")
    for title, content in contents(summary, section):
        yield from ("", f"#### {escape(title)}", "", table(content))
        if title == COSTS:
            yield from ("", COST_LEGEND)


def _list(title: str, items: Iterable[str]) -> Iterator[str]:
    listed = list(items)
    if listed:
        yield from ("", f"### {title}", "")
        yield from (f"- {escape(item)}" for item in listed)


def _epochs(run: Run) -> Iterator[str]:
    yield from ("", f"### {escape(run.name)}", "")
    if not run.epochs:
        yield "No epoch was completed."
        return
    yield table(epoch_table(run))
    best = "" if run.best_epoch is None else f" The best epoch was {run.best_epoch}."
    yield from ("", f"Rates are fractions over dev windows at the best threshold; epoch 0 is before training.{best}")
