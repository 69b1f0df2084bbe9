"""Pictures of a comparison, by matplotlib: the same for Markdown and for the page.

They read in black and white and to the colour-blind: hatches, line styles and markers beside Okabe and Ito's colours.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any, NamedTuple

from diarbench.reports.cells import slice_table
from diarbench.reports.summary import Line, Section, Summary, rates_of
from diarbench.reports.text import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":")
HATCHES = ("", "//", "..", "xx", "--", "\\\\")
PARTS = (("miss", "#333333", ""), ("false alarm", "#d55e00", "//"), ("confusion", "#a6d5f2", ".."))


class Plot(NamedTuple):
    """A picture, its file's name without the ending, and what it shows in words."""

    name: str
    text: str
    figure: Figure

    def image(self, kind: str) -> bytes:
        """As ``png`` or ``svg``: the same bytes for the same records."""
        import matplotlib

        out = io.BytesIO()
        with matplotlib.rc_context({"svg.hashsalt": self.name}):
            self.figure.savefig(out, format=kind, dpi=120, metadata={"Date": None} if kind == "svg" else None)
        return out.getvalue()


def draw(summary: Summary, start: int = 1) -> list[Plot]:
    """What there are figures for: error by part, error against cost, learning curves; of each dataset.

    Datasets are numbered from ``start`` in the names. None at all where matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return []
    plots = []
    for number, dataset in enumerate(summary.datasets, start):
        for section in summary.of(dataset)[:1]:
            plots += [plot for make in (_parts, _costs, _learning, _slices) for plot in make(section, number)]
    return plots


def _parts(section: Section, number: int) -> Iterator[Plot]:
    lines = [line for line in section.lines if line.row and line.row.der is not None]
    if not lines:
        return
    figure, (axes,) = _figure(1, height=1.2 + 0.4 * len(lines))
    left = [0.0] * len(lines)
    for part, (name, colour, hatch) in enumerate(PARTS, start=1):
        widths = [100 * (rates_of(line.row)[part] or 0.0) for line in lines]
        axes.barh(range(len(lines)), widths, left=left, color=colour, hatch=hatch, edgecolor="white", label=name)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    furthest = max(left)
    for at, line in enumerate(lines):
        interval = line.row.interval if line.row else None
        if interval and interval.low is not None and interval.high is not None:
            axes.plot([100 * interval.low, 100 * interval.high], [at, at], color="black", marker="|", linewidth=1)
            # A reference system's may be very wide, and would squeeze the others.
            furthest = max(furthest, 100 * interval.high if line.run else 0.0)
    axes.set_yticks(range(len(lines)), [_name(line) for line in lines])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.05 * furthest)
    axes.set_xlabel("DER (% of reference speech); the line across a bar's end is its 95 % interval")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)
    yield Plot(f"der-parts-{number}", f"{_where(section)}: miss, false alarm and confusion of each system", figure)


def _costs(section: Section, number: int) -> Iterator[Plot]:
    costs: tuple[tuple[str, Callable[[Line], float | None]], ...] = (
        ("Seconds of diarizing a second of audio", lambda line: line.real_time_factor),
        ("Seconds of training", lambda line: line.training_s),
    )
    lines = [line for line in section.lines if line.run and line.row and line.row.der is not None]
    known = [(label, cost) for label, cost in costs if any(cost(line) for line in lines)]
    if not known:
        return
    figure, row = _figure(len(known), height=4)
    for axes, (label, cost) in zip(row, known, strict=True):
        for style, line in zip(cycle(_styles()), lines, strict=False):
            spent = cost(line)
            if spent and line.row and line.row.der is not None:
                axes.plot(spent, 100 * line.row.der, linestyle="", label=_name(line), **style)
        axes.set_xlabel(label)
        axes.set_ylabel("DER (%)")
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    _legend(figure, row)
    yield Plot(f"der-cost-{number}", f"{_where(section)}: DER against what it took", figure)


def _learning(section: Section, number: int) -> Iterator[Plot]:
    runs = list({line.run.name: line.run for line in section.lines if line.run and line.run.epochs}.values())
    if not runs:
        return
    from matplotlib.ticker import MaxNLocator

    figure, row = _figure(2, height=4)
    for style, dashes, run in zip(cycle(_styles()), cycle(DASHES), runs, strict=False):
        epochs = [epoch.epoch for epoch in run.epochs]
        name = _text(run.name)
        row[0].plot(epochs, [100 * e.der for e in run.epochs], linestyle=dashes, label=name, **style)
        row[1].plot(epochs, [e.loss_val for e in run.epochs], linestyle=dashes, label=name, **style)
    for axes, label in zip(row, ("DER over dev windows (%)", "Loss over dev windows"), strict=True):
        axes.set_xlabel("Epoch (0: before training)")
        axes.set_ylabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    _legend(figure, row[:1])
    text = f"{_text(section.dataset)}: DER and loss on dev after each epoch (each toolkit's own loss)"
    yield Plot(f"learning-{number}", text, figure)


def _slices(section: Section, number: int) -> Iterator[Plot]:
    table = slice_table(section)
    if table is None:
        return
    labels = [column.name for column in table.columns[3:]]
    slicings = list(dict.fromkeys(row[0].text for row in table.rows))
    figure, panels = _figure(2, height=2.4 * -(-len(slicings) // 2), rows=-(-len(slicings) // 2))
    for axes, slicing in zip(panels, slicings, strict=False):
        rows = [row for row in table.rows if row[0].text == slicing]
        tall = 0.8 / len(labels)
        for system, label in enumerate(labels):
            at = [part + tall * (system - (len(labels) - 1) / 2) for part in range(len(rows))]
            points = [100 * float(row[3 + system].value or 0) for row in rows]
            colour, hatch = COLOURS[system % len(COLOURS)], HATCHES[system % len(HATCHES)]
            axes.barh(at, points, height=tall, color=colour, hatch=hatch, edgecolor="white", label=_text(label))
        axes.set_yticks(range(len(rows)), [_text(row[1].text) for row in rows])
        axes.invert_yaxis()
        axes.set_title(_text(slicing), fontsize="medium")
        axes.set_xlabel("Points of DER")
    for axes in panels[len(slicings) :]:
        axes.set_axis_off()
    _legend(figure, panels[:1])
    yield Plot(f"slices-{number}", f"{_where(section)}: where each system's error is", figure)


def _figure(columns: int, height: float, rows: int = 1) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, height), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).ravel())


def _legend(figure: Figure, row: Sequence[Axes]) -> None:
    """One for all panels, below them."""
    handles = {label: handle for axes in row for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2, frameon=False)


def _styles() -> list[dict[str, Any]]:
    return [{"color": colour, "marker": marker} for colour, marker in zip(COLOURS, MARKERS, strict=True)]


def _name(line: Line) -> str:
    parts = (line.backend, line.recipe, f"seed {line.seed}" if line.seed is not None else None, line.stage)
    return _text(", ".join(part for part in parts if part))


def _where(section: Section) -> str:
    return _text(f"{section.dataset}, {section.subset}, {section.condition.name}")


def _text(name: str) -> str:
    """On a picture: short, and a dollar is no formula."""
    shown = visible(name)
    return (shown if len(shown) <= 60 else f"{shown[:57]}...").replace("$", r"\$")
