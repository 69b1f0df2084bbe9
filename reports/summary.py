"""What every report shows of a comparison, whatever it is drawn with: lines, marks, tables of cells, the verdict.

Everything is derived from the records; figures are formatted here once, and names are made safe to show.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from statistics import mean
from string import ascii_lowercase
from typing import Any

from diarbench.reports.records import EPOCH_COLUMNS, Comparison, Condition, ErrorSeconds, Phase, Row, Run, Subset

STAGES = ("pretrained", "finetuned", "tuned")
"""Of a run, in order; any other stage is a reference system."""

NONE = "-"

_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def visible(name: object) -> str:
    """A name on one line, with control characters and direction marks written as escapes (``\\n``, ``\\u202e``)."""
    return "".join(
        char.encode("unicode_escape").decode()
        if char in _BIDI_CONTROLS or unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")
        else char
        for char in str(name)
    )


@dataclass(frozen=True)
class Line:
    """A system at a stage on one subset under one condition; ``row`` is None where the run came to no score."""

    row: Row | None
    run: Run | None
    marks: tuple[str, ...] = ()

    @property
    def backend(self) -> str:
        return self.row.backend if self.row else self.run.backend if self.run else ""

    @property
    def origin(self) -> str:
        """The comparison that a merged line is from: the folder of its run's."""
        parent = self.run.name.rpartition("/")[0] if self.run else ""
        return parent or NONE

    @property
    def recipe(self) -> str | None:
        return self.row.recipe if self.row else self.run.recipe if self.run else None

    @property
    def seed(self) -> int | None:
        return self.row.seed if self.row else self.run.seed if self.run else None

    @property
    def stage(self) -> str:
        return self.row.stage if self.row else self.run.state if self.run else ""

    @property
    def is_reference(self) -> bool:
        return self.run is None and self.stage not in STAGES

    @property
    def training_s(self) -> float | None:
        """Seconds of training behind this stage; None where it was not trained."""
        if self.run is None or self.stage == "pretrained":
            return None
        return _sum(phase.seconds for phase in self.run.phases if phase.name == "training")

    @property
    def real_time_factor(self) -> float | None:
        """Seconds of diarizing a second of audio, on test."""
        phases = [phase for phase in self._diarizing if phase.audio_s]
        return sum(p.seconds for p in phases) / sum(p.audio_s or 0 for p in phases) if phases else None

    @property
    def peak_memory_mb(self) -> float | None:
        """Largest of the phases behind this stage: only diarizing where the weights were not trained."""
        phases = self._diarizing if self.stage == "pretrained" or not self.run else self.run.phases
        return max((phase.peak_memory_mb for phase in phases), default=None)

    @property
    def _diarizing(self) -> list[Phase]:
        name = "diarizing pretrained test" if self.stage == "pretrained" else "diarizing"
        return [phase for phase in self.run.phases if phase.name == name] if self.run else []


@dataclass(frozen=True)
class Section:
    """The lines of one dataset, subset and condition."""

    dataset: str
    subset: Subset
    condition: Condition
    lines: tuple[Line, ...]

    def sorted(self, key: Callable[[Line], float]) -> Section:
        return replace(self, lines=tuple(sorted(self.lines, key=key)))

    @property
    def recordings(self) -> tuple[str, ...]:
        return tuple(sorted({part.uri for line in self.lines if line.row for part in line.row.files}))


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


COST_LEGEND = (
    "Train s is seconds of training, RTF seconds of diarizing a second of audio, "
    "memory the largest resident set of the run's process."
)

IDENTITY_COLUMNS = (Column("From"), Column("Backend"), Column("Recipe"), Column("Seed", True), Column("Stage"))
RATE_COLUMNS = tuple(Column(name, True) for name in ("DER %", "Miss %", "FA %", "Conf. %"))


@dataclass
class Footnotes:
    """Reasons by mark, lettered in the order in which they come up."""

    reasons: dict[str, str] = field(default_factory=dict)

    def mark(self, reason: str) -> str:
        for letter, known in self.reasons.items():
            if known == reason:
                return letter
        number = len(self.reasons)
        letter = ascii_lowercase[number % 26] * (1 + number // 26)
        self.reasons[letter] = reason
        return letter


@dataclass(frozen=True)
class Summary:
    """A comparison as it is shown: sections in reading order, and what their marks mean."""

    comparison: Comparison
    sections: tuple[Section, ...]
    footnotes: dict[str, str]

    @property
    def datasets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(section.dataset for section in self.sections))

    @property
    def failures(self) -> tuple[str, ...]:
        """A line for each run that came to no end."""
        return tuple(
            visible(f"{run.name}: {run.state}: {run.failure or 'no reason recorded'}")
            for run in self.comparison.runs
            if run.state != "done"
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What the runs dropped, clipped or cut; alike notes of several runs once."""
        by_note: dict[str, list[str]] = {}
        for run in self.comparison.runs:
            for note in run.notes:
                by_note.setdefault(note, []).append(run.name)
        return tuple(visible(f"{', '.join(runs)}: {note}") for note, runs in by_note.items())

    def footnotes_of(self, dataset: str) -> dict[str, str]:
        """The marks that a dataset's lines carry."""
        used = {
            mark
            for section in self.sections
            if section.dataset == dataset
            for line in section.lines
            for mark in line.marks
        }
        return {letter: reason for letter, reason in self.footnotes.items() if letter in used}

    def of(self, dataset: str, subset: Subset = "test") -> tuple[Section, ...]:
        return tuple(s for s in self.sections if s.dataset == dataset and s.subset == subset)


def summarize(comparison: Comparison) -> Summary:
    """Sections by dataset, test before dev, conditions in the records' order; rows not like for like are marked."""
    footnotes = Footnotes()
    runs = {run.name: run for run in comparison.runs}
    datasets = dict.fromkeys([run.dataset for run in comparison.runs] + [row.dataset for row in comparison.rows])
    order = list(runs)
    sections = []
    for dataset in datasets:
        here = [run for run in comparison.runs if run.dataset == dataset]
        scored = {row.run for row in comparison.rows}
        marks = unlike(dataset, [run for run in here if run.name in scored], footnotes)
        subsets: tuple[Subset, ...] = ("test", "dev", "train")
        for subset in subsets:
            for condition in comparison.conditions:
                rows = [
                    r
                    for r in comparison.rows
                    if (r.dataset, r.subset, r.condition) == (dataset, subset, condition.name)
                ]
                if not rows and not (subset == "test" and here):
                    continue
                everything = {part.uri for row in rows for part in row.files}
                lines = [
                    Line(
                        row,
                        runs.get(row.run or ""),
                        tuple(_row_marks(row, runs.get(row.run or ""), marks, everything, footnotes)),
                    )
                    for row in rows
                ]
                with_rows = {row.run for row in rows}
                lines += [Line(None, run) for run in here if run.name not in with_rows or run.state != "done"]
                lines.sort(key=lambda line: _reading_order(line, order))
                sections.append(Section(dataset, subset, condition, tuple(lines)))
    return Summary(comparison, tuple(sections), footnotes.reasons)


def unlike(dataset: str, runs: Sequence[Run], footnotes: Footnotes) -> dict[str, list[tuple[str, bool]]]:
    """The marks of each run of a dataset that is not like the others, by run name.

    With each mark goes whether it concerns trained stages only. What is held against each other: where the
    weights started, parts that are not fine-tuned, corpora seen before, hours trained, tuning trials, recipe, seed,
    data and machine.
    """
    marks: dict[str, list[tuple[str, bool]]] = {run.name: [] for run in runs}

    def mark(run: Run, reason: str, trained: bool = False) -> None:
        marks[run.name].append((footnotes.mark(visible(reason)), trained))

    def where_apart(value: Callable[[Run], Any], reason: Callable[[Any], str], trained: bool = False) -> None:
        if len({value(run) for run in runs}) > 1:
            for run in runs:
                mark(run, reason(value(run)), trained)

    where_apart(
        lambda run: bool(run.weights and run.weights.pretrained),
        lambda pretrained: (
            "started from pretrained weights; other rows started from scratch"
            if pretrained
            else "trained from scratch; other rows started from pretrained weights"
        ),
    )
    where_apart(
        lambda run: run.weights.fixed_parts if run.weights else (),
        lambda parts: (
            f"uses pretrained parts that are not fine-tuned ({', '.join(parts)}); other rows do not use the same"
            if parts
            else "uses no pretrained part beside its network; other rows do"
        ),
    )
    for run in runs:
        if run.weights and run.corpus.casefold() in (corpus.casefold() for corpus in run.weights.trained_on):
            mark(run, f"its pretrained weights have seen {run.corpus}, the corpus of {dataset}")
        elif run.weights and run.weights.pretrained and not run.weights.trained_on:
            mark(run, f"what its pretrained weights were trained on is not known; they may have seen {run.corpus}")
    hours = [run.trained_audio_s for run in runs if run.trained_audio_s is not None]
    if hours and max(hours) > 1.01 * min(hours):
        for run in runs:
            if run.trained_audio_s is not None:
                span = f"{minutes(min(hours))} to {minutes(max(hours))}"
                mark(run, f"trained on {minutes(run.trained_audio_s)} of audio; the rows range over {span}", True)
    where_apart(
        _trials,
        lambda trials: (
            f"tuned on dev in {trials} trials; other rows were not tuned alike"
            if trials
            else "not tuned; other rows were tuned on dev"
        ),
        trained=True,
    )
    if len({run.backend for run in runs}) > 1:
        for run in runs:
            others = [other for other in runs if other.backend != run.backend]
            if all(other.recipe != run.recipe for other in others):
                mark(run, f"no other backend was trained by the recipe {run.recipe}", True)
            if all(other.seed != run.seed for other in others):
                mark(run, f"no other backend was run with seed {run.seed}", True)
    where_apart(lambda run: run.fingerprint, lambda value: f"on other data named {dataset} (fingerprint {value[:12]})")
    where_apart(machine, lambda value: f"ran on {value or 'an unknown machine'}: its seconds and memory do not compare")
    return marks


def machine(run: Run) -> str | None:
    """The hardware that a run's seconds and memory hold for."""
    e = run.environment
    return f"{e.device}, {e.processor}, {e.cores} cores, {e.memory_gb:.0f} GB" if e else None


def score_table(section: Section) -> Table:
    """The error rate and its parts in per cent of reference speech; then the marks."""
    rows = []
    for line in section.lines:
        cells = (Cell(percent(rate), rate) for rate in rates_of(line.row))
        rows.append((*cells, Cell(" ".join(line.marks))))
    return Table((*RATE_COLUMNS, Column("Marks")), tuple(rows))


def cost_table(section: Section) -> Table:
    """Where the weights came from, and what a line cost."""
    names = ("Params", "Train s", "RTF", "Memory")
    rows = []
    for line in section.lines:
        run = line.run
        weights = Cell(visible(run.weights.origin) if run and run.weights else NONE)
        rows.append(
            (
                weights,
                Cell(count(run.parameters if run else None), run.parameters if run else None),
                Cell(number(line.training_s, "{:,.0f}"), line.training_s),
                Cell(number(line.real_time_factor, "{:.3f}"), line.real_time_factor),
                Cell(memory(line.peak_memory_mb), line.peak_memory_mb),
            )
        )
    return Table((Column("Weights"), *(Column(name, True) for name in names)), tuple(rows))


def identity_table(section: Section, every: bool = False) -> Table:
    """Backend and stage; recipe and seed where the runs differ in them, or always."""
    columns = _identity_columns(section, every)
    return Table(columns, tuple(_identity(line, columns) for line in section.lines))


def recordings_table(sections: Sequence[Section]) -> Table:
    """A row a recording and line: reference speech, then the error rate and its parts."""
    identity = _identity_columns(sections[0], every=True)
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
    """Mean and range of DER over the seeds of a backend, recipe and stage; None where nothing has two seeds."""
    rows = []
    for (_, backend, recipe, stage), rates in _by_contender(section.lines).items():
        if len(rates) > 1:
            rows.append(
                (
                    Cell(visible(backend)),
                    Cell(visible(recipe)),
                    Cell(visible(stage)),
                    Cell(str(len(rates)), len(rates)),
                    Cell(percent(mean(rates)), mean(rates)),
                    Cell(f"{percent(min(rates))} to {percent(max(rates))}", max(rates) - min(rates)),
                )
            )
    names = ("Backend", "Recipe", "Stage", "Seeds", "Mean DER %", "Range DER %")
    return Table(tuple(Column(name, n > 2) for n, name in enumerate(names)), tuple(rows)) if rows else None


def epoch_table(run: Run) -> Table:
    """The fine-tuning guide's columns, a row an epoch."""
    rows = (
        tuple(Cell(number(value, "{}" if name == "epoch" else "{:.3f}"), value) for name, value in epoch)
        for epoch in run.epochs
    )
    return Table(tuple(Column(name, True) for name in EPOCH_COLUMNS.values()), tuple(rows))


def runs_table(runs: Iterable[Run]) -> Table:
    names = ("Run", "State", "Dataset", "Fingerprint", "Recipe", "Seed", "Weights from", "Trained on", "Machine", "Git")
    rows = []
    for run in runs:
        environment = run.environment
        values = (
            run.name,
            run.state,
            run.dataset,
            run.fingerprint[:12],
            run.recipe,
            run.seed,
            _weights(run),
            NONE if run.trained_audio_s is None else minutes(run.trained_audio_s),
            machine(run) or NONE,
            (environment and environment.git) or NONE,
        )
        rows.append(tuple(Cell(str(value)) for value in values))
    return Table(tuple(Column(name) for name in names), tuple(rows))


def _weights(run: Run) -> str:
    if run.weights is None:
        return f"{NONE} (init {run.init})"
    seen = f"; had seen {', '.join(run.weights.trained_on)}" if run.weights.trained_on else ""
    digest = f"; sha256 {run.weights.sha256[:12]}" if run.weights.sha256 else ""
    licence = f"; {run.weights.licence}" if run.weights.licence else ""
    return f"{run.weights.origin}{licence}{seen}{digest}"


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
    return [f"{c.name}: {c.text}" for c in comparison.conditions] + [f"scored by {comparison.scorer}"]


def verdict(summary: Summary, dataset: str) -> str:
    """Two sentences: who came out lowest under the first condition on test, and whether that is settled."""
    sections = summary.of(dataset)
    if not sections:
        return f"{visible(dataset)}: nothing was scored on its test set."
    section = sections[0]
    finals: dict[tuple[str, str, str | None], tuple[str, float, int]] = {}
    for (origin, backend, recipe, stage), rates in _by_contender(section.lines).items():
        finals[origin, backend, recipe] = (stage, mean(rates), len(rates))
    condition = visible(section.condition.name)
    where = f"On {visible(dataset)}, test set of {_plural(len(section.recordings), 'recording')}"
    if not finals:
        return f"{where}: no run came to a score."
    origins, _, recipes = (set(values) for values in zip(*finals, strict=True))
    told = [
        f"{visible(backend)}{f' by {visible(recipe)}' if len(recipes) > 1 else ''}"
        f"{f' in {visible(origin)}' if len(origins) > 1 else ''} ({visible(stage)}) {percent(rate)} %"
        + (f" (mean of {seeds} seeds)" if seeds > 1 else "")
        for (origin, backend, recipe), (stage, rate, seeds) in sorted(finals.items(), key=lambda item: item[1][1])
    ]
    if len(told) == 1:
        return f"{where}, condition {condition}: DER of {told[0]}. There is nothing to hold it against."
    unlike_rows = any(line.marks for line in section.lines)
    return (
        f"{where}, condition {condition}, lowest DER first: {', '.join(told)}. "
        "The records hold no interval for the difference, so none is called the winner"
        f"{'; rows that are not like for like are marked.' if unlike_rows else '.'}"
    )


def percent(rate: float | None) -> str:
    return number(rate if rate is None else 100 * rate, "{:.1f}")


def number(value: float | None, pattern: str) -> str:
    return NONE if value is None else pattern.format(value)


def count(value: int | None) -> str:
    """``1.5 M``: a number of parameters."""
    if value is None or value < 1e6:
        return number(value, "{:,}")
    return f"{value / 1e6:.1f} M"


def memory(megabytes: float | None) -> str:
    if megabytes is None or megabytes < 1000:
        return number(megabytes, "{:.0f} MB")
    return f"{megabytes / 1000:.1f} GB"


def minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def _row_marks(
    row: Row,
    run: Run | None,
    marks: dict[str, list[tuple[str, bool]]],
    everything: set[str],
    footnotes: Footnotes,
) -> Iterator[str]:
    if run is not None:
        yield from (letter for letter, trained in marks[run.name] if not (trained and row.stage == "pretrained"))
    scored = {part.uri for part in row.files}
    if scored != everything:
        yield footnotes.mark(f"scored on {len(scored)} of the {len(everything)} recordings")


def _reading_order(line: Line, runs: list[str]) -> tuple[int, int, int]:
    stage = STAGES.index(line.stage) if line.stage in STAGES else len(STAGES)
    return (line.is_reference, runs.index(line.run.name) if line.run else -1, stage)


def _by_contender(lines: Iterable[Line]) -> dict[tuple[str, str, str | None, str], list[float]]:
    """DER of each seed by origin, backend, recipe and stage, stages in order; references left out."""
    rates: dict[tuple[str, str, str | None, str], list[float]] = {}
    for line in lines:
        if not line.is_reference and line.row is not None and line.row.der is not None:
            rates.setdefault((line.origin, line.backend, line.recipe, line.stage), []).append(line.row.der)
    return dict(sorted(rates.items(), key=lambda item: STAGES.index(item[0][3]) if item[0][3] in STAGES else -1))


def _identity_columns(section: Section, every: bool = False) -> tuple[Column, ...]:
    """Recipe and seed only where the runs differ in them, unless ``every``; origin only where the runs differ."""
    runs = [line for line in section.lines if line.run]
    shown = {
        "From": len({line.origin for line in runs}) > 1,
        "Recipe": every or len({line.recipe for line in runs}) > 1,
        "Seed": every or len({line.seed for line in runs}) > 1,
    }
    return tuple(column for column in IDENTITY_COLUMNS if shown.get(column.name, True))


def _identity(line: Line, columns: tuple[Column, ...]) -> tuple[Cell, ...]:
    values = {
        "From": line.origin,
        "Backend": NONE if line.is_reference else line.backend,
        "Recipe": line.recipe,
        "Seed": line.seed,
        "Stage": line.stage,
    }
    cells = []
    for column in columns:
        value = values[column.name]
        cells.append(Cell(NONE if value is None else visible(value), value))
    return tuple(cells)


def rates_of(row: ErrorSeconds | None) -> tuple[float | None, ...]:
    """DER, miss, false alarm and confusion as fractions of reference speech."""
    if row is None or row.total <= 0:
        return (None,) * 4
    return row.der, row.miss / row.total, row.false_alarm / row.total, row.confusion / row.total


def _sum(values: Iterable[float]) -> float | None:
    listed = list(values)
    return sum(listed) if listed else None


def _trials(run: Run) -> int:
    trials = (run.tuning or {}).get("trials", 0)
    return trials if isinstance(trials, int) else len(trials)


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
