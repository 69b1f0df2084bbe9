"""Search for a recipe on dev by successive halving (Jamieson and Talwalkar, AISTATS 2016).

All recipes are trained up to the first rung, the better half goes on to the second, and so on. The halving is
synchronous, unlike that of Optuna's pruners: the audio that is trained then depends on the number of recipes alone, so
that every toolkit gets the same budget.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.fabric import Fabric

from diarbench.backends.recipes.schema import Recipe
from diarbench.backends.recipes.space import changed
from diarbench.backends.training.state import History, merit
from diarbench.backends.training.trainer import Trainer
from diarbench.datasets.io.files import read_bytes, write_atomic
from diarbench.reports.results.recipe_search import RecipeSearch, RecipeTrial
from diarbench.reports.results.run_folder import RunFolder

Emit = Callable[..., None]
"""Takes the worker's events; see `diarbench.backends.training.trainer.Progress`."""


def rungs(epochs: int, recipes: int) -> tuple[int, ...]:
    """The epochs at which recipes are compared: the last is the recipe's own number, each one before is half of it.

    There are as many as halve the recipes to one, if the epochs allow it: 8 recipes of 10 epochs have 1, 2, 5 and 10.
    """
    halvings = min(recipes.bit_length() - 1, epochs.bit_length() - 1)
    return tuple(epochs >> halving for halving in reversed(range(halvings + 1)))


def survivors(recipes: int, rung: int) -> int:
    """How many recipes are trained up to a rung, counted from 0."""
    return max(1, recipes >> rung)


def planned_epochs(epochs: int, recipes: int) -> int:
    """Epochs of training in all."""
    before, total = 0, 0
    for rung, until in enumerate(rungs(epochs, recipes)):
        total += survivors(recipes, rung) * (until - before)
        before = until
    return total


class RecipeSearcher:
    """Trains recipes, each in a folder ``search/K`` of the run, and copies the training of the best into the run.

    A search that was stopped goes on where it was: every recipe resumes from its own last epoch.
    """

    def __init__(
        self,
        recipe: Recipe,
        changes: Sequence[Mapping[str, Any]],
        folder: Path,
        fabric: Fabric,
        make_trainer: Callable[[Recipe, Path], Trainer],
    ) -> None:
        """``make_trainer`` starts with the initial weights and the same seed each time."""
        self.changes, self.folder, self.fabric, self.make_trainer = changes, folder, fabric, make_trainer
        self.recipes = [changed(recipe, each) for each in changes]
        self.rungs = rungs(recipe.epochs, len(changes))

    def run(self, emit: Emit) -> tuple[Recipe, RecipeSearch]:
        """The best recipe on dev, and the record of the search."""
        kept = list(range(len(self.recipes)))
        histories: dict[int, History] = {}
        figures: list[list[float]] = [[] for _ in self.recipes]
        for rung, until in enumerate(self.rungs):
            ranks = {}
            for done, number in enumerate(kept, start=1):
                emit(note=f"recipe {number}: {done} of {len(kept)} up to epoch {until}")
                history = histories[number] = self._train(number, until, emit)
                ranks[number] = min(merit(epoch, self.recipes[number]) for epoch in history.epochs[1 : until + 1])
                figures[number].append(min(epoch.der for epoch in history.epochs[1 : until + 1]))
            kept = sorted(kept, key=ranks.__getitem__)[: survivors(len(self.recipes), rung + 1)]
        if self.fabric.is_global_zero:
            self._take_over(kept[0])
        self.fabric.barrier()
        record = RecipeSearch(
            rungs=self.rungs,
            trials=tuple(
                RecipeTrial(changes=dict(changes), dev_der=tuple(figures[number]), audio_s=histories[number].audio_s)
                for number, changes in enumerate(self.changes)
            ),
            chosen=kept[0],
            importance=importance(self.changes, [first for first, *_ in figures]),
            seconds=sum(history.seconds for history in histories.values()),
        )
        return self.recipes[kept[0]], record

    def _train(self, number: int, until: int, emit: Emit) -> History:
        trainer = self.make_trainer(self.recipes[number], self.folder / "search" / str(number))
        trainer.start(emit)
        while len(trainer.history.epochs) <= until and not trainer.has_stalled():
            trainer.train_epoch(emit)
        return trainer.history

    def _take_over(self, number: int) -> None:
        """Copy the checkpoints; the last one, from which training resumes, is copied last."""
        source, target = (RunFolder(folder) for folder in (self.folder / "search" / str(number), self.folder))
        if target.checkpoint("last").exists():
            return
        for path in sorted(source.checkpoint("last").parent.glob("*.ckpt"), key=lambda path: path.stem == "last"):
            write_atomic(target.checkpoint(path.stem), read_bytes(path, is_own=True))


def importance(changes: Sequence[Mapping[str, Any]], figures: Sequence[float]) -> dict[str, float]:
    """The share of each key in the difference between the better half of the recipes and all, by PED-ANOVA.

    Empty with fewer than four drawn recipes.
    """
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator

    drawn = [(change, figure) for change, figure in zip(changes, figures, strict=True) if change]
    keys = [key for key in (drawn[0][0] if drawn else ()) if len({str(change[key]) for change, _ in drawn}) > 1]
    if len(drawn) < 4 or not keys:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    distributions = {key: _distribution([change[key] for change, _ in drawn]) for key in keys}
    for change, figure in drawn:
        params = {key: _plain(change[key]) for key in keys}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=figure))
    evaluator = PedAnovaImportanceEvaluator(target_quantile=0.5, region_quantile=1.0)
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def _distribution(values: Sequence[Any]) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if all(isinstance(value, float) for value in values):
        return FloatDistribution(min(values), max(values), log=min(values) > 0)
    return CategoricalDistribution(list(dict.fromkeys(map(_plain, values))))


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, int | float | str) else str(value)
