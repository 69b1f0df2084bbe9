"""Build a comparison from the runs in a folder: rows, baselines, intervals, and paired differences between systems."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.metadata import version
from itertools import combinations, pairwise
from pathlib import Path
from statistics import fmean
from types import MappingProxyType
from typing import Any

from diarbench.benchmarks.runs.cross_validation import pool_folds
from diarbench.benchmarks.runs.evaluation import (
    FIRST_CONDITION,
    Turns,
    open_unchanged,
    score_rows,
    scored_subsets,
    with_statistics,
)
from diarbench.benchmarks.scoring import significance
from diarbench.benchmarks.scoring.baselines import one_speaker, silence
from diarbench.benchmarks.scoring.der import CONDITIONS
from diarbench.benchmarks.scoring.dover_lap import dover_lap
from diarbench.benchmarks.scoring.slices import Slices, contributions
from diarbench.datasets.dataset import Dataset, Subset
from diarbench.datasets.folds import all_as_test, groups_of, number_groups
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import sha256_of, write_atomic
from diarbench.datasets.io.rttm import read_rttm, write_rttm
from diarbench.reports.results.comparison import Comparison
from diarbench.reports.results.job import Job
from diarbench.reports.results.run import Run
from diarbench.reports.results.run_folder import ComparisonFolder, RunFolder
from diarbench.reports.results.scores import Condition, ErrorSeconds, Row, sum_slices
from diarbench.reports.results.statistics import Contrast, Difference
from diarbench.reports.summary.comparability import STAGES
from diarbench.reports.summary.systems import competing, system_label

logger = logging.getLogger(__name__)

ALL_PAIRS = 12
"""Systems that are all compared with each other; of more, each is compared with the leader."""


@dataclass
class System:
    """One system's output on the test set."""

    label: str
    """The name that its seeds share."""
    stage: str
    seed: int | None
    read_turns: Callable[[], Turns]
    rows: list[Row]
    """On the test set, one per condition."""
    run: Run | None = None

    @property
    def final(self) -> bool:
        """Whether it is the final output of a run."""
        return self.run is not None and self.stage == self.run.final_stage


def build_comparison(out: Path, jobs: Sequence[Job], command: str) -> Comparison:
    """The comparison of the runs in a folder; a failed run has no rows. Writes references and fusions to the folder."""
    run_of = {job.name: _checked(ComparisonFolder(out).run(job.name)) for job in jobs}
    runs, fold_runs, fold_rows = pool_folds(ComparisonFolder(out), jobs, run_of)
    rows: list[Row] = []
    contrasts: list[Contrast] = []
    differences: list[float] = []
    groups: dict[str, dict[str, int]] = {}
    sources = {job.dataset: (job.dataset_root, job.fingerprint) for job in jobs}
    sources |= {domain.dataset: (domain.root, domain.fingerprint) for job in jobs for domain in job.also_score}
    for name, (root, fingerprint) in sources.items():
        done = [run for run in runs if run.domain(name) and run.state == "done"]
        try:
            dataset = open_unchanged(name, root, fingerprint)
            if any(job.fold for job in jobs):
                dataset = all_as_test(dataset)
            is_home = any(job.dataset == name for job in jobs)
            part = DatasetComparison(out, dataset, done, scored_subsets(dataset) if is_home else ("test",))
        except Exception as error:  # whatever is wrong with one dataset, the others are compared
            if not isinstance(error, UserError | OSError):
                logger.exception("%s cannot be compared", name)
            runs = [_failed(run, f"compared on {name}: {error}") if run in done else run for run in runs]
            continue
        rows += part.rows
        contrasts += part.contrasts
        differences += part.differences
        groups[name] = part.groups
    return Comparison(
        diarbench=version("diarbench"),
        command=command,
        conditions=tuple(
            Condition(name=p.name, collar_s=p.collar_s, score_overlap=p.score_overlap, text=str(p))
            for p in CONDITIONS.values()
        ),
        scorer=(
            f"diarbench {version('diarbench')}: speakers mapped on the whole UEM, their overlapping turns merged; "
            f"without a collar pyannote.metrics {version('pyannote.metrics')} agrees to "
            f"{max(differences, default=0):.0e} s"
        ),
        runs=tuple(runs),
        rows=tuple(rows),
        contrasts=tuple(contrasts),
        groups=groups,
        fold_runs=tuple(fold_runs),
        fold_rows=tuple(fold_rows),
        source_hashes={
            str(path.relative_to(out)): sha256_of(path) for path in _sources(ComparisonFolder(out), [*runs, *fold_runs])
        },
    )


def _checked(folder: RunFolder) -> Run:
    """A run's record; failed where its record is damaged or its output is no longer what was scored."""
    run = folder.read_run()
    if run.state == "done":
        try:
            folder.check_sources(folder.read_scores().source_hashes)
        except UserError as error:
            return _failed(run, str(error))
    return run


def _failed(run: Run, reason: str) -> Run:
    return run.model_copy(update={"state": "failed", "failure": " ".join(reason.split())})


class DatasetComparison:
    """One dataset's part of a comparison: ``rows``, ``contrasts``, and the scorers' ``differences`` (s)."""

    def __init__(self, out: Path, dataset: Dataset, done: Sequence[Run], subsets: Sequence[Subset]) -> None:
        self.files, self.dataset, self.done, self.subsets = ComparisonFolder(out), dataset, done, subsets
        self.name = dataset.info.name
        self.competing = {run.name: run for run in competing(self.name, done)}
        self.test = dataset.subset("test")
        self.reference = {r.uri: r.turns for r in self.test}
        self.scored = {r.uri: r.regions for r in self.test}
        self.groups = number_groups(self.reference)
        self.systems: list[System] = []
        self.other_rows: list[Row] = []
        self.differences: list[float] = []
        self._add_reference_systems()
        for run in done:
            self._add_run(run)
        self._add_fusions()
        self._add_statistics()
        self.by_label: dict[str, list[System]] = {}
        """The systems that differ only in their seeds, by their label."""
        for system in self.systems:
            self.by_label.setdefault(system.label, []).append(system)
        self.best = self._best_labels()
        self.contrasts = list(self._contrasts())
        self.rows = [*self.other_rows, *(row for system in self.systems for row in system.rows)]

    def _add_reference_systems(self) -> None:
        """Score the baselines, silence and one speaker, and copy the reference beside the runs."""
        for subset in self.subsets:
            recordings = self.dataset.subset(subset)
            folder = self.files.reference(self.name, subset)
            for recording in recordings:
                for path in (recording.rttm, recording.uem):
                    write_atomic(folder / path.name, recording.unchanged(path, path.read_bytes))
            for stage, system in (("silence", silence), ("one-speaker", one_speaker)):
                turns = {r.uri: system(r.regions) for r in recordings}
                self._add_scored("reference", stage, None, None, subset, turns)

    def _add_run(self, run: Run) -> None:
        scores = self.files.run(run.name).read_scores()
        self.differences.append(scores.largest_difference_s)
        scored = [row for row in scores.rows if row.dataset == self.name]
        self.other_rows += [row for row in scored if row.subset != "test"]
        for stage in dict.fromkeys(row.stage for row in scored):
            rows = [row for row in scored if row.stage == stage and row.subset == "test"]
            folder = self.files.run(run.name).rttm(run, self.name, stage) / "test"
            label = system_label(run, self.name, stage, self.done)
            self.systems.append(System(label, stage, run.seed, partial(self._read, folder), rows, run))

    def _read(self, folder: Path) -> Turns:
        return {r.uri: read_rttm(folder / f"{r.uri}.rttm").get(r.uri, []) for r in self.test}

    def _add_fusions(self) -> None:
        """Fuse the toolkits' final outputs for each recipe and seed, on the dataset that they were trained on."""
        finals: dict[tuple[str, int], list[System]] = {}
        for system in self.systems:
            if system.final and self._competes(system) and system.run and system.run.dataset == self.name:
                finals.setdefault((system.run.recipe, system.run.seed), []).append(system)
        for (recipe, seed), voters in finals.items():
            if len(voters) < 2:
                continue
            fused = dover_lap([voter.read_turns() for voter in voters], self.scored)
            for uri, turns in fused.items():
                folder = self.files.fusion(self.name, recipe, seed, "test")
                write_rttm(folder / f"{uri}.rttm", uri, turns)
            self._add_scored("fusion", "dover-lap", recipe, seed, "test", fused)

    def _add_scored(
        self, backend: str, stage: str, recipe: str | None, seed: int | None, subset: Subset, turns: Turns
    ) -> None:
        identity = {
            "run": None,
            "dataset": self.name,
            "backend": backend,
            "recipe": recipe,
            "seed": seed,
            "stage": stage,
            "init": None,
            "subset": subset,
        }
        rows, difference = score_rows(self.dataset.subset(subset), turns, identity)
        self.differences.append(difference)
        if subset == "test":
            self.systems.append(System(f"{backend} {stage}", stage, seed, lambda: turns, rows))
        else:
            self.other_rows += rows

    def _add_statistics(self) -> None:
        """Add statistics to test rows that have none: those of a cross-validation and of older versions."""
        for system in self.systems:
            if any(row.interval is None for row in system.rows):
                turns = system.read_turns()
                sides = self.reference, turns, self.scored
                system.rows = [with_statistics(row, *sides, self.groups) for row in system.rows]

    def _contrasts(self) -> Iterator[Contrast]:
        """Paired differences between final outputs, and to their earlier stages and the one-speaker baseline."""
        firsts = [systems[0] for systems in self.by_label.values()]  # the first seed stands for all
        pairs = [pair for pair in self._pairs(firsts) if self._worth_comparing(*pair)]
        pairs.sort(key=lambda pair: not all(system.final for system in pair))
        labels = [(a.label, b.label) for a, b in pairs]
        for index, name in enumerate(CONDITIONS):
            if not self.systems[0].rows[index].total:
                continue  # without scored speech there is no rate, for example where all of it is excluded overlap
            starts = {s.run.name: s.rows[index] for s in self.systems if s.run and s.stage == "pretrained"}
            for a, b in labels:
                rows_a, rows_b = ([system.rows[index] for system in self.by_label[label]] for label in (a, b))
                difference = difference_of(rows_a, rows_b, self.groups, starts)
                yield Contrast(
                    dataset=self.name,
                    subset="test",
                    condition=name,
                    a=a,
                    b=b,
                    difference=difference,
                    verdict=difference.verdict(a, b),
                    explains=contributions(self._slices(a), self._slices(b)) if name == FIRST_CONDITION else {},
                )

    @cached_property
    def _leader(self) -> str:
        """The system with the lowest DER, the mean over seeds, at its best stage."""
        ders: dict[str, list[float]] = {}
        for system in self.systems:
            if system.label in self.best and system.rows[0].der is not None:
                ders.setdefault(system.label, []).append(system.rows[0].der)
        return min(ders, key=lambda label: fmean(ders[label]))

    def _pairs(self, systems: Sequence[System]) -> list[tuple[System, System]]:
        """All pairs; of many systems those with the leader or a baseline, and those of stages and train fractions."""
        if len(self.best) <= ALL_PAIRS:
            return list(combinations(systems, 2))
        groups: dict[Any, list[int]] = {}
        for position, system in enumerate(systems):
            groups.setdefault(_setting(system.run) if system.run else None, []).append(position)
        pairs = {pair for group in groups.values() for pair in combinations(group, 2)}
        for one, system in enumerate(systems):
            if system.run is None or system.label == self._leader:
                pairs |= {(min(one, other), max(one, other)) for other in range(len(systems)) if other != one}
        return [(systems[a], systems[b]) for a, b in sorted(pairs)]

    def _slices(self, label: str) -> Slices:
        """A system's error seconds by slice, summed over its seeds."""
        return sum_slices(row for system in self.by_label[label] for row in system.rows)

    def _worth_comparing(self, a: System, b: System) -> bool:
        """Whether both compete at their best stages, or one of them shows the effect of one step on the other.

        Such a step is another stage of the same training data; for a final output also the next smaller or larger
        train fraction, or the one-speaker baseline.
        """
        if a.run and b.run and a.stage in STAGES and b.stage in STAGES:
            if _but_seed(a.run) == _but_seed(b.run):
                return True
            if {a.label, b.label} <= self.best and self._competes(a) and self._competes(b):
                return True
        final, other = (a, b) if a.final else (b, a)
        if not final.final or final.run is None:
            return False
        if other.run is None:
            return other.stage == "one-speaker" and self._competes(final)
        if other.final:
            return (self._competes(final) and self._competes(other)) or self._next_in_size(final.run, other.run)
        return False

    def _competes(self, system: System) -> bool:
        return system.run is not None and system.run.name in self.competing

    def _best_labels(self) -> set[str]:
        """The labels of each system at the stage with its lowest DER, the mean over seeds; the later of equal ones."""
        ders: dict[tuple[Any, ...], dict[str, list[float]]] = {}
        for system in sorted((s for s in self.systems if s.stage in STAGES), key=lambda s: STAGES.index(s.stage)):
            if system.run and system.rows[0].der is not None:
                ders.setdefault(_but_seed(system.run), {}).setdefault(system.label, []).append(system.rows[0].der)
        return {min(reversed(stages), key=lambda label: fmean(stages[label])) for stages in ders.values()}

    def _next_in_size(self, a: Run, b: Run) -> bool:
        """Whether two runs differ only in the train fraction, with no fraction of the comparison between theirs."""
        fractions = sorted({run.train_fraction for run in self.done if _setting(run) == _setting(a)})
        smaller, larger = sorted((a.train_fraction, b.train_fraction))
        return _setting(a) == _setting(b) and (smaller, larger) in pairwise(fractions)


def _setting(run: Run) -> tuple[str, str, str]:
    """Everything but the seed and the train fraction."""
    return run.dataset, run.backend, run.recipe


def _but_seed(run: Run) -> tuple[tuple[str, str, str], float]:
    """Everything but the seed."""
    return _setting(run), run.train_fraction


def difference_of(
    a: Sequence[Row], b: Sequence[Row], groups: Mapping[str, int], starts: Mapping[str, Row] = MappingProxyType({})
) -> Difference:
    """The paired difference of two systems; one row a seed and repetition.

    ``groups`` has the number of each recording's group, of those that share speakers or a session, where it is known.
    ``starts`` are the rows of the pretrained networks, by run. Where a cross-validation is repeated, the repetitions
    are the sample, each with the mean of its seeds, which share its division into folds. Raises ValueError where the
    systems have other recordings or references.
    """
    recordings = [part.uri for part in a[0].files]
    by_uri = [[{part.uri: part for part in row.files} for row in rows] for rows in (a, b)]
    if any(set(files) != set(recordings) for rows in by_uri for files in rows):
        raise ValueError("the two systems were scored on different recordings")
    outputs = [[[files[uri] for uri in recordings] for files in rows] for rows in by_uri]
    is_repeated = any(len({row.seed for row in rows}) < len(rows) for rows in (a, b))
    of_a, of_b = (_means(each, rows) if is_repeated else each for each, rows in zip(outputs, (a, b), strict=True))
    divisions = {division for row in (*a, *b) if (division := _folds_of(row, recordings))}
    folds = divisions.pop() if len(divisions) == 1 else ()
    training_s = _training_s(a, b, recordings, starts) if folds else None
    numbers = groups_of(recordings, groups)
    difference = significance.compare_seeds(of_a, of_b, recordings, numbers, folds, training_s)
    if not all(row.run for row in (*a, *b)) or all(row.stage == "pretrained" for row in (*a, *b)):
        return difference.model_copy(update={"seeds": None})
    return difference.model_copy(update={"replicate": "repetition" if is_repeated else "seed"})


def _means(outputs: Sequence[Sequence[ErrorSeconds]], rows: Sequence[Row]) -> Sequence[Sequence[ErrorSeconds]]:
    """The mean over the seeds of each repetition, by recording."""
    repetitions: dict[int, list[Sequence[ErrorSeconds]]] = {}
    for at, (output, row) in enumerate(zip(outputs, rows, strict=True)):
        before = sum(other.seed == row.seed for other in rows[:at])  # a seed has one row a repetition
        repetitions.setdefault(before, []).append(output)
    return [
        [sum(of_recording, ErrorSeconds()) / len(of_recording) for of_recording in zip(*each, strict=True)]
        for each in repetitions.values()
    ]


def _training_s(
    a: Sequence[Row], b: Sequence[Row], recordings: Sequence[str], starts: Mapping[str, Row]
) -> list[float] | None:
    """What training and tuning changed in the difference of each recording, in seconds, the mean over the rows.

    None where a network was not pretrained.
    """
    if any(row.run is not None and row.run not in starts for row in (*a, *b)):
        return None
    changed = dict.fromkeys(recordings, 0.0)
    for sign, rows in ((-1, a), (1, b)):
        for row in rows:
            before = starts[row.run] if row.run else row
            for part in row.files:
                changed[part.uri] += sign * part.error_s / len(rows)
            for part in before.files:
                changed[part.uri] -= sign * part.error_s / len(rows)
    return list(changed.values())


def _folds_of(row: Row, recordings: Sequence[str]) -> tuple[int, ...]:
    """The fold of each recording; empty outside a cross-validation."""
    fold_of = {part.uri: fold for part, fold in zip(row.files, row.folds, strict=False)}
    return tuple(fold_of[uri] for uri in recordings) if fold_of else ()


def _sources(folder: ComparisonFolder, runs: Sequence[Run]) -> Iterator[Path]:
    yield from folder.shared_sources()
    for run in runs:
        yield from folder.run(run.name).sources()
