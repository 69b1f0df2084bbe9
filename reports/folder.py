"""The reports of a comparison, into its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diarbench.reports import markdown, page, plots
from diarbench.reports.records import Comparison, write_whole
from diarbench.reports.summary import summarize


def write_reports(comparisons: Sequence[Comparison], out: Path) -> list[Path]:
    """Write ``report.md`` with its ``plots/``, and ``report.html``.

    Pictures only where matplotlib is installed, the page's only where plotly is. ``out`` is where the files that the
    comparisons rest on are. Several comparisons, which may not be ranked against each other, get ``report-1.md`` and so
    on. Returns the reports' paths.
    """
    written = []
    first_dataset = 1
    for number, comparison in enumerate(comparisons, start=1):
        name = "report" if len(comparisons) == 1 else f"report-{number}"
        summary = summarize(comparison)
        drawn = plots.draw(summary, start=first_dataset)
        first_dataset += len(summary.datasets)
        for plot in drawn:
            write_whole(out / "plots" / f"{plot.name}.png", plot.image())
        write_whole(out / f"{name}.md", markdown.render(comparison, drawn))
        write_whole(out / f"{name}.html", page.render(comparison, out))
        written += [out / f"{name}.md", out / f"{name}.html"]
    return written
