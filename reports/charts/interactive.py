"""A comparison's charts as plotly figures; the page embeds plotly.js, so no network is needed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from textwrap import wrap
from typing import Any, NamedTuple

from diarbench.datasets.io.names import visible
from diarbench.reports.charts.charts import COLOURS, Chart, Curve, Matrix, Panel
from diarbench.reports.formatting import number

SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x")

FILLINGS = ("-open", "", "-dot", "-open-dot")
"""Of a toolkit's markers: in charts of stages, an open marker is the pretrained network."""

DASHES = ("solid", "dash", "dashdot", "dot")

PATTERNS = ("", "/", ".", "x", "-", "\\")

LINE = 26
"""Characters per line of a category's name."""

INK = "#1a1a1a"

CATEGORIES = {"showgrid": False, "zeroline": False}
"""Settings of an axis of categories."""


class Drawn(NamedTuple):
    """A chart and the plotly.js figure (``data`` and ``layout``) of each panel."""

    chart: Chart
    figures: list[dict[str, Any]]


def draw(charts: Sequence[Chart]) -> list[Drawn]:
    """Figures for plotly.js; none where plotly is not installed."""
    try:
        import plotly  # noqa: F401
    except ImportError:
        return []
    return [Drawn(chart, [_figure(panel) for panel in chart.panels]) for chart in charts]


def library() -> str:
    """The source of plotly.js."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _figure(panel: Panel) -> dict[str, Any]:
    import plotly.graph_objects as go

    figure = go.Figure(layout_template="none")
    if panel.matrix:
        figure.add_trace(_heatmap(panel.matrix))
    for at, bars in enumerate(panel.bars):
        spread = panel.spread if at == len(panel.bars) - 1 else ()
        shape = PATTERNS[bars.hatch % len(PATTERNS)]
        figure.add_trace(
            go.Bar(
                name=_text(bars.name),
                y=list(range(len(panel.categories))),
                x=bars.values,
                orientation="h",
                marker={"color": bars.colour, "pattern": {"shape": shape, "fgcolor": "white", "fillmode": "overlay"}},
                hovertemplate="%{x:.3g}<extra>%{fullData.name}</extra>",
                error_x=_errors([sum(values) for values in zip(*(b.values for b in panel.bars), strict=True)], spread),
            )
        )
    for curve in panel.curves:
        figure.add_trace(_scatter(curve))
    figure.update_layout(
        barmode="stack" if panel.stacked else "group",
        font={"family": "system-ui, sans-serif", "size": 12, "color": INK},
        height=_height(panel),
        margin={"t": 16, "r": 16, "b": 48, "l": 48},
        showlegend=_has_legend(panel),
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "normal"},
        hoverlabel={"namelength": -1},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
    )
    axis = {"automargin": True, "gridcolor": "#ddd", "zerolinecolor": "#999", "fixedrange": False}
    figure.update_xaxes(title_text=panel.x_label, **axis)
    figure.update_yaxes(title_text=panel.y_label, **axis)
    if panel.bars:
        ticks = [_broken(category) for category in panel.categories]
        figure.update_yaxes(tickvals=list(range(len(ticks))), ticktext=ticks, autorange="reversed", **CATEGORIES)
        if panel.x_most:
            figure.update_xaxes(range=[0, panel.x_most])
    if panel.matrix:
        rows, columns = panel.matrix.rows, panel.matrix.columns
        figure.update_yaxes(tickvals=list(range(len(rows))), ticktext=rows, autorange="reversed", **CATEGORIES)
        figure.update_xaxes(tickvals=list(range(len(columns))), ticktext=columns, **CATEGORIES)
    if panel.whole_x:
        figure.update_xaxes(tick0=0, dtick=1 + int(max(x for curve in panel.curves for x in curve.x)) // 10)
    if panel.from_zero:
        figure.update_xaxes(rangemode="tozero")
        figure.update_yaxes(rangemode="tozero")
    return dict(json.loads(figure.to_json()))


def _scatter(curve: Curve) -> Any:
    import plotly.graph_objects as go

    colour = COLOURS[curve.style % len(COLOURS)]
    symbol = SYMBOLS[curve.style % len(SYMBOLS)]
    modes = [mode for mode, is_on in (("lines", curve.joined), ("markers", curve.marked)) if is_on]
    return go.Scatter(
        name=_text(curve.name),
        x=curve.x,
        y=curve.y,
        mode="+".join(modes),
        line={"color": colour, "dash": DASHES[(curve.style + curve.variant) % len(DASHES)]},
        marker={"color": colour, "symbol": f"{symbol}{FILLINGS[curve.variant % len(FILLINGS)]}", "size": 9},
        error_y=_errors(curve.y, curve.spread),
        hovertemplate="%{y:.3g} at %{x:.3g}<extra>%{fullData.name}</extra>",
    )


def _heatmap(matrix: Matrix) -> Any:
    import plotly.graph_objects as go

    return go.Heatmap(
        z=matrix.values,
        text=[["" if value is None else number(value, "{:.3g}") for value in row] for row in matrix.values],
        texttemplate="%{text}",
        hovertemplate="reference %{y}, hypothesis %{x}: %{z:.3g}<extra></extra>",
        colorscale=[[0, "#fff"], [1, "#000"]],
        zmin=0,
        showscale=False,
        xgap=1,
        ygap=1,
    )


def _errors(ends: Sequence[float], spread: Sequence[tuple[float, float] | None]) -> dict[str, Any] | None:
    """Asymmetric error bars: an interval around each end."""
    if not any(spread):
        return None
    pairs = list(zip(ends, spread, strict=True))
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(0.0, interval[1] - end) if interval else 0.0 for end, interval in pairs],
        "arrayminus": [max(0.0, end - interval[0]) if interval else 0.0 for end, interval in pairs],
        "thickness": 1,
        "width": 4,
    }


def _has_legend(panel: Panel) -> bool:
    return panel.legend and len(panel.curves) + len(panel.bars) > 1


def _height(panel: Panel) -> int:
    """In pixels, with one legend line per name."""
    if panel.matrix:
        return 100 + 40 * len(panel.matrix.rows)
    legend = 20 * (len(panel.curves) + len(panel.bars)) if _has_legend(panel) else 0
    bars = 1 if panel.stacked else len(panel.bars)
    lines = max((len(wrap(category, LINE)) for category in panel.categories), default=1)
    return legend + (80 + max(34, 20 * bars, 16 * lines) * len(panel.categories) if panel.bars else 340)


def _broken(name: str) -> str:
    """Wrapped to several lines, for narrow screens."""
    return "<br>".join(map(_text, wrap(name, LINE)))


def _text(name: str) -> str:
    """At most 60 characters, with HTML escaped, as plotly interprets some of it."""
    shown = visible(name)
    return escape(shown if len(shown) <= 60 else f"{shown[:57]}...", quote=False)
