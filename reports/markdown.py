"""Render a comparison as GitHub Markdown: ``report.md``."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from diarbench.datasets.io.names import visible
from diarbench.reports.charts.static import Plot
from diarbench.reports.formatting import convention
from diarbench.reports.results.comparison import Comparison
from diarbench.reports.results.run import Run
from diarbench.reports.summary.headline import Headline, headline
from diarbench.reports.summary.summary import Section, Summary, summarize
from diarbench.reports.tables.contents import COSTS, SCORES, contents
from diarbench.reports.tables.identity import constants
from diarbench.reports.tables.runs import COST_LEGEND, epoch_table, protocol, recipes, runs_table, versions
from diarbench.reports.tables.standings import standings_table
from diarbench.reports.tables.table import Table


def render(comparison: Comparison, folder: Path, plots: Sequence[Plot] = ()) -> str:
    """``report.md`` of the comparison in ``folder``; plots are linked as ``plots/NAME.png``."""
    return "\n".join(_lines(summarize(comparison), folder, plots)) + "\n"


def render_summary(comparisons: Sequence[Comparison], folder: Path) -> str:
    """The answer alone, short enough for a comment on a pull request."""
    summaries = map(summarize, comparisons)
    return "\n".join(line for summary in summaries for line in _summary_lines(summary, folder)) + "\n"


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


def _summary_lines(summary: Summary, folder: Path) -> Iterator[str]:
    """The answer for each dataset, and the failed runs."""
    for dataset in summary.datasets:
        yield from _headline_lines(headline(summary, dataset, folder))
    yield from _list("Failed or unfinished", summary.failures)


def _headline_lines(each: Headline) -> Iterator[str]:
    yield from (f"## {escape(each.title)}", "", f"**{escape(each.verdict)}**", "")
    if each.standings:
        yield table(standings_table(each))
        yield ""
    yield from (f"- {step}: {escape(text)}." for step, text in each.effects.items())
    yield f"- DER in %. {escape(each.where)}."
    if each.caveats:
        yield from ("", *_folded("Caveats", (f"- {escape(caveat)}" for caveat in each.caveats)))
    if each.next_steps:
        yield from ("", "Next:", "", code("\n".join(f"{s.command}  # {s.text}" for s in each.next_steps)), "")


def _folded(title: str, lines: Iterable[str]) -> Iterator[str]:
    """Lines that a reader opens; GitHub needs the empty lines to render Markdown inside."""
    yield from ("<details>", f"<summary>{html.escape(visible(title))}</summary>", "", *lines, "", "</details>")


def _lines(summary: Summary, folder: Path, plots: Sequence[Plot]) -> Iterator[str]:
    """The answer, the systems, their errors, the charts; then details, folded."""
    comparison = summary.comparison
    yield from ("# Comparison of speaker diarization systems", "")
    yield from _summary_lines(summary, folder)
    for dataset in summary.datasets:
        first, *others = summary.of(dataset) or [None]
        if first is None:
            continue
        for at, section in enumerate((first, *others)):
            lines = _section(summary, section)
            yield from ("", *(lines if at == 0 else _folded(_place(section), lines)))
        footnotes = summary.footnotes_of(dataset)
        yield from _list("Not directly comparable", (f"({mark}) {reason}" for mark, reason in footnotes.items()))
    for plot in plots:
        yield from ("", f"![{escape(plot.text)}](plots/{plot.name}.png)", "", escape(plot.text))
    decisions = (f"{run.name}: {decision}" for run in comparison.trained_runs for decision in run.decisions)
    yield from _list("Decided on dev", decisions)
    yield from _list("Notes on the runs", summary.notes)
    for run in comparison.trained_runs:
        if run.epochs:
            yield from ("", *_folded(f"Epochs of {run.name}", _epochs(run)))
    yield from ("", *_folded("Runs, versions, protocol and recipes", _provenance(comparison)))


def _provenance(comparison: Comparison) -> Iterator[str]:
    yield table(runs_table(comparison.runs))
    yield from _list("Versions", versions(comparison.runs))
    yield from _list("Protocol", protocol(comparison))
    for title, settings in recipes(comparison.runs):
        yield from ("", f"### {escape(title)}", "", code(settings, "yaml"))
    yield from ("", f"To repeat it with diarbench {escape(comparison.diarbench)}:", "", code(comparison.command))


def _place(section: Section) -> str:
    return f"{section.dataset}, {section.subset}, {section.condition.name}"


def _section(summary: Summary, section: Section) -> Iterator[str]:
    """The table of systems, lowest DER first; the other tables are folded."""
    same = constants(section)
    yield from (f"### {escape(_place(section))}", "")
    yield escape(f"{convention(section.condition)}{f'; {same}' if same else ''}.")
    for title, content in contents(summary, section):
        legend = ("", COST_LEGEND) if title == COSTS else ()
        lines = (f"#### {escape(title)}", "", table(content), *legend)
        yield from ("", *(lines if title == SCORES else _folded(title, lines)))


def _list(title: str, items: Iterable[str]) -> Iterator[str]:
    listed = list(items)
    if listed:
        yield from ("", f"### {title}", "")
        yield from (f"- {escape(item)}" for item in listed)


def _epochs(run: Run) -> Iterator[str]:
    best = "" if run.best_epoch is None else f" The best epoch was {run.best_epoch}."
    yield table(epoch_table(run))
    yield from ("", f"Rates are fractions over dev windows at the best threshold; epoch 0 is before training.{best}")
