"""A comparison arranged for reports: lines in reading order, marks of rows that are not directly comparable."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import mean, median

from diarbench.datasets.dataset import Subset
from diarbench.datasets.io.names import visible
from diarbench.reports.formatting import NONE
from diarbench.reports.results.comparison import Comparison
from diarbench.reports.results.run import Phase, Run, sum_known
from diarbench.reports.results.scores import Condition, Row
from diarbench.reports.results.statistics import Contrast, Interval
from diarbench.reports.summary.comparability import STAGES, Footnotes, comparability_footnotes, row_marks
from diarbench.reports.summary.systems import competing, system_label, system_name

PHASES = {
    "pretrained": ("diarizing pretrained test",),
    "finetuned": ("training", "diarizing"),
    "tuned": ("training", "tuning", "diarizing"),
}
"""The phases whose cost a stage includes. In tuned runs the finetuned stage has its own diarizing phase."""


@dataclass(frozen=True)
class Line:
    """A system at a stage on one subset under one condition; ``row`` is None where the run has no score."""

    row: Row | None
    run: Run | None
    marks: tuple[str, ...] = ()

    @property
    def backend(self) -> str:
        return self.row.backend if self.row else self.run.backend if self.run else ""

    @property
    def pipeline(self) -> str | None:
        """The name of its pipeline; None for a backend that has only one."""
        return self.run.pipeline.name if self.run and self.run.pipeline else None

    @property
    def origin(self) -> str:
        """The folder of the comparison that a merged line comes from."""
        parent = self.run.name.rpartition("/")[0] if self.run else ""
        return parent or NONE

    @property
    def system(self) -> tuple[str | float | None, ...]:
        """Identifies the system, whatever its seed and stage."""
        data = (self.run.dataset, self.run.train_fraction) if self.run else ()
        return (self.origin, self.backend, self.pipeline, self.recipe, *data)

    @property
    def is_out_of_domain(self) -> bool:
        """Whether it is scored on a dataset other than the one it was trained on."""
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
        """Seconds of training up to this stage; None where it was not trained."""
        return sum_known(phase.seconds for phase in self._phases if phase.name == "training")

    @property
    def tuning_s(self) -> float | None:
        """Seconds of hyper-parameter search up to this stage; None where there was none."""
        return sum_known(phase.seconds for phase in self._phases if phase.name == "tuning")

    @property
    def real_time_factor(self) -> float | None:
        """Seconds of diarization per second of audio, on test: the median of the timed recordings."""
        if self.real_time_factors:
            return median(self.real_time_factors)
        phases = [phase for phase in self._phases if phase.name.startswith("diarizing") and phase.audio_s]
        return sum(p.seconds for p in phases) / sum(p.audio_s or 0 for p in phases) if phases else None

    @property
    def real_time_factors(self) -> tuple[float, ...]:
        """Of each timed test recording; empty in runs of version 0.1."""
        phases = (phase for phase in self._phases if phase.name.startswith("diarizing"))
        return tuple(factor for phase in phases for factor in phase.real_time_factors)

    @property
    def peak_memory_mb(self) -> float | None:
        """The largest peak of the phases up to this stage."""
        return max((phase.peak_memory_mb for phase in self._phases), default=None)

    @property
    def _phases(self) -> list[Phase]:
        """The phases up to this stage: training, if it was trained, and diarizing the test set."""
        names = PHASES.get(self.stage, ())
        if self.is_out_of_domain and self.row:
            names = (*names[:-1], f"diarizing {self.stage} {self.row.dataset}")
        elif self.run and self.stage == self.run.final_stage == "pretrained":
            names = ("diarizing",)
        elif self.stage == "finetuned" and self.run and self.run.final_stage == "tuned":
            names = (*names[:-1], "diarizing finetuned test")
        return [phase for phase in self.run.phases if phase.name in names] if self.run else []


@dataclass(frozen=True)
class Contender:
    """A system at one stage: a toolkit with a recipe, all its seeds."""

    label: str
    """As in the contrasts of the results; with its origin in a merged comparison."""
    name: str
    """The label without the stage."""
    lines: tuple[Line, ...]

    @property
    def backend(self) -> str:
        return self.lines[0].backend

    @property
    def stage(self) -> str:
        return self.lines[0].stage

    @property
    def rows(self) -> list[Row]:
        return [line.row for line in self.lines if line.row is not None]

    @property
    def runs(self) -> list[Run]:
        return [line.run for line in self.lines if line.run is not None]

    @property
    def train_s(self) -> float | None:
        """Annotated seconds that it was fine-tuned on, the mean over its seeds."""
        known = [run.train_s for run in self.runs if run.train_s is not None]
        return mean(known) if known else None

    @property
    def interval(self) -> Interval | None:
        """The interval of its DER; only where it has one seed."""
        return self.rows[0].interval if len(self.rows) == 1 else None

    @property
    def der(self) -> float:
        """The mean over its seeds, as a fraction."""
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
        """The competing systems that have a DER, lowest first, each at its best stage."""
        rivals = competing(self.dataset, (run for contender in self.last_stages for run in contender.runs))
        best = [
            min(reversed(stages), key=lambda contender: contender.der)  # the later of equal stages
            for stages in self.stages
            if stages[0].runs[0] in rivals
        ]
        return sorted(best, key=lambda contender: contender.der)

    @cached_property
    def stages(self) -> list[list[Contender]]:
        """Every system at each stage it reached, in order; also systems trained on less data or on other data."""
        reached: dict[tuple[str | float | None, ...], set[str]] = {}
        for line in self._scored:
            if line.stage in STAGES:
                reached.setdefault(line.system, set()).add(line.stage)
        return [[self._at(system, stage) for stage in STAGES if stage in stages] for system, stages in reached.items()]

    @property
    def last_stages(self) -> list[Contender]:
        """Every system at the last stage it reached."""
        return [stages[-1] for stages in self.stages]

    def stages_of(self, contender: Contender) -> dict[str, Contender]:
        """The same system at every stage it reached."""
        system = contender.lines[0].system
        return {c.stage: c for stages in self.stages for c in stages if c.lines[0].system == system}

    def first_stage(self, contender: Contender) -> Contender | None:
        """The same system before fine-tuning, where its weights were pretrained."""
        return self.stages_of(contender).get(STAGES[0])

    @cached_property
    def _scored(self) -> list[Line]:
        return [line for line in self.lines if line.run and line.row and line.row.der is not None]

    def _at(self, system: tuple[str | float | None, ...], stage: str) -> Contender:
        lines = tuple(line for line in self._scored if line.system == system and line.stage == stage)
        runs = [line.run for line in self._scored if line.run]
        origin = f" ({lines[0].origin})" if len({line.origin for line in self._scored}) > 1 else ""
        run = lines[0].run or runs[0]
        label, name = system_label(run, self.dataset, stage, runs), system_name(run, self.dataset, runs)
        return Contender(f"{label}{origin}", f"{name}{origin}", lines)

    @property
    def winner(self) -> Contender | None:
        """The contender that is significantly better than every other; usually None."""
        significant = {
            (c.a, c.b) if c.difference.der < 0 else (c.b, c.a) for c in self.contrasts if c.difference.is_significant
        }
        first, *others = [contender.label for contender in self.contenders] or [""]
        if not others or any((other, first) not in significant for other in others):
            return None
        return self.contenders[0]

    def contrast(self, a: Contender, b: Contender) -> Contrast | None:
        return next((c for c in self.contrasts if {c.a, c.b} == {a.label, b.label}), None)

    @property
    def ranked(self) -> Section:
        """Its lines by DER; oracles, in which the reference replaced a part of the pipeline, come last."""

        def rank(line: Line) -> tuple[bool, float]:
            is_oracle = line.run is not None and line.row is not None and line.stage not in STAGES
            return is_oracle, math.inf if line.row is None or line.row.der is None else line.row.der

        return replace(self, lines=tuple(sorted(self.lines, key=rank)))

    @property
    def recordings(self) -> tuple[str, ...]:
        return tuple(sorted({part.uri for line in self.lines if line.row for part in line.row.files}))


@dataclass(frozen=True)
class Summary:
    """The sections of a comparison in reading order, and the meaning of their marks."""

    comparison: Comparison
    sections: tuple[Section, ...]
    footnotes: dict[str, str]

    @property
    def datasets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(section.dataset for section in self.sections))

    def is_out_of_domain(self, dataset: str) -> tuple[Section, ...]:
        """The other datasets on which runs trained on this dataset were scored, under the first condition."""
        home = [run for run in self.comparison.runs if run.dataset == dataset]
        others = dict.fromkeys(domain.dataset for run in home for domain in run.also_score)
        return tuple(section for other in others for section in self.of(other)[:1])

    @property
    def failures(self) -> tuple[str, ...]:
        """One line for each run that is not done."""
        return tuple(
            visible(f"{run.name}: {run.state}: {run.failure or 'no reason recorded'}")
            for run in self.comparison.runs
            if run.state != "done"
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know of the runs; those with the same note share a line."""
        by_note: dict[str, list[str]] = {}
        for run in self.comparison.runs:
            for note in run.notes:
                by_note.setdefault(note, []).append(run.name)
        return tuple(visible(f"{', '.join(runs)}: {note}") for note, runs in by_note.items())

    def footnotes_of(self, dataset: str) -> dict[str, str]:
        """The marks used in a dataset's lines, and their reasons."""
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
    """Sections by dataset, test before dev, then by condition; rows that are not directly comparable are marked."""
    footnotes = Footnotes()
    scored = {row.run for row in comparison.rows}
    subsets: tuple[Subset, ...] = ("test", "dev", "train")
    sections = []
    for dataset in dict.fromkeys([run.dataset for run in comparison.runs] + [row.dataset for row in comparison.rows]):
        runs = [run for run in comparison.runs if run.domain(dataset)]
        marks = comparability_footnotes(dataset, [run for run in runs if run.name in scored], footnotes)
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
    """The lines of a section in reading order; runs without rows, or not done, get a line without scores."""
    by_name = {run.name: run for run in runs}
    recordings = {part.uri for row in rows for part in row.files}
    lines = []
    for row in rows:
        run = by_name.get(row.run or "")
        lines.append(Line(row, run, tuple(row_marks(row, run, marks, recordings, footnotes))))
    with_rows = {row.run for row in rows}
    lines += [Line(None, run) for run in runs if run.name not in with_rows or run.state != "done"]
    order = list(by_name)
    return sorted(lines, key=lambda line: _reading_order(line, order))


def _reading_order(line: Line, runs: list[str]) -> tuple[int, int, int]:
    stage = STAGES.index(line.stage) if line.stage in STAGES else len(STAGES)
    return (line.run is None, runs.index(line.run.name) if line.run else -1, stage)
