"""The contents of a comparison's charts; `static` draws them with matplotlib, `interactive` with plotly.

Hatches, dashes and markers and the palette of Okabe and Ito keep them readable without colour vision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from diarbench.datasets.io.names import visible
from diarbench.reports.formatting import NONE
from diarbench.reports.results.run import Run, Tuning
from diarbench.reports.results.scores import MOST_IN_SLICING, SPEAKERS_SLICING, SpeakerCounts, rates_of, sum_slices
from diarbench.reports.results.statistics import Interval
from diarbench.reports.summary.comparability import STAGES
from diarbench.reports.summary.summary import Contender, Line, Section, Summary
from diarbench.reports.tables.changes import forgotten_table
from diarbench.reports.tables.identity import identity_table
from diarbench.reports.tables.scores import slice_table

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f7f7f")

GLYPHS = ("●", "■", "▲", "◆", "▼", "✚", "✖")
"""The marker of each colour: both belong to a toolkit in all charts."""

PARTS = (("miss", "#707070", 0), ("false alarm", "#d55e00", 1), ("confusion", "#a6d5f2", 2))

IDENTITY_PATTERNS = {"Seed": "seed {}", "Train set": "on {}", "Train %": "{}%"}
"""How identity columns are written in a name; other columns as they are."""

Styles = Mapping[str, int]

MOST_SPEAKERS = 9
"""Largest count with its own row or column in a matrix of speaker counts."""


@dataclass(frozen=True)
class Bars:
    """One horizontal bar per category, in order: of one system, or of one error component."""

    name: str
    values: tuple[float, ...]
    colour: str
    hatch: int
    """Index of the pattern; 0 is none."""


@dataclass(frozen=True)
class Curve:
    """Points, optionally joined by a line."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    style: int
    """The toolkit's index: of colour and marker."""
    variant: int = 0
    """Index of dashes and of the marker's filling, for several curves of a toolkit."""
    joined: bool = True
    marked: bool = True
    spread: tuple[tuple[float, float] | None, ...] = ()
    """An interval of y at each point."""


@dataclass(frozen=True)
class Matrix:
    """A value for each row (from the top) and column; None is an empty cell."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True)
class Panel:
    """One pair of axes: bars over categories, curves, or a matrix."""

    x_label: str
    y_label: str = ""
    title: str = ""
    categories: tuple[str, ...] = ()
    """From the top."""
    bars: tuple[Bars, ...] = ()
    stacked: bool = False
    spread: tuple[tuple[float, float] | None, ...] = ()
    """An interval around the end of each category's bar."""
    x_most: float | None = None
    curves: tuple[Curve, ...] = ()
    whole_x: bool = False
    """Whether x takes whole numbers only."""
    from_zero: bool = False
    matrix: Matrix | None = None
    legend: bool = True


@dataclass(frozen=True)
class Chart:
    """Panels that belong together, the name of their file, and their caption."""

    name: str
    text: str
    panels: tuple[Panel, ...]


def charts(summary: Summary, start: int = 1) -> list[Chart]:
    """The charts of each dataset that have data. Names number the datasets from ``start``."""
    drawn: list[Chart] = []
    styles = toolkit_styles(summary)
    for number, dataset in enumerate(summary.datasets, start):
        for section in summary.of(dataset)[:1]:
            for make in (_parts, _costs, _hours, _learning, _tuning, _slices, _by_speakers, _speakers):
                drawn += make(section, number, styles)
        drawn += _forgotten(summary, dataset, number)
    return drawn


def toolkit_styles(summary: Summary) -> dict[str, int]:
    """The index of each toolkit's colour and marker, the same in all charts."""
    return {backend: at for at, backend in enumerate(dict.fromkeys(run.backend for run in summary.comparison.runs))}


def _parts(section: Section, number: int, styles: Styles) -> Iterator[Chart]:
    rated = zip(*_rated(section), strict=True)
    # Reference systems have a folded table; their rates and intervals would stretch the axis.
    shown = [(line, name) for line, name in rated if line.backend != "reference"]
    if not shown:
        return
    lines, names = [line for line, _ in shown], tuple(name for _, name in shown)
    bars = tuple(
        Bars(name, tuple(100 * (rates_of(line.row)[part] or 0.0) for line in lines), colour, hatch)
        for part, (name, colour, hatch) in enumerate(PARTS, start=1)
    )
    spread = tuple(_percent(line.row.interval if line.row else None) for line in lines)
    ends = [sum(values) for values in zip(*(b.values for b in bars), strict=True)]
    # An interval may be too wide to set the axis limit.
    ends += [min(interval[1], 1.5 * max(ends)) for interval in spread if interval]
    label = "DER (% of reference speech)"
    panel = Panel(label, categories=names, bars=bars, stacked=True, spread=spread, x_most=1.05 * max(ends))
    text = f"{_where(section)}: miss, false alarm and confusion of each system, with the 95 % interval of the DER"
    yield Chart(f"der-parts-{number}", text, (panel,))


def _costs(section: Section, number: int, styles: Styles) -> Iterator[Chart]:
    costs: tuple[tuple[str, Callable[[Line], float | None]], ...] = (
        ("Real-time factor (seconds of diarization per second of audio)", lambda line: line.real_time_factor),
        ("Seconds of training", lambda line: line.training_s),
    )
    lines, names = _rated(section)
    panels = []
    for label, cost in costs:
        curves = tuple(
            Curve(
                name,
                (spent,),
                (100 * line.row.der,),
                styles[line.run.backend],
                STAGES.index(line.stage) if line.stage in STAGES else 0,
                joined=False,
            )
            for line, name in zip(lines, names, strict=True)
            if line.run and (spent := cost(line)) and line.row and line.row.der is not None
        )
        if curves:
            panels.append(Panel(label, "DER (%)", curves=curves, from_zero=True))
    if panels:
        yield Chart(f"der-cost-{number}", f"{_where(section)}: DER against cost", tuple(panels))


def _hours(section: Section, number: int, styles: Styles) -> Iterator[Chart]:
    """DER against hours of training data, if there are several fractions; pretrained weights are at 0 hours."""
    kinds: dict[tuple[str, str], list[Contender]] = {}
    for contender in section.last_stages:
        if contender.train_s is not None and not contender.lines[0].is_out_of_domain:
            kinds.setdefault((contender.runs[0].backend, contender.runs[0].recipe), []).append(contender)
    curves: list[Curve] = []
    for (backend, recipe), contenders in kinds.items():
        if len({contender.runs[0].train_fraction for contender in contenders}) < 2:
            continue
        first = next(filter(None, map(section.first_stage, contenders)), None)
        points = [(0.0, first)] if first else []
        points += [((c.train_s or 0.0) / 3600, c) for c in sorted(contenders, key=lambda c: c.train_s or 0.0)]
        curves.append(
            Curve(
                visible(f"{backend}, {recipe}"),
                tuple(hours for hours, _ in points),
                tuple(100 * contender.der for _, contender in points),
                styles[backend],
                variant=sum(curve.style == styles[backend] for curve in curves),
                spread=tuple(_percent(contender.interval) for _, contender in points),
            )
        )
    if curves:
        label = (
            "Hours of training data (0: before fine-tuning)"
            if any(c.x[0] == 0 for c in curves)
            else "Hours of training data"
        )
        panel = Panel(label, "DER (%)", curves=tuple(curves), from_zero=True)
        yield Chart(f"hours-{number}", f"{_where(section)}: DER against hours of training data", (panel,))


def _learning(section: Section, number: int, styles: Styles) -> Iterator[Chart]:
    runs = [run for run in _runs(section) if run.epochs]
    if not runs:
        return
    rates: list[Curve] = []
    losses: list[Curve] = []
    for run in runs:
        style = styles[run.backend]
        variant = sum(curve.style == style for curve in rates)
        epochs = tuple(float(epoch.epoch) for epoch in run.epochs)
        rates.append(Curve(visible(run.name), epochs, tuple(100 * epoch.der for epoch in run.epochs), style, variant))
        losses.append(Curve(visible(run.name), epochs, tuple(epoch.loss_val for epoch in run.epochs), style, variant))
    epoch = "Epoch (0: before training)"
    panels = (
        Panel(epoch, "DER over dev windows (%)", curves=tuple(rates), whole_x=True),
        Panel(epoch, "Loss over dev windows", curves=tuple(losses), whole_x=True),
    )
    text = f"{visible(section.dataset)}: DER and loss on dev after each epoch (each toolkit has its own loss)"
    yield Chart(f"learning-{number}", text, panels)


def _tuning(section: Section, number: int, styles: Styles) -> Iterator[Chart]:
    """DER of every trial and the best so far; and the importance of each hyper-parameter."""
    searches = [(styles[run.backend], *search) for run in _runs(section) for search in _searches(run)]
    if not searches:
        return
    curves: list[Curve] = []
    for style, name, tuning in searches:
        variant = sum(curve.style == style and curve.marked for curve in curves)
        trials = [(float(trial.number), 100 * trial.der) for trial in tuning.trials if trial.der is not None]
        numbers, rates = tuple(n for n, _ in trials), tuple(rate for _, rate in trials)
        curves.append(Curve(name, numbers, rates, style, variant, joined=False))
        best = tuple(accumulate(rates, min))
        curves.append(Curve(f"{name}, best so far", numbers, best, style, variant, marked=False))
    panels = [Panel("Trial (0: defaults)", "DER on dev (%)", curves=tuple(curves), whole_x=True)]
    for style, name, tuning in searches:
        if tuning.importance:
            shares = tuple(100 * share for share in tuning.importance.values())
            bars = (Bars(name, shares, COLOURS[style % len(COLOURS)], style),)
            names = tuple(map(visible, tuning.importance))
            panels.append(Panel("Share of the spread of DER (%)", "", name, names, bars, legend=False))
    yield Chart(f"tuning-{number}", f"{visible(section.dataset)}: hyper-parameter search", tuple(panels))


def _slices(section: Section, number: int, styles: Styles) -> Iterator[Chart]:
    table = slice_table(section)
    if table is None:
        return
    systems = [column.name for column in table.columns[3:]]
    colours = [COLOURS[styles[contender.runs[0].backend] % len(COLOURS)] for contender in section.contenders]
    panels: list[Panel] = []
    for slicing in dict.fromkeys(row[0].text for row in table.rows):
        rows = [row for row in table.rows if row[0].text == slicing]
        bars = tuple(
            Bars(
                name,
                tuple(100 * float(row[3 + at].value or 0) for row in rows),
                colours[at],
                at,
            )
            for at, name in enumerate(systems)
        )
        parts = tuple(row[1].text for row in rows)
        panels.append(Panel("Points of DER", "", slicing, parts, bars, legend=not panels))
    yield Chart(f"slices-{number}", f"{_where(section)}: the errors of each system by slice", tuple(panels))


def _by_speakers(section: Section, number: int, styles: Styles) -> Iterator[Chart]:
    """The DER of each contender over the recordings with one, two and more speakers."""
    curves: list[Curve] = []
    for contender in section.contenders:
        parts = sum_slices(contender.rows).get(SPEAKERS_SLICING, {})
        rates = {int(part.partition(" ")[0]): rates_of(errors)[0] for part, errors in parts.items()}
        points = {count: 100 * rate for count, rate in sorted(rates.items()) if rate is not None}
        style = styles[contender.runs[0].backend]
        variant = sum(curve.style == style for curve in curves)
        curves.append(Curve(visible(contender.label), (*map(float, points),), (*points.values(),), style, variant))
    if len({x for curve in curves for x in curve.x}) > 1:
        label = f"Speakers in the recording ({MOST_IN_SLICING}: {MOST_IN_SLICING} and more)"
        panel = Panel(label, "DER (%)", curves=tuple(curves), whole_x=True, from_zero=True)
        yield Chart(f"der-by-speakers-{number}", f"{_where(section)}: DER by number of speakers", (panel,))


def _speakers(section: Section, number: int, styles: Styles) -> Iterator[Chart]:
    """Speaker counts of each contender against the reference."""
    counted = [(contender.label, _counts(contender)) for contender in section.contenders]
    counted = [(label, counts) for label, counts in counted if counts]
    for kind, unit, text in (
        ("in_recording", "recordings", "speakers per recording"),
        ("at_a_time", "seconds", "simultaneous speakers"),
    ):
        panels = tuple(
            Panel(
                f"{text} in the hypothesis".capitalize(),
                f"In the reference ({unit})",
                visible(label),
                matrix=_matrix([getattr(counts, kind) for counts in listed]),
            )
            for label, listed in counted
        )
        if panels:
            name = f"speakers-{kind.replace('_', '-')}-{number}"
            yield Chart(name, f"{_where(section)}: {text} in the hypothesis and in the reference, in {unit}", panels)


def _forgotten(summary: Summary, dataset: str, number: int) -> Iterator[Chart]:
    table = forgotten_table(summary, dataset)
    if table is None:
        return
    panels: list[Panel] = []
    for scored_on in dict.fromkeys(row[1].text for row in table.rows):
        rows = [row for row in table.rows if row[1].text == scored_on]
        before, after = (tuple(100 * float(row[at].value or 0) for row in rows) for at in (2, 3))
        bars = (Bars("before fine-tuning", before, "#56b4e9", 0), Bars("after", after, "#333333", 1))
        systems = tuple(row[0].text for row in rows)
        panels.append(Panel("DER (%)", "", f"scored on {scored_on}", systems, bars, legend=not panels))
    text = f"fine-tuned on {visible(dataset)}: DER before and after, on each dataset"
    yield Chart(f"forgotten-{number}", text, tuple(panels))


def _rated(section: Section) -> tuple[list[Line], tuple[str, ...]]:
    """The lines that have a DER, and their names from the identity columns."""
    table = identity_table(section)
    lines, names = [], []
    for line, row in zip(section.lines, table.rows, strict=True):
        if line.row and line.row.der is not None:
            lines.append(line)
            cells = zip(table.columns, row, strict=True)
            names.append(
                ", ".join(
                    IDENTITY_PATTERNS.get(c.name, "{}").format(cell.text) for c, cell in cells if cell.text != NONE
                )
            )
    return lines, tuple(names)


def _runs(section: Section) -> list[Run]:
    """The runs that were trained on the section's dataset."""
    runs = {line.run.name: line.run for line in section.lines if line.run and not line.is_out_of_domain}
    return list(runs.values())


def _searches(run: Run) -> list[tuple[str, Tuning]]:
    """The searches of a run, by name; hyper-parameters tuned first and then frozen have their own."""
    named = ((f"{run.name}, first", run.tuning and run.tuning.upstream), (run.name, run.tuning))
    return [(visible(name), tuning) for name, tuning in named if tuning and tuning.trials]


def _counts(contender: Contender) -> list[SpeakerCounts]:
    return [row.speaker_counts for row in contender.rows if row.speaker_counts and row.speaker_counts.in_recording]


def _matrix(counts_by_seed: Sequence[dict[int, dict[int, float]]]) -> Matrix:
    """The sum of the seeds' counts."""
    sums: dict[tuple[int, int], float] = {}
    for counts in counts_by_seed:
        for reference, by_hypothesis in counts.items():
            for hypothesis, value in by_hypothesis.items():
                place = min(reference, MOST_SPEAKERS), min(hypothesis, MOST_SPEAKERS)
                sums[place] = sums.get(place, 0) + value
    labels = [*map(str, range(MOST_SPEAKERS)), f"{MOST_SPEAKERS}+"]
    rows = range(max(reference for reference, _ in sums) + 1) if sums else range(0)
    columns = range(max(hypothesis for _, hypothesis in sums) + 1) if sums else range(0)
    return Matrix(
        tuple(labels[row] for row in rows),
        tuple(labels[column] for column in columns),
        tuple(tuple(sums.get((row, column)) for column in columns) for row in rows),
    )


def _percent(interval: Interval | None) -> tuple[float, float] | None:
    if interval is None or interval.low is None or interval.high is None:
        return None
    return 100 * interval.low, 100 * interval.high


def _where(section: Section) -> str:
    return visible(f"{section.dataset}, {section.subset}, {section.condition.name}")
