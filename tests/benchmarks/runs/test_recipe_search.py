"""The search for a recipe: its rungs, its budget, what it draws and what it chooses."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from places import DUMMY_BACKEND
from run_helpers import run

from diarbench.backends.recipes.schema import Recipe
from diarbench.backends.recipes.space import changed, default_space, draw
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.errors import UserError

torch = pytest.importorskip("torch")
sys.path.insert(0, str(DUMMY_BACKEND))

from dummy_backend import make_network
from lightning.fabric import Fabric
from optuna.distributions import FloatDistribution

from diarbench.backends.checkpoints import load_checkpoint
from diarbench.backends.training.distributed import seed_all
from diarbench.backends.training.trainer import Trainer
from diarbench.benchmarks.runs.plan import plan
from diarbench.benchmarks.runs.recipe_search import RecipeSearcher, importance, planned_epochs, rungs, survivors
from diarbench.reports.results.recipe_search import RecipeSearch
from diarbench.reports.summary.summary import summarize
from diarbench.reports.tables.contents import contents

RECIPE = Recipe(name="basic", optimizer="SGD", learning_rate=0.1, epochs=4, batch_size=8, window_s=10)

SPACE = {
    "learning_rate": FloatDistribution(1e-4, 1.0, log=True),
    "schedule": {"constant": None, "cosine": {"name": "CosineAnnealingLR", "every": "step"}},
    "window_s": {"5": 5.0, "10": 10.0},
    "objective.vad": {"with": 0.5, "without": 0.0},
}


class StopHereError(Exception):
    """Stops a search in place of a signal."""


def test_rungs_and_their_budget_by_hand() -> None:
    assert rungs(10, 8) == (1, 2, 5, 10)
    assert [survivors(8, rung) for rung in range(4)] == [8, 4, 2, 1]
    assert planned_epochs(10, 8) == 8 * 1 + 4 * 1 + 2 * 3 + 1 * 5
    # Five epochs cannot be halved three times: the last rung compares two recipes.
    assert rungs(5, 8) == (1, 2, 5) and planned_epochs(5, 8) == 8 * 1 + 4 * 1 + 2 * 3
    assert rungs(1, 8) == (1,) and planned_epochs(1, 8) == 8
    assert rungs(10, 3) == (5, 10) and planned_epochs(10, 3) == 3 * 5 + 1 * 5


def test_recipes_are_drawn_from_the_space_by_the_seed() -> None:
    drawn = draw(RECIPE, SPACE, 8, seed=1, longest_window_s=60)
    assert len(drawn) == 8 and drawn[0] == {} and changed(RECIPE, drawn[0]) == RECIPE
    assert drawn == draw(RECIPE, SPACE, 8, seed=1, longest_window_s=60)
    assert drawn != draw(RECIPE, SPACE, 8, seed=2, longest_window_s=60)
    recipes = [changed(RECIPE, changes) for changes in drawn[1:]]
    assert all(1e-4 <= recipe.learning_rate <= 1 for recipe in recipes)
    assert {recipe.window_s for recipe in recipes} == {5, 10}
    assert {recipe.objective.vad for recipe in recipes} == {0.0, 0.5}
    assert {recipe.schedule and recipe.schedule.name for recipe in recipes} == {None, "CosineAnnealingLR"}


def test_values_that_do_not_fit_are_not_drawn() -> None:
    short = draw(RECIPE, SPACE, 8, seed=1, longest_window_s=7)
    assert {changes["window_s"] for changes in short[1:]} == {5.0}
    with pytest.raises(UserError, match="fit the recipe basic: a window of 5 s is longer than any annotated region"):
        draw(RECIPE, {"window_s": {"5": 5.0}}, 2, seed=1, longest_window_s=4)
    one_cycle = changed(RECIPE, {"schedule": {"name": "OneCycleLR"}})
    with pytest.raises(UserError, match=r"no values of warmup fit the recipe basic: .*OneCycleLR has its own warm-up"):
        draw(one_cycle, {"warmup": {"a tenth": 0.1}}, 2, seed=1, longest_window_s=60)
    assert list(default_space()) == ["learning_rate"]


def searcher(dataset: Dataset, changes: list[dict[str, Any]], folder: Path) -> RecipeSearcher:
    fabric = Fabric(accelerator="cpu", devices=1)

    def make_trainer(recipe: Recipe, place: Path) -> Trainer:
        seed_all(1, 0)
        return Trainer(make_network(), "dummy", dataset, recipe, 1, fabric, place)

    return RecipeSearcher(RECIPE, changes, folder, fabric, make_trainer)


def trained_epochs(folder: Path, number: int) -> int:
    return len((folder / "search" / str(number) / "epochs.csv").read_text().splitlines()) - 2


def test_the_worse_half_is_dropped_at_each_rung_and_the_budget_is_kept(ami_mini: Dataset, tmp_path: Path) -> None:
    changes = [{}, {"learning_rate": 1e-6}, {"learning_rate": 0.01}, {"learning_rate": 1.0}]
    recipe, search = searcher(ami_mini, changes, tmp_path).run(lambda **_: None)
    assert search.rungs == (1, 2, 4)
    first = [trial.dev_der[0] for trial in search.trials]
    best_half = sorted(range(4), key=first.__getitem__)[:2]
    assert {number for number, trial in enumerate(search.trials) if len(trial.dev_der) >= 2} == set(best_half)
    assert sorted(trained_epochs(tmp_path, number) for number in range(4)) == [1, 1, 2, 4]
    assert search.audio_s == planned_epochs(4, 4) * 30 * 10
    assert recipe == changed(RECIPE, changes[search.chosen]) and len(search.trials[search.chosen].dev_der) == 3
    taken, source = (
        load_checkpoint(folder / "checkpoints" / "last.ckpt", "dummy")
        for folder in (tmp_path, tmp_path / "search" / str(search.chosen))
    )
    assert taken["epochs"] == source["epochs"] and len(taken["epochs"]) == 5


def test_a_search_that_was_stopped_goes_on_where_it_was(ami_mini: Dataset, tmp_path: Path) -> None:
    changes = [{}, {"learning_rate": 0.01}, {"learning_rate": 0.3}, {"learning_rate": 1.0}]
    finished = 0

    def stop(**event: Any) -> None:
        nonlocal finished
        finished += "finished" in event
        if finished == 9:  # four epochs 0, four first epochs, and one of the second rung
            raise StopHereError

    uninterrupted = searcher(ami_mini, changes, tmp_path / "uninterrupted").run(lambda **_: None)
    with pytest.raises(StopHereError):
        searcher(ami_mini, changes, tmp_path / "stopped").run(stop)
    resumed = searcher(ami_mini, changes, tmp_path / "stopped").run(lambda **_: None)
    assert resumed[0] == uninterrupted[0]
    exclude = {"seconds"}
    assert resumed[1].model_dump(exclude=exclude) == uninterrupted[1].model_dump(exclude=exclude)


def test_what_mattered() -> None:
    """DER follows the learning rate; noise makes no difference."""
    changes: list[dict[str, Any]] = [
        {"learning_rate": rate, "augmentation": {"noise": {}} if noise else {}}
        for noise in (True, False)
        for rate in (1e-5, 1e-4, 1e-3, 1e-2)
    ]
    shares = importance([{}, *changes], [0.5, *(0.1 * k for k in (1, 2, 3, 4)), *(0.1 * k for k in (1, 2, 3, 4))])
    assert shares["learning_rate"] > 0.9 and sum(shares.values()) == pytest.approx(1)
    search = RecipeSearch(rungs=(1,), trials=(), chosen=0, importance=shares, seconds=1)
    assert search.importance_text.startswith("what mattered: learning_rate ")
    assert importance([{}, *changes[:2]], [0.5, 0.1, 0.2]) == {}


def test_a_searched_recipe_stands_beside_the_given_one(dummy: None, ami_mini: Dataset, tmp_path: Path) -> None:
    recipe = Recipe(name="basic", optimizer="SGD", learning_rate=0.1, epochs=2, batch_size=8, window_s=10)
    plans = plan(["dummy"], [ami_mini], [recipe], [1], {"dummy": "pretrained"}, "cpu", searched_recipes=2)
    comparison, _ = run(tmp_path / "out", *plans)
    assert [each.recipe for each in comparison.runs] == ["basic", "basic-search2"]
    given, searched = comparison.runs
    search = searched.recipe_search
    assert given.recipe_search is None and search and len(search.trials) == 2
    chosen = changed(recipe, search.trials[search.chosen].changes)
    assert searched.recipe_settings["learning_rate"] == chosen.learning_rate
    assert {phase.name: phase.seconds for phase in searched.phases}["training"] == search.seconds
    assert searched.trained_audio_s == planned_epochs(2, 2) * 30 * 10
    summary = summarize(comparison)
    tables = {each.title: each.table for each in contents(summary, summary.sections[0])}
    table = tables["Recipes searched: DER on dev in % of the best epoch so far"]
    assert [row[0].text for row in table.rows] == ["ami-mini-dummy-basic-search2-seed1"] * 3
    assert sum("(chosen)" in row[1].text for row in table.rows) == 1
    assert {row.recipe for row in comparison.rows if row.run} == {"basic", "basic-search2"}
    assert run(tmp_path / "out", *plans)[0].rows == comparison.rows
