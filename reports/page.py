"""A comparison as one HTML page, ``report.html``: opens from disk, asks no server and no network for anything."""

from __future__ import annotations

import base64
import hashlib
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from diarbench.reports import interactive
from diarbench.reports.cells import (
    CHOSEN_LEGEND,
    COST_LEGEND,
    DATA_LEGEND,
    FORGOTTEN_LEGEND,
    TUNED_LEGEND,
    Cell,
    Column,
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
    recordings_table,
    runs_table,
    score_table,
    slice_table,
    tuned_table,
    versions,
)
from diarbench.reports.charts import charts
from diarbench.reports.explorer import explore
from diarbench.reports.records import Comparison
from diarbench.reports.summary import Section, Summary, summarize, verdict
from diarbench.reports.text import visible


def render(comparison: Comparison, root: Path) -> str:
    """The page of a comparison whose files lie under ``root``; what is missing there is shown as missing."""
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
        charts=[each.chart for each in drawn],
        figures=[figure for each in drawn for figure in each.figures],
        # Deflated, and run only once a picture comes into view: the page opens as fast as without.
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
        # The scripts that the page's policy lets run: a name that got through as markup could still do nothing.
        script_hashes=" ".join(f"'sha256-{_sha256(source)}'" for source in (script, library) if source),
    )


def _sha256(source: str) -> str:
    return base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()


def _shown(value: Any) -> Any:
    """What the template prints: plain text made visible; markup of our own as it is."""
    return visible(value) if type(value) is str else value


def _dataset(summary: Summary, dataset: str) -> dict[str, Any]:
    sections = [section for section in summary.sections if section.dataset == dataset]
    first = sections[0].condition
    return {
        "name": visible(dataset),
        "verdict": verdict(summary, dataset),
        "figures": _figures(sections),
        "recordings": recordings_table([section for section in sections if section.condition == first]),
        "condition": first.name,
        "same": constants(sections[0]),
        "more": [
            (title, table)
            for title, table in (
                ("over the seeds", over_seeds(sections[0])),
                ("differences, in points of DER", contrast_table(sections[0])),
                (DATA_LEGEND, data_table(sections[0])),
                (FORGOTTEN_LEGEND, forgotten_table(summary, dataset)),
                (TUNED_LEGEND, tuned_table(summary, dataset)),
                (CHOSEN_LEGEND, chosen_table(summary, dataset)),
                ("where the error is, in points of DER; a slicing's parts add up to it", slice_table(sections[0])),
                ("other figures by pyannote.metrics, without a collar", metric_table(sections[0])),
            )
            if table
        ],
        "footnotes": summary.footnotes_of(dataset),
    }


def _figures(sections: list[Section]) -> Table:
    """Every subset and condition in one table, to be filtered."""
    whole = replace(sections[0], lines=tuple(line for section in sections for line in section.lines))
    scores = [score_table(section) for section in sections]
    score = Table(scores[0].columns, tuple(row for table in scores for row in table.rows))
    places = ((Cell(each.subset), Cell(visible(each.condition.name))) for each in sections for _ in each.lines)
    place = Table((Column("Subset"), Column("Condition")), tuple(places))
    return identity_table(whole) + score + cost_table(whole) + place
