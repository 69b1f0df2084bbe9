"""What every report says of a comparison: its lines in reading order, which are not like for like, and the verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from statistics import mean
from string import ascii_lowercase
from typing import Any

from diarbench.reports.records import Comparison, Condition, Contrast, ErrorSeconds, Interval, Phase, Row, Run, Subset
from diarbench.reports.text import NONE, minutes, percent, plural, span, visible

STAGES = ("pretrained", "finetuned", "tuned")
"""Of a run, in order; any other stage is an oracle, a fusion or a reference system."""

PHASES = {
    "pretrained": ("diarizing pretrained test",),
    "finetuned": ("training", "diarizing"),
    "tuned": ("training", "tuning", "diarizing"),
}
"""What is behind a stage; of a run that was tuned, the finetuned one is not the last and has a clock of its own."""


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
    def system(self) -> tuple[str | float | None, ...]:
        """What tells it from another, whatever the seed and stage."""
        data = (self.run.dataset, self.run.train_fraction) if self.run else ()
        return (self.origin, self.backend, self.recipe, *data)

    @property
    def abroad(self) -> bool:
        """Whether it was trained on another dataset than it is scored on."""
        return self.run is not None and self.row is not None and self.run.dataset != self.row.dataset

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
    def training_s(self) -> float | None:
        """Seconds of training behind this stage; None where it was not trained."""
        return _sum(phase.seconds for phase in self._phases if phase.name == "training")

    @property
    def tuning_s(self) -> float | None:
        """Seconds of the search for hyper-parameters behind this stage; None where there was none."""
        return _sum(phase.seconds for phase in self._phases if phase.name == "tuning")

    @property
    def real_time_factor(self) -> float | None:
        """Seconds of diarizing a second of audio, on test."""
        phases = [phase for phase in self._phases if phase.name.startswith("diarizing") and phase.audio_s]
        return sum(p.seconds for p in phases) / sum(p.audio_s or 0 for p in phases) if phases else None

    @property
    def peak_memory_mb(self) -> float | None:
        """Largest of the phases behind this stage."""
        return max((phase.peak_memory_mb for phase in self._phases), default=None)

    @property
    def _phases(self) -> list[Phase]:
        """What this stage took: training, if it was trained, and diarizing the test set."""
        names = PHASES.get(self.stage, ())
        if self.abroad and self.row:
            names = (*names[:-1], f"diarizing {self.stage} {self.row.dataset}")
        elif self.stage == "finetuned" and self.run and self.run.tuning:
            names = (*names[:-1], "diarizing finetuned test")
        return [phase for phase in self.run.phases if phase.name in names] if self.run else []


def system_label(run: Run, dataset: str, stage: str, scored: Iterable[Run]) -> str:
    """What tells a run at a stage from the others that were ``scored`` on a dataset, whatever the seed."""
    others = list(scored)
    parts = [run.backend]
    if len({other.recipe for other in others}) > 1:
        parts.append(run.recipe)
    if len({other.train_fraction for other in others}) > 1:
        parts.append(f"{100 * run.train_fraction:g}%")
    parts.append(stage)
    if run.dataset != dataset:
        parts.append(f"on {run.dataset}")
    return " ".join(parts)


def competing(dataset: str, scored: Iterable[Run]) -> list[Run]:
    """The runs that a verdict on a dataset is about: trained on it, where any was, and on the largest part of it."""
    everyone = list(scored)
    home = [run for run in everyone if run.dataset == dataset] or everyone
    most = max((run.train_fraction for run in home), default=1.0)
    return [run for run in home if run.train_fraction == most]


@dataclass(frozen=True)
class Contender:
    """What competes: a toolkit by a recipe, its seeds together, at the last stage that it came to."""

    label: str
    """As the records' contrasts call it; with its origin in a merged comparison."""
    lines: tuple[Line, ...]

    @property
    def rows(self) -> list[Row]:
        return [line.row for line in self.lines if line.row is not None]

    @property
    def runs(self) -> list[Run]:
        return [line.run for line in self.lines if line.run is not None]

    @property
    def train_s(self) -> float | None:
        """Annotated time that it was fine-tuned on, the mean of its seeds'."""
        known = [run.train_s for run in self.runs if run.train_s is not None]
        return mean(known) if known else None

    @property
    def interval(self) -> Interval | None:
        """Of its DER, where it has one seed."""
        return self.rows[0].interval if len(self.rows) == 1 else None

    @property
    def der(self) -> float:
        """The mean of its seeds'."""
        return mean(row.der for row in self.rows if row.der is not None)


@dataclass(frozen=True)
class Section:
    """The lines of one dataset, subset and condition."""

    dataset: str
    subset: Subset
    condition: Condition
    lines: tuple[Line, ...]
    contrasts: tuple[Contrast, ...] = ()

    @property
    def contenders(self) -> list[Contender]:
        """The last stages of those that compete, lowest DER first; none without a rate."""
        rivals = competing(self.dataset, (run for contender in self.last_stages for run in contender.runs))
        found = [contender for contender in self.last_stages if contender.runs[0] in rivals]
        return sorted(found, key=lambda contender: contender.der)

    @property
    def last_stages(self) -> list[Contender]:
        """Each system at the last stage that it came to, also those trained on less of the data, or on other data."""
        stages: dict[tuple[str | float | None, ...], list[str]] = {}
        for line in self._scored:
            if line.stage in STAGES:
                stages.setdefault(line.system, []).append(line.stage)
        return [self._at(system, max(reached, key=STAGES.index)) for system, reached in stages.items()]

    def first_stage(self, contender: Contender) -> Contender | None:
        """The same system before fine-tuning, where its weights were pretrained."""
        system = contender.lines[0].system
        there = any(line.system == system and line.stage == STAGES[0] for line in self._scored)
        return self._at(system, STAGES[0]) if there else None

    @property
    def _scored(self) -> list[Line]:
        return [line for line in self.lines if line.run and line.row and line.row.der is not None]

    def _at(self, system: tuple[str | float | None, ...], stage: str) -> Contender:
        lines = tuple(line for line in self._scored if line.system == system and line.stage == stage)
        runs = [line.run for line in self._scored if line.run]
        origin = f" ({lines[0].origin})" if len({line.origin for line in self._scored}) > 1 else ""
        return Contender(f"{system_label(lines[0].run or runs[0], self.dataset, stage, runs)}{origin}", lines)

    @property
    def winner(self) -> Contender | None:
        """The contender that is better than each other by interval and test; mostly there is none."""
        settled = {(c.a, c.b) if c.difference.der < 0 else (c.b, c.a) for c in self.contrasts if c.difference.settled}
        first, *others = [contender.label for contender in self.contenders] or [""]
        if not others or any((other, first) not in settled for other in others):
            return None
        return self.contenders[0]

    def contrast(self, a: Contender, b: Contender) -> Contrast | None:
        return next((c for c in self.contrasts if {c.a, c.b} == {a.label, b.label}), None)

    def sorted(self, key: Callable[[Line], float]) -> Section:
        return replace(self, lines=tuple(sorted(self.lines, key=key)))

    @property
    def recordings(self) -> tuple[str, ...]:
        return tuple(sorted({part.uri for line in self.lines if line.row for part in line.row.files}))


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

    def abroad(self, dataset: str) -> tuple[Section, ...]:
        """Where else the runs that were trained on a dataset were scored, under the first condition."""
        home = [run for run in self.comparison.runs if run.dataset == dataset]
        others = dict.fromkeys(domain.dataset for run in home for domain in run.also_scored)
        return tuple(section for other in others for section in self.of(other)[:1])

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
    scored = {row.run for row in comparison.rows}
    subsets: tuple[Subset, ...] = ("test", "dev", "train")
    sections = []
    for dataset in dict.fromkeys([run.dataset for run in comparison.runs] + [row.dataset for row in comparison.rows]):
        runs = [run for run in comparison.runs if run.domain(dataset)]
        marks = unlike(dataset, [run for run in runs if run.name in scored], footnotes)
        for subset in subsets:
            for condition in comparison.conditions:
                place = (dataset, subset, condition.name)
                rows = [row for row in comparison.rows if (row.dataset, row.subset, row.condition) == place]
                contrasts = tuple(c for c in comparison.contrasts if (c.dataset, c.subset, c.condition) == place)
                if rows or (runs and subset == "test"):
                    lines = tuple(_lines(rows, runs, marks, footnotes))
                    sections.append(Section(dataset, subset, condition, lines, contrasts))
    return Summary(comparison, tuple(sections), footnotes.reasons)


def _lines(
    rows: Sequence[Row], runs: Sequence[Run], marks: dict[str, list[tuple[str, bool]]], footnotes: Footnotes
) -> list[Line]:
    """The lines of a section in reading order; a run without a row, or not done, has one that says so."""
    by_name = {run.name: run for run in runs}
    recordings = {part.uri for row in rows for part in row.files}
    lines = []
    for row in rows:
        run = by_name.get(row.run or "")
        lines.append(Line(row, run, tuple(_row_marks(row, run, marks, recordings, footnotes))))
    with_rows = {row.run for row in rows}
    lines += [Line(None, run) for run in runs if run.name not in with_rows or run.state != "done"]
    order = list(by_name)
    return sorted(lines, key=lambda line: _reading_order(line, order))


def unlike(dataset: str, runs: Sequence[Run], footnotes: Footnotes) -> dict[str, list[tuple[str, bool]]]:
    """The marks of each run of a dataset that is not like the others, by run name.

    With each mark goes whether it concerns trained stages only. What is held against each other: where the
    weights started, parts that are not fine-tuned, corpora seen before, hours trained, tuning trials, recipe, seed,
    data, code and machine.
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
    domains = {run.name: domain for run in runs if (domain := run.domain(dataset))}
    for run in runs:
        corpus = domains[run.name].corpus
        if run.weights and corpus.casefold() in (seen.casefold() for seen in run.weights.trained_on):
            mark(run, f"its pretrained weights have seen {corpus}, the corpus of {dataset}")
        elif run.weights and run.weights.pretrained and not run.weights.trained_on:
            mark(run, f"what its pretrained weights were trained on is not known; they may have seen {corpus}")
    for part in dict.fromkeys((run.dataset, run.train_fraction) for run in runs):  # what tables have columns for
        alike = [run for run in runs if (run.dataset, run.train_fraction) == part and run.trained_audio_s is not None]
        hours = [run.trained_audio_s or 0.0 for run in alike]
        if hours and max(hours) > 1.01 * min(hours):
            around = f"{minutes(min(hours))} to {minutes(max(hours))}"
            for run, trained_s in zip(alike, hours, strict=True):
                mark(run, f"trained on {minutes(trained_s)} of audio; the rows range over {around}", True)
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
    where_apart(
        lambda run: domains[run.name].fingerprint,
        lambda value: f"on other data named {dataset} (fingerprint {value[:12]})",
    )
    where_apart(
        lambda run: run.environment and (run.environment.git, tuple(sorted(run.environment.versions.items()))),
        lambda value: f"ran with diarbench at {(value and value[0]) or 'an unknown commit'}; code or versions differ",
    )
    where_apart(machine, lambda value: f"ran on {value or 'an unknown machine'}: its seconds and memory do not compare")
    return marks


def machine(run: Run) -> str | None:
    """The hardware that a run's seconds and memory hold for."""
    e = run.environment
    return f"{e.device}, {e.processor}, {e.cores} cores, {e.memory_gb:.0f} GB" if e else None


def verdict(summary: Summary, dataset: str) -> str:
    """Who came out lowest under the first condition on test; then whether that is settled, with the interval."""
    sections = summary.of(dataset)
    if not sections:
        return f"{visible(dataset)}: nothing was scored on its test set."
    section = sections[0]
    strange = ", which none of them was trained on" if all(line.abroad for line in section.lines if line.run) else ""
    where = (
        f"On {visible(dataset)}{strange}, test set of {plural(len(section.recordings), 'recording')}, "
        f"condition {visible(section.condition.name)}"
    )
    told = [
        f"{visible(contender.label)} {percent(contender.der)} %"
        + (f" (mean of {len(contender.lines)} seeds)" if len(contender.lines) > 1 else "")
        for contender in section.contenders
    ]
    if not told:
        return f"{where}: no run came to a score."
    if len(told) == 1:
        return f"{where}: DER of {told[0]}. There is nothing to hold it against."
    alike = "" if not any(line.marks for line in section.lines) else " (rows that are not like for like are marked)"
    contrast = section.contrast(*section.contenders[:2])
    if contrast is None:
        settled = "The records hold no interval for the difference, so none is called the winner."
    else:
        of = f"{visible(contrast.b)} minus {visible(contrast.a)}: {span(contrast.difference.interval)} points"
        settled = f"{visible(contrast.verdict).removesuffix('.')}; 95 % interval of {of}."
    return f"{where}, lowest DER first{alike}: {', '.join(told)}. {settled}"


def rates_of(row: ErrorSeconds | None) -> tuple[float | None, ...]:
    """DER, miss, false alarm and confusion as fractions of reference speech."""
    if row is None or row.total <= 0:
        return (None,) * 4
    return row.der, row.miss / row.total, row.false_alarm / row.total, row.confusion / row.total


def add_slices(contender: Contender) -> dict[str, dict[str, ErrorSeconds]]:
    """Seconds by slicing and part, its seeds' added up; what is a recording's own stands in another table."""
    found: dict[str, dict[str, ErrorSeconds]] = {}
    for row in contender.rows:
        for slicing, parts in row.slices.items():
            for part, errors in parts.items() if slicing != "recording" else ():
                sums = found.setdefault(slicing, {})
                sums[part] = sums.get(part, ErrorSeconds()) + errors
    return found


def _row_marks(
    row: Row,
    run: Run | None,
    marks: dict[str, list[tuple[str, bool]]],
    everything: set[str],
    footnotes: Footnotes,
) -> Iterator[str]:
    if run is not None:
        yield from (letter for letter, trained in marks[run.name] if not (trained and row.stage == "pretrained"))
    if run is not None and row.stage not in STAGES:
        yield footnotes.mark("no system: the reference stood in for a part of the pipeline")
    scored = {part.uri for part in row.files}
    if scored != everything:
        yield footnotes.mark(f"scored on {len(scored)} of the {len(everything)} recordings")


def _reading_order(line: Line, runs: list[str]) -> tuple[int, int, int]:
    stage = STAGES.index(line.stage) if line.stage in STAGES else len(STAGES)
    return (line.run is None, runs.index(line.run.name) if line.run else -1, stage)


def _sum(values: Iterable[float]) -> float | None:
    listed = list(values)
    return sum(listed) if listed else None


def _trials(run: Run) -> int:
    return len(run.tuning.trials) if run.tuning else 0
