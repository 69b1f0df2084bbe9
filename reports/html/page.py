"""Render a comparison as one self-contained HTML page: ``report.html``."""

from __future__ import annotations

import base64
import hashlib
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from diarbench.datasets.io.names import visible
from diarbench.reports.charts import interactive
from diarbench.reports.charts.charts import charts
from diarbench.reports.html.explorer import explore
from diarbench.reports.results.comparison import Comparison
from diarbench.reports.summary.summary import Section, Summary, summarize
from diarbench.reports.summary.verdict import verdict
from diarbench.reports.tables.contents import COSTS, SCORES, contents
from diarbench.reports.tables.identity import constants, identity_table
from diarbench.reports.tables.runs import COST_LEGEND, cost_table, epoch_table, protocol, recipes, runs_table, versions
from diarbench.reports.tables.scores import recordings_table, score_table
from diarbench.reports.tables.table import Cell, Column, Table


def render(comparison: Comparison, root: Path) -> str:
    """The page of a comparison whose files are under ``root``; missing files are listed on the page."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    templates = Path(__file__).parent / "templates"
    page, style, script = (
        (templates / name).read_text(encoding="utf-8") for name in ("report.html.j2", "report.css", "report.js")
    )
    summary = summarize(comparison)
    drawn = interactive.draw(charts(summary))
    library = interactive.library() if drawn else ""
    environment = Environment(
        autoescape=True, finalize=_shown, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    return environment.from_string(page).render(
        datasets=[_dataset(summary, dataset) for dataset in summary.datasets],
        failures=summary.failures,
        notes=summary.notes,
        charts=[chart.chart for chart in drawn],
        figures=[figure for chart in drawn for figure in chart.figures],
        # Compressed, and run only when a chart scrolls into view, so that the page opens fast.
        plotly=base64.b64encode(zlib.compress(library.encode(), 9)).decode(),
        explorer=explore(summary, root),
        epochs=[(visible(run.name), epoch_table(run)) for run in comparison.runs],
        runs=runs_table(comparison.runs),
        recipes=[(title, settings.splitlines()) for title, settings in recipes(comparison.runs)],
        versions=versions(comparison.runs),
        protocol=protocol(comparison),
        diarbench=comparison.diarbench,
        command=comparison.command.splitlines(),
        cost_legend=COST_LEGEND,
        style=Markup(style),
        script=Markup(script),
        # The page's policy allows only these scripts, so that a name injected as markup could run nothing.
        script_hashes=" ".join(f"'sha256-{_sha256(source)}'" for source in (script, library) if source),
    )


def _dataset(summary: Summary, dataset: str) -> dict[str, Any]:
    sections = [section for section in summary.sections if section.dataset == dataset]
    first = sections[0].condition
    return {
        "name": visible(dataset),
        "verdict": verdict(summary, dataset),
        "figures": _figures(sections),
        "figures_title": f"{SCORES}; {COSTS}",
        "recordings": recordings_table([section for section in sections if section.condition == first]),
        "condition": first.name,
        "same": constants(sections[0]),
        "more": [
            (f"{section.subset}, {section.condition.name}: {title}", table)
            for section in summary.of(dataset)
            for title, table in contents(summary, section)
            if title not in (SCORES, COSTS)  # in the table of figures
        ],
        "footnotes": summary.footnotes_of(dataset),
    }


def _figures(sections: list[Section]) -> Table:
    """Scores and costs of every subset and condition in one table that can be filtered."""
    merged = replace(sections[0], lines=tuple(line for section in sections for line in section.lines))
    scores = [score_table(section) for section in sections]
    score = Table(scores[0].columns, tuple(row for table in scores for row in table.rows))
    places = ((Cell(s.subset), Cell(visible(s.condition.name))) for s in sections for _ in s.lines)
    place = Table((Column("Subset"), Column("Condition")), tuple(places))
    return identity_table(merged) + score + cost_table(merged) + place


def _sha256(source: str) -> str:
    return base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()


def _shown(value: Any) -> Any:
    """Escape control characters in what the template prints, except in our own markup."""
    return visible(value) if type(value) is str else value
