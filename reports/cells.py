"""A comparison's tables as cells, for the terminal, Markdown, LaTeX and the page alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from diarbench.reports.records import EPOCH_COLUMNS, Comparison, Contrast, ErrorSeconds, Run
from diarbench.reports.summary import Line, Section, Summary, add_slices, machine, rates_of
from diarbench.reports.text import NONE, convention, count, memory, minutes, number, percent, points, span, visible


@dataclass(frozen=True)
class Cell:
    """A table's cell: what is shown, and what it is sorted by."""

    text: str
    value: float | str | None = None


@dataclass(frozen=True)
class Column:
    name: str
    numeric: bool = False


@dataclass(frozen=True)
class Table:
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def __add__(self, other: Table) -> Table:
        """The other's columns beside these."""
        return Table(self.columns + other.columns, tuple(a + b for a, b in zip(self.rows, other.rows, strict=True)))

    def only(self, places: Sequence[int]) -> Table:
        """Some of its columns."""
        rows = (tuple(row[at] for at in places) for row in self.rows)
        return Table(tuple(self.columns[at] for at in places), tuple(rows))


COST_LEGEND = (
    "Train s is seconds of training, Tune s of the search on dev, RTF seconds of diarizing a second of audio, "
    "memory the largest resident set of the run's process."
)

DATA_LEGEND = "How much data: annotated hours of train, and what the step from the row above changed, in points of DER"

FORGOTTEN_LEGEND = "What was forgotten: DER before and after fine-tuning, at home and on other domains"

TUNED_LEGEND = "What tuning on dev gained: DER at the defaults and at the values chosen, under the condition tuned for"

CHOSEN_LEGEND = "The values chosen on dev, where they are not the defaults"


IDENTITY_COLUMNS = (
    Column("From"),
    Column("Trained on"),
    Column("Backend"),
    Column("Recipe"),
    Column("Train %", True),
    Column("Seed", True),
    Column("Stage"),
)


RATE_COLUMNS = tuple(Column(name, True) for name in ("DER %", "Miss", "FA", "Conf."))


def score_table(section: Section) -> Table:
    """The error rate, its interval and its parts in per cent of reference speech; then the marks.

    ``best`` is a mark too, and stands only where interval and test say so.
    """
    rows = []
    winner = section.winner
    for line in section.lines:
        der, *parts = (Cell(percent(rate), rate) for rate in rates_of(line.row))
        interval = line.row.interval if line.row else None
        best = ("best",) if winner and line in winner.lines else ()
        sure = Cell(span(interval), interval.low if interval else None)
        rows.append((der, sure, *parts, Cell(" ".join((*best, *line.marks)))))
    der_column, *part_columns = RATE_COLUMNS
    return Table((der_column, Column("95 % interval", True), *part_columns, Column("Marks")), tuple(rows))


def contrast_table(section: Section) -> Table | None:
    """Each pair of systems: their difference in points of DER, and what it is worth."""
    rows = tuple(
        (
            Cell(visible(c.a)),
            Cell(visible(c.b)),
            Cell(percent(c.difference.der), c.difference.der),
            Cell(span(c.difference.interval), c.difference.interval.low),
            Cell(f"{c.difference.p:.2g}", c.difference.p),
            Cell(visible(c.verdict)),
        )
        for c in section.contrasts
    )
    names = ("A", "B", "B minus A", "95 % interval", "p", "Verdict")
    return Table(tuple(Column(name, 1 < n < 5) for n, name in enumerate(names)), rows) if rows else None


def slice_table(section: Section) -> Table | None:
    """Where each contender fails: points of DER by slicing and part; a slicing's parts add up to the DER."""
    found = {contender.label: add_slices(contender) for contender in section.contenders}
    rows = []
    for slicing, part in dict.fromkeys((s, p) for slices in found.values() for s in slices for p in slices[s]):
        points, shares = [], []
        for slices in found.values():
            total = sum(errors.total for errors in slices.get(slicing, {}).values())
            errors = slices.get(slicing, {}).get(part, ErrorSeconds())
            wrong = errors.miss + errors.false_alarm + errors.confusion
            points.append(wrong / total if total else None)
            shares.append(errors.total / total if total else 0.0)
        cells = (Cell(percent(value), value) for value in (max(shares), *points))
        rows.append((Cell(visible(slicing)), Cell(visible(part)), *cells))
    names = ("Slicing", "Part", "Speech %", *(visible(label) for label in found))
    return Table(tuple(Column(name, n > 1) for n, name in enumerate(names)), tuple(rows)) if rows else None


def metric_table(section: Section) -> Table | None:
    """Other figures beside the DER; fractions, but for counts."""
    lines = [line for line in section.lines if line.row and line.row.metrics]
    names = list(dict.fromkeys(name for line in lines if line.row for name in line.row.metrics))
    identity = identity_table(replace(section, lines=tuple(lines)))
    rows = []
    for line in lines:
        values = [line.row.metrics.get(name) if line.row else None for name in names]
        rows.append(tuple(Cell(number(value, "{:.3f}"), value) for value in values))
    columns = tuple(Column(visible(name.replace("_", " ")), True) for name in names)
    return identity + Table(columns, tuple(rows)) if rows else None


def cost_table(section: Section) -> Table:
    """Where the weights came from, and what a line cost."""
    tuned = any(line.run and line.run.tuning for line in section.lines)
    names = ("Params", "Train s", *(("Tune s",) if tuned else ()), "RTF", "Memory")
    rows = []
    for line in section.lines:
        run = line.run
        weights = Cell(visible(run.weights.origin) if run and run.weights else NONE)
        rows.append(
            (
                weights,
                Cell(count(run.parameters if run else None), run.parameters if run else None),
                Cell(number(line.training_s, "{:,.0f}"), line.training_s),
                *((Cell(number(line.tuning_s, "{:,.0f}"), line.tuning_s),) if tuned else ()),
                Cell(number(line.real_time_factor, "{:.3f}"), line.real_time_factor),
                Cell(memory(line.peak_memory_mb), line.peak_memory_mb),
            )
        )
    return Table((Column("Weights"), *(Column(name, True) for name in names)), tuple(rows))


def identity_table(section: Section) -> Table:
    """Backend and stage; origin, recipe and seed where the runs differ in them."""
    columns = _identity_columns(section)
    return Table(columns, tuple(_identity(line, columns) for line in section.lines))


def recordings_table(sections: Sequence[Section]) -> Table:
    """A row a recording and line: reference speech, then the error rate and its parts."""
    identity = _identity_columns(sections[0])
    rows = []
    for section in sections:
        for line in section.lines:
            for part in line.row.files if line.row else ():
                rows.append(
                    (
                        Cell(visible(part.uri), part.uri),
                        Cell(section.subset),
                        *_identity(line, identity),
                        Cell(f"{part.total:.1f}", part.total),
                        *(Cell(percent(rate), rate) for rate in rates_of(part)),
                    )
                )
    columns = (Column("Recording"), Column("Subset"), *identity, Column("Speech s", True), *RATE_COLUMNS)
    return Table(columns, tuple(rows))


def constants(section: Section) -> str:
    """What the identity columns leave out since it is the same for every run: ``recipe default, seed 1``."""
    shown = {column.name for column in _identity_columns(section)}
    first = next((line for line in section.lines if line.run), None)
    if first is None:
        return ""
    parts = [
        visible(f"{name.lower()} {value}")
        for name, value in (("Recipe", first.recipe), ("Seed", first.seed))
        if name not in shown and value is not None
    ]
    return ", ".join(parts)


def over_seeds(section: Section) -> Table | None:
    """Mean and range of DER over the seeds of each contender; None where none has two."""
    rows = []
    for contender in section.contenders:
        rates = [row.der for row in contender.rows if row.der is not None]
        if len(rates) > 1:
            rows.append(
                (
                    Cell(visible(contender.label)),
                    Cell(str(len(rates)), len(rates)),
                    Cell(percent(contender.der), contender.der),
                    Cell(f"{percent(min(rates))} to {percent(max(rates))}", max(rates) - min(rates)),
                )
            )
    names = ("System", "Seeds", "Mean DER %", "Range DER %")
    return Table(tuple(Column(name, n > 0) for n, name in enumerate(names)), tuple(rows)) if rows else None


def data_table(section: Section) -> Table | None:
    """DER by how much of train there was, and what the last addition to it changed; None where all had the same."""
    home = [contender for contender in section.last_stages if not contender.lines[0].abroad]
    kinds = list(dict.fromkeys((c.runs[0].backend, c.runs[0].recipe) for c in home))
    systems = sorted(home, key=lambda c: (kinds.index((c.runs[0].backend, c.runs[0].recipe)), c.runs[0].train_fraction))
    if len({contender.runs[0].train_fraction for contender in systems}) < 2:
        return None
    rows = []
    for before, contender in zip([None, *systems], systems, strict=False):
        contrast = section.contrast(before, contender) if before else None
        trained_s = contender.train_s
        rows.append(
            (
                Cell(visible(contender.label)),
                Cell(number(trained_s and trained_s / 3600, "{:.3g}"), trained_s),
                Cell(percent(contender.der), contender.der),
                *_change(contrast, contender.label),
            )
        )
    names = ("System", "Hours", "DER %", "Change", "95 % interval", "p")
    return Table(tuple(Column(name, n > 0) for n, name in enumerate(names)), tuple(rows))


def forgotten_table(summary: Summary, dataset: str) -> Table | None:
    """DER before and after fine-tuning, on the dataset itself and on the other domains; None without any."""
    abroad = summary.abroad(dataset)
    rows = []
    for section in (*summary.of(dataset)[:1], *abroad) if abroad else ():
        for contender in section.last_stages:
            start = section.first_stage(contender)
            if start and contender.runs[0].dataset == dataset:
                rows.append(
                    (
                        Cell(visible(contender.label.removesuffix(f" on {dataset}"))),
                        Cell(visible(section.dataset)),
                        Cell(percent(start.der), start.der),
                        Cell(percent(contender.der), contender.der),
                        *_change(section.contrast(start, contender), contender.label, contender.der - start.der),
                    )
                )
    names = ("System", "Scored on", "Before %", "After %", "Change", "95 % interval", "p")
    return Table(tuple(Column(name, n > 1) for n, name in enumerate(names)), tuple(rows)) if rows else None


def tuned_table(summary: Summary, dataset: str) -> Table | None:
    """DER at the defaults and as tuned, on dev and on test side by side: a gain on dev alone is overfitting to it."""
    der = {(row.run, row.stage, row.subset, row.condition): row.der for row in summary.comparison.rows}
    rows = []
    for run in summary.comparison.runs:
        if run.tuning and run.dataset == dataset:
            pairs = [
                [der.get((run.name, stage, subset, run.tuning.condition)) for stage in ("finetuned", "tuned")]
                for subset in ("dev", "test")
            ]
            rates = [
                cell
                for before, after in pairs
                for gained in [None if before is None or after is None else after - before]
                for cell in (Cell(percent(before), before), Cell(percent(after), after), Cell(points(gained), gained))
            ]
            trials = len(run.tuning.trials) + (len(run.tuning.first.trials) if run.tuning.first else 0)
            rows.append((Cell(visible(run.name)), Cell(count(trials), trials), *rates))
    names = ("Run", "Trials", "Dev %", "tuned", "change", "Test %", "tuned", "change")
    return Table(tuple(Column(name, n > 0) for n, name in enumerate(names)), tuple(rows)) if rows else None


def chosen_table(summary: Summary, dataset: str) -> Table | None:
    """The hyper-parameters that tuning moved, a line each."""
    rows = [
        tuple(Cell(visible(text)) for text in (run.name, name, _value(run.tuning.defaults.get(name)), _value(value)))
        for run in summary.comparison.runs
        if run.tuning and run.dataset == dataset
        for name, value in run.tuning.chosen.items()
        if value != run.tuning.defaults.get(name)
    ]
    names = ("Run", "Hyper-parameter", "Default", "Chosen")
    return Table(tuple(Column(name, n > 1) for n, name in enumerate(names)), tuple(rows)) if rows else None


def _value(value: float | int | str | None) -> str:
    return f"{value:.3g}" if isinstance(value, float) else NONE if value is None else str(value)


def _change(contrast: Contrast | None, to: str, otherwise: float | None = None) -> tuple[Cell, Cell, Cell]:
    """What a system's DER changed by in points, up to the one called ``to``, with interval and p where recorded."""
    if contrast is None:
        return Cell(points(otherwise), otherwise), Cell(NONE), Cell(NONE)
    difference = contrast.difference if contrast.b == to else contrast.difference.reversed()
    return (
        Cell(points(difference.der), difference.der),
        Cell(span(difference.interval), difference.interval.low),
        Cell(f"{difference.p:.2g}", difference.p),
    )


def epoch_table(run: Run) -> Table:
    """The fine-tuning guide's columns, a row an epoch."""
    rows = (
        tuple(Cell(number(getattr(epoch, field), _digits(field)), getattr(epoch, field)) for field in EPOCH_COLUMNS)
        for epoch in run.epochs
    )
    return Table(tuple(Column(name, True) for name in EPOCH_COLUMNS.values()), tuple(rows))


def shortened(table: Table, best_epoch: int | None) -> Table:
    """An epoch table's first three rows, its last five and the best epoch's, with dots for those between."""
    last = len(table.rows) - 1
    kept = sorted({k for k in (0, 1, 2, best_epoch or 0, *range(last - 4, last + 1)) if 0 <= k <= last})
    dots = tuple(Cell("...") for _ in table.columns)
    rows: list[tuple[Cell, ...]] = []
    for before, k in zip([-1, *kept], kept, strict=False):
        rows += [table.rows[k]] if k == before + 1 else [dots, table.rows[k]]
    return Table(table.columns, tuple(rows))


def _digits(field: str) -> str:
    return {"epoch": "{}", "threshold": "{:.2f}"}.get(field, "{:.4f}")


def runs_table(runs: Iterable[Run]) -> Table:
    names = (
        *("Run", "State", "Dataset", "Fingerprint", "Recipe", "Objective", "Seed"),
        *("Weights from", "Trained on", "Machine", "Git"),
    )
    rows = []
    for run in runs:
        environment = run.environment
        values = (
            run.name,
            run.state,
            run.dataset,
            run.fingerprint[:12],
            run.recipe,
            run.objective or NONE,
            run.seed,
            _weights(run),
            NONE if run.trained_audio_s is None else minutes(run.trained_audio_s),
            machine(run) or NONE,
            (environment and environment.git) or NONE,
        )
        rows.append(tuple(Cell(str(value)) for value in values))
    return Table(tuple(Column(name) for name in names), tuple(rows))


def recipes(runs: Iterable[Run]) -> list[tuple[str, str]]:
    """Each recipe's name and its settings as YAML, which ``--recipe`` takes back; alike ones once."""
    import yaml

    told = (
        (f"Recipe {run.recipe}", yaml.safe_dump(run.recipe_settings, sort_keys=False, allow_unicode=True))
        for run in runs
        if run.recipe_settings
    )
    return list(dict.fromkeys(told))


def versions(runs: Iterable[Run]) -> list[str]:
    """Alike environments once."""
    by_versions: dict[str, list[str]] = {}
    for run in runs:
        if run.environment:
            e = run.environment
            packages = ", ".join(f"{name} {version}" for name, version in sorted(e.versions.items()))
            by_versions.setdefault(f"Python {e.python} on {e.platform}; {packages}", []).append(run.name)
    return [f"{', '.join(names)}: {versions}" for versions, names in by_versions.items()]


def protocol(comparison: Comparison) -> list[str]:
    """What the figures are by, a line a condition, and the scorer."""
    return [*map(convention, comparison.conditions), f"scored by {comparison.scorer}"]


def _weights(run: Run) -> str:
    if run.weights is None:
        return f"{NONE} (init {run.init})"
    seen = f"; had seen {', '.join(run.weights.trained_on)}" if run.weights.trained_on else ""
    digest = f"; sha256 {run.weights.sha256[:12]}" if run.weights.sha256 else ""
    licence = f"; {run.weights.licence}" if run.weights.licence else ""
    return f"{run.weights.origin}{licence}{seen}{digest}"


def _identity_columns(section: Section) -> tuple[Column, ...]:
    runs = [line for line in section.lines if line.run]
    varying = {
        "From": len({line.origin for line in runs}) > 1,
        "Trained on": any(line.abroad for line in runs),
        "Train %": len({line.run.train_fraction for line in runs if line.run}) > 1,
        "Recipe": len({line.recipe for line in runs}) > 1,
        "Seed": len({line.seed for line in runs}) > 1,
    }
    return tuple(column for column in IDENTITY_COLUMNS if varying.get(column.name, True))


def _identity(line: Line, columns: tuple[Column, ...]) -> tuple[Cell, ...]:
    values = {
        "From": line.origin,
        "Trained on": line.run.dataset if line.run else None,
        "Train %": f"{100 * line.run.train_fraction:g}" if line.run else None,
        "Backend": line.backend,
        "Recipe": line.recipe,
        "Seed": line.seed,
        "Stage": line.stage.replace("oracle-", "oracle "),  # two words fit a narrow column
    }
    cells = []
    for column in columns:
        value = values[column.name]
        cells.append(Cell(NONE if value is None else visible(value), value))
    return tuple(cells)
