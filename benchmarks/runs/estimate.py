"""How long runs will take, from those that are done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median

from diarbench.datasets.io.errors import UserError
from diarbench.reports.results.job import Job
from diarbench.reports.results.run import Phase
from diarbench.reports.results.run_folder import RunFolder


@dataclass(frozen=True)
class Cost:
    """What a run takes, in seconds."""

    training_s: float
    rest_s: float
    """Tuning, diarizing, scoring and what else is measured."""

    @property
    def total_s(self) -> float:
        return self.training_s + self.rest_s


class Estimator:
    """Estimates from the finished runs of a comparison's folder and of those beside it."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def cost(self, job: Job) -> Cost | None:
        """The median of finished runs of the same backend, dataset and kind; None where there are none.

        Training is in proportion to the epochs and to the fraction of train.
        """
        costs = self._costs.get(_kind(job), [])
        if not costs:
            return None
        return Cost(median(cost.training_s for cost in costs) * _work(job), median(cost.rest_s for cost in costs))

    @cached_property
    def _costs(self) -> dict[tuple[object, ...], list[Cost]]:
        """The costs of finished runs by kind; of training, those of one epoch of all of train."""
        costs: dict[tuple[object, ...], list[Cost]] = {}
        for folder in self._finished():
            try:
                job, run = folder.read_job(), folder.read_run()
            except UserError:
                continue
            if run.state == "done":
                training_s = sum(phase.seconds for phase in run.phases if phase.name == "training")
                cost = Cost(training_s / _work(job), spent_s(run.phases) - training_s)
                costs.setdefault(_kind(job), []).append(cost)
        return costs

    def _finished(self) -> Iterator[RunFolder]:
        for scores in self.out.resolve().parent.glob("*/*/scores.json"):  # written by runs that are done
            if (folder := RunFolder(scores.parent)).job.is_file():
                yield folder


def spent_s(phases: Iterable[Phase]) -> float:
    """What phases took, without the inference that came from the cache."""
    return sum(phase.seconds - phase.cached_s for phase in phases)


def _kind(job: Job) -> tuple[object, ...]:
    fold = job.fold is not None
    return job.backend, job.fingerprint, fold, job.train, job.trials, job.tune_seconds, bool(job.recipe_search)


def _work(job: Job) -> float:
    return float(job.recipe["epochs"]) * job.train_fraction
