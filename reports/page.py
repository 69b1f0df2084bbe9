"""A comparison as one HTML page, ``report.html``: opens from disk, asks no server and no network for anything."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diarbench.reports.cells import (
    COST_LEGEND,
    DATA_LEGEND,
    FORGOTTEN_LEGEND,
    Cell,
    Column,
    Table,
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
    recordings_table,
    runs_table,
    score_table,
    slice_table,
    versions,
)
from diarbench.reports.explorer import explore
from diarbench.reports.plots import Plot
from diarbench.reports.records import Comparison
from diarbench.reports.summary import Section, Summary, summarize, verdict
from diarbench.reports.text import visible


def render(comparison: Comparison, root: Path, plots: Sequence[Plot] = ()) -> str:
    """The page of a comparison whose files lie under ``root``; what is missing there is shown as missing."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    templates = Path(__file__).parent / "templates"
    page, style, script = (
        (templates / name).read_text(encoding="utf-8") for name in ("report.html.j2", "report.css", "report.js")
    )
    summary = summarize(comparison)
    environment = Environment(
        autoescape=True, finalize=_shown, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    return environment.from_string(page).render(
        datasets=[_dataset(summary, dataset) for dataset in summary.datasets],
        failures=summary.failures,
        notes=summary.notes,
        plots=[(plot.text, base64.b64encode(plot.image("svg")).decode()) for plot in plots],
        explorer=explore(summary, root),
        epochs=[(visible(run.name), epoch_table(run)) for run in comparison.runs],
        runs=runs_table(comparison.runs),
        versions=versions(comparison.runs),
        protocol=protocol(comparison),
        diarbench=comparison.diarbench,
        command=comparison.command.splitlines(),
        cost_legend=COST_LEGEND,
        style=Markup(style),
        script=Markup(script),
        # The one script that the page's policy lets run: a name that got through as markup could still do nothing.
        script_sha256=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


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
                ("where the error is, in points of DER; a slicing's parts add up to it", slice_table(sections[0])),
                ("other figures by pyannote.metrics, without a collar", metric_table(sections[0])),
            )
            if table
        ],
        "footnotes": summary.footnotes_of(dataset),
    }


def _figures(sections: list[Section]) -> Table:
    """Every subset and condition in one table, to be filtered."""
    tables = []
    for section in sections:
        where = (Cell(section.subset), Cell(visible(section.condition.name)))
        place = Table((Column("Subset"), Column("Condition")), tuple(where for _ in section.lines))
        tables.append(identity_table(section) + score_table(section) + cost_table(section) + place)
    return Table(tables[0].columns, tuple(row for table in tables for row in table.rows))
