"""What a folder of runs comes to: their rows, the systems to hold them against, and how sure the differences are."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

from diarbench.benchmarks import significance
from diarbench.benchmarks.fusion import dover_lap
from diarbench.benchmarks.metrics import other_metrics
from diarbench.benchmarks.reference_systems import one_speaker, silence
from diarbench.benchmarks.scoring import CONDITIONS
from diarbench.benchmarks.slices import Slices, contributions, slices, speaker_counts
from diarbench.benchmarks.worker import MEASURED, Turns, rows_of, rttm_folder
from diarbench.datasets.layout import Dataset
from diarbench.datasets.rttm import read_rttm, write_rttm
from diarbench.reports.records import (
    Comparison,
    Condition,
    Contrast,
    ErrorSeconds,
    Job,
    Row,
    Run,
    Scores,
    Subset,
    read_record,
    sha256_of,
)
from diarbench.reports.summary import competing, system_label

FIRST, *_ = CONDITIONS


@dataclass
class System:
    """A row's worth of turns on the test set."""

    label: str
    """What tells it from other systems, whatever the seed."""
    stage: str
    seed: int | None
    turns: Turns
    rows: list[Row]
    """On the test set, one a condition."""
    run: Run | None = None

    @property
    def final(self) -> bool:
        """Whether it is a run's answer."""
        return self.run is not None and self.stage == self.run.final_stage


def gather(out: Path, jobs: Sequence[Job], command: str) -> Comparison:
    """The comparison of the runs in a folder; a failed run has no rows. Writes the references and fusions there."""
    runs = [read_record(out / job.name / "run.json", Run) for job in jobs]
    rows: list[Row] = []
    contrasts: list[Contrast] = []
    differences: list[float] = []
    roots = {job.dataset: job.dataset_root for job in jobs}
    roots |= {other.dataset: other.root for job in jobs for other in job.also_score}
    for name, root in roots.items():
        done = [run for run in runs if run.domain(name) and run.state == "done"]
        trained_on = any(job.dataset == name for job in jobs)
        found = _Gathering(out, Dataset.open(Path(root)), done, MEASURED if trained_on else ("test",))
        rows += found.rows
        contrasts += found.contrasts
        differences += found.differences
    return Comparison(
        diarbench=version("diarbench"),
        command=command,
        conditions=tuple(
            Condition(name=p.name, collar_s=p.collar_s, score_overlap=p.score_overlap, text=str(p))
            for p in CONDITIONS.values()
        ),
        scorer=(
            f"diarbench {version('diarbench')}: speakers mapped on the whole UEM, their overlapping turns merged; "
            f"without a collar pyannote.metrics {version('pyannote.metrics')} agrees to {max(differences):.0e} s"
        ),
        runs=tuple(runs),
        rows=tuple(rows),
        contrasts=tuple(contrasts),
        rests_on={str(path.relative_to(out)): sha256_of(path) for path in _rested_on(out, jobs)},
    )


class _Gathering:
    """One dataset's part of a comparison: ``rows``, ``contrasts``, and the scorers' ``differences`` in seconds."""

    def __init__(self, out: Path, dataset: Dataset, done: Sequence[Run], subsets: Sequence[Subset]) -> None:
        self.out, self.dataset, self.done, self.subsets = out, dataset, done, subsets
        self.name = dataset.info.name
        self.competing = competing(self.name, done)
        self.test = dataset.subset("test")
        self.reference = {r.uri: r.turns for r in self.test}
        self.scored = {r.uri: r.regions for r in self.test}
        self.systems: list[System] = []
        self.others: list[Row] = []
        self.differences: list[float] = []
        self._add_reference_systems()
        for run in done:
            self._add_run(run)
        self._add_fusions()
        self._add_statistics()
        self.contrasts = list(self._contrasts())
        self.rows = [*self.others, *(row for system in self.systems for row in system.rows)]

    def _add_reference_systems(self) -> None:
        """Nothing is speech, and everything is one speaker; the reference itself is left beside the runs."""
        for subset in self.subsets:
            recordings = self.dataset.subset(subset)
            folder = self.out / "reference" / self.name / subset
            folder.mkdir(parents=True, exist_ok=True)
            for recording in recordings:
                shutil.copyfile(recording.rttm, folder / recording.rttm.name)
                shutil.copyfile(recording.uem, folder / recording.uem.name)
            for stage, system in (("silence", silence), ("one-speaker", one_speaker)):
                turns = {r.uri: system(r.regions) for r in recordings}
                self._add_scored("reference", stage, None, None, subset, turns)

    def _add_run(self, run: Run) -> None:
        scores = read_record(self.out / run.name / "scores.json", Scores)
        self.differences.append(scores.largest_difference_s)
        found = [row for row in scores.rows if row.dataset == self.name]
        self.others += [row for row in found if row.subset != "test"]
        for stage in dict.fromkeys(row.stage for row in found):
            rows = [row for row in found if row.stage == stage and row.subset == "test"]
            folder = self.out / run.name / rttm_folder(run, self.name, stage) / "test"
            turns = {r.uri: read_rttm(folder / f"{r.uri}.rttm").get(r.uri, []) for r in self.test}
            label = system_label(run, self.name, stage, self.done)
            self.systems.append(System(label, stage, run.seed, turns, rows, run))

    def _add_fusions(self) -> None:
        """The vote of the toolkits' final outputs, a recipe and seed at a time; on the dataset they trained on."""
        home = [run for run in self.competing if run.dataset == self.name]
        for recipe, seed in dict.fromkeys((run.recipe, run.seed) for run in home):
            finals = [system for system in self.systems if system.run in home and system.final]
            voters = [s.turns for s in finals if s.run and (s.run.recipe, s.seed) == (recipe, seed)]
            if len(voters) < 2:
                continue
            fused = dover_lap(voters, self.scored)
            for uri, turns in fused.items():
                folder = self.out / "fusion" / f"{self.name}-{recipe}-seed{seed}" / "test"
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
        rows, difference = rows_of(self.dataset.subset(subset), turns, identity)
        self.differences.append(difference)
        if subset == "test":
            self.systems.append(System(f"{backend} {stage}", stage, seed, turns, rows))
        else:
            self.others += rows

    def _add_statistics(self) -> None:
        """Intervals, and under the first condition where each system fails."""
        self.errors: dict[str, list[list[ErrorSeconds]]] = {}
        """By condition: for each system, in order, the seconds of each unit that is resampled."""
        for index, (name, protocol) in enumerate(CONDITIONS.items()):
            hypotheses = [system.turns for system in self.systems]
            self.unit, self.errors[name] = significance.units_of(self.reference, hypotheses, self.scored, protocol)
            for system, errors in zip(self.systems, self.errors[name], strict=True):
                found: dict[str, Any] = {"interval": significance.interval(errors, self.unit)}
                if name == FIRST:
                    sides = (self.reference, system.turns, self.scored)
                    found |= {
                        "slices": slices(*sides, protocol),
                        "metrics": other_metrics(*sides).model_dump(),
                        "speaker_counts": speaker_counts(*sides, protocol),
                    }
                system.rows[index] = system.rows[index].model_copy(update=found)

    def _contrasts(self) -> Iterator[Contrast]:
        """Each toolkit's final output against its own earlier ones, the others' and the one-speaker row's."""
        first = {system.label: system for system in reversed(self.systems)}  # of each label, the first
        systems = [first[label] for label in dict.fromkeys(system.label for system in self.systems)]
        chosen = [pair for pair in combinations(systems, 2) if self._worth_comparing(*pair)]
        chosen.sort(key=lambda pair: not all(system.final for system in pair))
        pairs = [(a.label, b.label) for a, b in chosen]
        for index, name in enumerate(CONDITIONS):
            if not self.systems[0].rows[index].total:
                continue  # a rate of no speech is no rate: such as where all of it overlaps, and overlap is left out
            for a, b in pairs:
                difference = significance.compare(self._over_seeds(name, a), self._over_seeds(name, b), self.unit)
                yield Contrast(
                    dataset=self.name,
                    subset="test",
                    condition=name,
                    a=a,
                    b=b,
                    difference=difference,
                    verdict=difference.verdict(a, b),
                    explains=contributions(self._slices(a), self._slices(b)) if name == FIRST else {},
                )

    def _over_seeds(self, condition: str, label: str) -> list[ErrorSeconds]:
        """A system's seconds a unit, the mean of its seeds'."""
        chosen = [e for s, e in zip(self.systems, self.errors[condition], strict=True) if s.label == label]
        return [_mean(parts) for parts in zip(*chosen, strict=True)]

    def _slices(self, label: str) -> Slices:
        """A system's seconds by slicing and part, its seeds' added up."""
        found: dict[str, dict[str, ErrorSeconds]] = {}
        for row in (row for system in self.systems if system.label == label for row in system.rows):
            for slicing, parts in row.slices.items():
                for part, errors in parts.items():
                    sums = found.setdefault(slicing, {})
                    sums[part] = sums.get(part, ErrorSeconds()) + errors
        return found

    def _worth_comparing(self, a: System, b: System) -> bool:
        """Final outputs that compete; one and its own earlier, one speaker for everything, or less of the same data."""
        final, other = (a, b) if a.final else (b, a)
        if not final.final or final.run is None:
            return False
        if other.run is None:
            return other.stage == "one-speaker" and final.run in self.competing
        if other.final:
            both_compete = final.run in self.competing and other.run in self.competing
            return both_compete or self._next_in_size(final.run, other.run)
        return other.stage in ("pretrained", "finetuned") and _data(other.run) == _data(final.run)

    def _next_in_size(self, a: Run, b: Run) -> bool:
        """Whether two runs differ in the train fraction alone, with none between them."""
        asked = sorted({run.train_fraction for run in self.done if _kind(run) == _kind(a)})
        steps = list(pairwise(asked))
        return _kind(a) == _kind(b) and tuple(sorted((a.train_fraction, b.train_fraction))) in steps


def _kind(run: Run) -> tuple[str, str, str]:
    """All but the seed and how much of the data."""
    return run.dataset, run.backend, run.recipe


def _data(run: Run) -> tuple[tuple[str, str, str], float]:
    """All but the seed."""
    return _kind(run), run.train_fraction


def _mean(parts: Sequence[ErrorSeconds]) -> ErrorSeconds:
    total = sum(parts, ErrorSeconds())
    return ErrorSeconds(**{name: getattr(total, name) / len(parts) for name in ErrorSeconds.model_fields})


def _rested_on(out: Path, jobs: Sequence[Job]) -> Iterator[Path]:
    for folder in ("reference", "fusion"):
        yield from sorted((out / folder).rglob("*.*"))
    for job in jobs:
        for pattern in ("rttm*/*/*.rttm", "also/*/rttm*/*/*.rttm"):
            yield from sorted((out / job.name).glob(pattern))
        yield from (out / job.name).glob("epochs.csv")
