"""Draw a comparison's charts with matplotlib, as image files for ``report.md``."""

from __future__ import annotations

import io
import warnings
from textwrap import fill
from typing import TYPE_CHECKING, Any, NamedTuple

from diarbench.datasets.io.names import visible
from diarbench.reports.charts.charts import COLOURS, Chart, Matrix, Panel, charts
from diarbench.reports.formatting import number
from diarbench.reports.summary.summary import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


MARKERS = ("o", "s", "^", "D", "v", "P", "X")

FILLINGS = ("none", "full", "left", "right")

DASHES = ("-", "--", "-.", ":")

HATCHES = ("", "//", "..", "xx", "--", "\\\\")

COLUMNS = 2

LEGEND_LINE = 0.2
"""In inches."""

TITLE_WIDTH = 32
"""Characters per line; long category names leave panels little room."""


class Plot(NamedTuple):
    """A figure, its file name without suffix, and its caption."""

    name: str
    text: str
    figure: Figure

    def image(self) -> bytes:
        """The PNG; the same results give the same bytes. Letters that matplotlib's font lacks are boxes."""
        out = io.BytesIO()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")  # one a letter, on every command
            self.figure.savefig(out, format="png", dpi=120)
        return out.getvalue()


def draw(summary: Summary, start: int = 1) -> list[Plot]:
    """One plot per chart; none where matplotlib is not installed. Names number the datasets from ``start``."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return []
    return [Plot(chart.name, chart.text, _figure(chart)) for chart in charts(summary, start)]


def _figure(chart: Chart) -> Figure:
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(chart.panels))
    across = [chart.panels[at : at + columns] for at in range(0, len(chart.panels), columns)]
    heights = [max(map(_height, panels)) for panels in across]
    figure = Figure(figsize=(10, 0.6 + sum(heights)), layout="constrained")
    axes = list(figure.subplots(len(across), columns, squeeze=False, height_ratios=heights).ravel())
    for panel, place in zip(chart.panels, axes, strict=False):
        _draw(panel, place)
    for place in axes[len(chart.panels) :]:
        place.set_axis_off()
    # One legend below all panels.
    legends = (place.get_legend_handles_labels() for place in axes)
    handles = {label: handle for legend in legends for handle, label in zip(*legend, strict=True)}
    if handles:
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=COLUMNS, frameon=False)
        figure.set_figheight(figure.get_figheight() + LEGEND_LINE * (len(handles) // COLUMNS))
    return figure


def _height(panel: Panel) -> float:
    """In inches."""
    if panel.matrix:
        return 1.2 + 0.4 * len(panel.matrix.rows)
    bars = 1 if panel.stacked else len(panel.bars)
    return 0.9 + max(0.3, 0.2 * bars) * len(panel.categories) if panel.bars else 4


def _draw(panel: Panel, axes: Axes) -> None:
    if panel.matrix:
        _draw_matrix(panel.matrix, axes)
    if panel.bars:
        _draw_bars(panel, axes)
    for curve in panel.curves:
        style: dict[str, Any] = {
            "color": COLOURS[curve.style % len(COLOURS)],
            "marker": MARKERS[curve.style % len(MARKERS)] if curve.marked else "",
            "linestyle": DASHES[(curve.style + curve.variant) % len(DASHES)] if curve.joined else "",
            "fillstyle": FILLINGS[curve.variant % len(FILLINGS)],
        }
        axes.plot(curve.x, curve.y, label=_text(curve.name), **style)
        for x, interval in zip(curve.x, curve.spread, strict=False):
            if interval:
                axes.plot([x, x], interval, color=style["color"], marker="_", linewidth=1)
    if panel.curves:
        axes.grid(alpha=0.3)
    if panel.whole_x:
        from matplotlib.ticker import MaxNLocator

        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if panel.from_zero:
        axes.set_xlim(0, 1.05 * axes.dataLim.x1 or 1)
        axes.set_ylim(0, 1.05 * axes.dataLim.y1 or 1)
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel(panel.y_label)
    axes.set_title(fill(_text(panel.title), TITLE_WIDTH), fontsize="medium")


def _draw_bars(panel: Panel, axes: Axes) -> None:
    places = range(len(panel.categories))
    left = [0.0] * len(places)
    height = 0.8 if panel.stacked else 0.8 / len(panel.bars)
    for at, bars in enumerate(panel.bars):
        middle = 0.0 if panel.stacked else height * (at - (len(panel.bars) - 1) / 2)
        axes.barh(
            [place + middle for place in places],
            bars.values,
            height=height,
            left=left,
            color=bars.colour,
            hatch=HATCHES[bars.hatch % len(HATCHES)],
            edgecolor="white",
            label=_text(bars.name) if panel.legend else "",
        )
        if panel.stacked:
            left = [start + width for start, width in zip(left, bars.values, strict=True)]
    for place, interval in zip(places, panel.spread, strict=False):
        if interval:
            axes.plot(interval, [place, place], color="black", marker="|", linewidth=1)
    axes.set_yticks(places, [_text(category) for category in panel.categories])
    axes.set_ylim(len(places) - 0.4, -0.6)
    if panel.x_most:
        axes.set_xlim(0, panel.x_most)


def _draw_matrix(matrix: Matrix, axes: Axes) -> None:
    values = [[value or 0.0 for value in row] for row in matrix.values]
    largest = max(map(max, values))
    axes.imshow(values, cmap="Greys", vmin=0, vmax=largest or 1, aspect="auto")
    for row, listed in enumerate(matrix.values):
        for column, value in enumerate(listed):
            if value is not None:
                ink = "white" if value > largest / 2 else "black"
                axes.text(column, row, number(value, "{:.3g}"), ha="center", va="center", color=ink)
    axes.set_xticks(range(len(matrix.columns)), matrix.columns)
    axes.set_yticks(range(len(matrix.rows)), matrix.rows)


def _text(name: str) -> str:
    """At most 60 characters, with dollar signs escaped, as they start a formula."""
    shown = visible(name)
    return (shown if len(shown) <= 60 else f"{shown[:57]}...").replace("$", r"\$")
