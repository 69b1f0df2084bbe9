"""Render a comparison as one self-contained HTML page: ``report.html``."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from diarbench.datasets.io.names import visible
from diarbench.reports.charts import interactive
from diarbench.reports.charts.charts import charts
from diarbench.reports.charts.static import Plot
from diarbench.reports.formatting import convention
from diarbench.reports.html.answer import answer
from diarbench.reports.html.explorer import explore
from diarbench.reports.html.template import render_template
from diarbench.reports.results.comparison import Comparison
from diarbench.reports.summary.comparability import STAGES
from diarbench.reports.summary.headline import headline
from diarbench.reports.summary.summary import Line, Section, Summary, summarize
from diarbench.reports.tables.contents import COSTS, SCORES, contents
from diarbench.reports.tables.identity import constants, identity_cells, identity_table
from diarbench.reports.tables.runs import COST_LEGEND, cost_table, epoch_table, protocol, recipes, runs_table, versions
from diarbench.reports.tables.scores import recordings_table, score_table
from diarbench.reports.tables.table import Cell, Column, Table


def render(comparison: Comparison, root: Path, plots: Sequence[Plot] = ()) -> str:
    """The page of a comparison whose files are under ``root``; missing files are listed on the page.

    ``plots`` are the same charts as pictures, for print and for browsers without scripts.
    """
    summary = summarize(comparison)
    drawn = interactive.draw(charts(summary))
    library = interactive.library() if drawn else ""
    pictures = {plot.name: base64.b64encode(plot.image()).decode() for plot in plots} if drawn else {}
    headlines = [headline(summary, dataset, root) for dataset in summary.datasets]
    return render_template(
        "report.html.j2",
        ("common.js", "timeline.js", "report.js"),
        library,
        title="; ".join(each.title for each in headlines) or "Comparison of speaker diarization systems",
        answers=[answer(summary, each) for each in headlines],
        datasets=[_dataset(summary, dataset) for dataset in summary.datasets],
        failures=summary.failures,
        notes=summary.notes,
        decisions=[visible(f"{run.name}: {decision}") for run in comparison.trained_runs for decision in run.decisions],
        charts=[chart.chart for chart in drawn],
        pictures=pictures,
        figures=[figure for chart in drawn for figure in chart.figures],
        # Compressed, and run only when a chart scrolls into view, so that the page opens fast.
        plotly=base64.b64encode(zlib.compress(library.encode(), 9)).decode(),
        explorer=explore(summary, root),
        epochs=[(visible(run.name), epoch_table(run)) for run in comparison.trained_runs],
        runs=runs_table(comparison.runs),
        recipes=[(title, settings.splitlines()) for title, settings in recipes(comparison.runs)],
        versions=versions(comparison.runs),
        protocol=protocol(comparison),
        diarbench=comparison.diarbench,
        command=comparison.command.splitlines(),
        cost_legend=COST_LEGEND,
    )


def _dataset(summary: Summary, dataset: str) -> dict[str, Any]:
    """The tables of a dataset: the systems by DER, and what is folded."""
    sections = [section for section in summary.sections if section.dataset == dataset]
    first = sections[0]
    ranked = first.ranked.lines
    systems = [line for line in ranked if line.run is None or line.stage in STAGES or line.row is None]
    systems = [line for line in systems if line.backend != "reference"]
    return {
        "name": visible(dataset),
        "systems": _scores(first, systems),
        "others": _scores(first, [line for line in ranked if line not in systems]),
        "all": _all_figures(sections),
        "recordings": recordings_table([section for section in sections if section.condition == first.condition]),
        "where": f"{first.subset}, {convention(first.condition)}",
        "condition": first.condition.name,
        "same": constants(first),
        "more": [
            (f"{section.subset}, {section.condition.name}: {title}", table)
            for section in summary.of(dataset)
            for title, table in contents(summary, section)
            if title not in (SCORES, COSTS)  # in the tables of systems
        ],
        "footnotes": summary.footnotes_of(dataset),
    }


def _scores(section: Section, lines: Sequence[Line]) -> Table:
    """The identity of these lines of a section, their error rates, and the cost in a word."""
    part = replace(section, lines=tuple(lines))
    costs = cost_table(part)
    short = [at for at, column in enumerate(costs.columns) if column.name in ("Train s", "RTF")]
    shown = identity_table(section).columns
    identity = Table(shown, tuple(identity_cells(line, shown) for line in lines))
    return identity + score_table(part) + costs.only(short)


def _all_figures(sections: list[Section]) -> Table:
    """Scores and costs of every subset and condition in one table that can be filtered."""
    merged = replace(sections[0], lines=tuple(line for section in sections for line in section.lines))
    scores = [score_table(section) for section in sections]
    score = Table(scores[0].columns, tuple(row for table in scores for row in table.rows))
    places = ((Cell(s.subset), Cell(visible(s.condition.name))) for s in sections for _ in s.lines)
    place = Table((Column("Subset"), Column("Condition")), tuple(places))
    return identity_table(merged) + place + score + cost_table(merged)
