"""The reports of a comparison, into its folder."""

from __future__ import annotations

from pathlib import Path

from diarbench.reports import markdown, page, plots
from diarbench.reports.records import Comparison, write_whole
from diarbench.reports.summary import summarize


def write_reports(comparison: Comparison, out: Path) -> list[Path]:
    """Write ``report.md`` with its ``plots/``, and ``report.html``; pictures only where matplotlib is installed.

    ``out`` is where the files that the comparison rests on are. Returns the two reports' paths.
    """
    drawn = plots.draw(summarize(comparison))
    for plot in drawn:
        write_whole(out / "plots" / f"{plot.name}.png", plot.image("png"))
    write_whole(out / "report.md", markdown.render(comparison, drawn))
    write_whole(out / "report.html", page.render(comparison, out, drawn))
    return [out / "report.md", out / "report.html"]
