"""Write the reports of a comparison into its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diarbench.datasets.io.files import write_atomic
from diarbench.datasets.io.lock import hold
from diarbench.reports import markdown
from diarbench.reports.charts import static as plots
from diarbench.reports.html import page
from diarbench.reports.results.comparison import Comparison
from diarbench.reports.results.run_folder import ComparisonFolder, refuse_links
from diarbench.reports.summary.summary import summarize


def write_reports(comparisons: Sequence[Comparison], out: Path) -> list[Path]:
    """Write ``report.md`` with its ``plots/``, and ``report.html``.

    ``plots/`` needs matplotlib and the page's charts need plotly; without them they are left out. ``out`` also holds
    the source files of the comparisons. Several comparisons get ``report-1.md`` and so on, as they must not be ranked
    together. Returns the paths of the reports. Raises HeldError while another process writes to ``out``: pages of one
    comparison would show plots of another.
    """
    with hold(out):
        return _write(comparisons, out)


def _write(comparisons: Sequence[Comparison], out: Path) -> list[Path]:
    folder, written = ComparisonFolder(out), []
    refuse_links(folder.plots)
    first_dataset = 1
    for number, comparison in enumerate(comparisons, start=1):
        numbered = None if len(comparisons) == 1 else number
        summary = summarize(comparison)
        drawn = plots.draw(summary, start=first_dataset)
        first_dataset += len(summary.datasets)
        for plot in drawn:
            write_atomic(folder.plots / f"{plot.name}.png", plot.image())
        write_atomic(folder.report("md", numbered), markdown.render(comparison, out, drawn))
        write_atomic(folder.report("html", numbered), page.render(comparison, out, drawn))
        written += [folder.report("md", numbered), folder.report("html", numbered)]
    return written
