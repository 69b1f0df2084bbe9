"""Recipes are data: read strictly, refused by key."""

from __future__ import annotations

from pathlib import Path

import pytest

from diarbench.backends import recipes
from diarbench.reports.records import UserError


def added(lines: str) -> tuple[str, str]:
    """A change that adds lines to the recipe."""
    return "batch_size: 8", f"batch_size: 8\n{lines}"


@pytest.mark.parametrize("name", recipes.names())
def test_each_recipe_that_comes_along_loads_and_round_trips_as_a_file(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.yaml").write_text(recipes.text(name))
    assert recipes.load(str(tmp_path / f"{name}.yaml")) == recipes.load(name)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("epochs:", "epoch:"), "epoch: no such key (did you mean epochs?)"),
        (("epochs: 10", "epochs: 0"), "epochs: Input should be greater than or equal to 1"),
        (("optimizer: AdamW", "optimizer: Adamw"), "no optimizer 'Adamw' that a recipe can use (did you mean AdamW?)"),
        (("optimizer: AdamW", "optimizer: LBFGS"), "no optimizer 'LBFGS' that a recipe can use; one of ASGD, Ada"),
        (
            added("optimizer_options: {weight_decy: 1}"),
            "AdamW takes no option 'weight_decy' (did you mean weight_decay?)",
        ),
        (added("optimizer_options: {lr: 1}"), "AdamW takes no option 'lr'"),
        (
            added("schedule: {name: CosineAnealingLR}"),
            "schedule: torch has no schedule 'CosineAnealingLR' that a recipe",
        ),
        (added("schedule: {nam: StepLR}"), "schedule.nam: no such key (did you mean name?)"),
        (added("schedule: {name: StepLR}"), "schedule: StepLR needs the option 'step_size'"),
        (added("schedule: {name: LambdaLR}"), "no schedule 'LambdaLR' that a recipe can use"),
        (added("schedule: {name: OneCycleLR, options: {total_steps: 9}}"), "OneCycleLR takes no option 'total_steps'"),
        (added("schedule: {name: ReduceLROnPlateau, every: step}"), "goes by an epoch's figure: it can't go on every"),
        (added("schedule: {name: OneCycleLR}\nwarmup: 0.1"), "OneCycleLR warms up by itself"),
        (added("warmup: 1"), "warmup: Input should be less than 1"),
        (added("patience: 0"), "patience: Input should be greater than or equal to 1"),
        (added("best: loss"), "best: Input should be 'der', 'loss/val'"),
        (added("accumulate: 0"), "accumulate: Input should be greater than or equal to 1"),
        (added("precision: 8"), "precision: Input should be '32-true', '16-mixed'"),
        (added("freeze: {pyanote: [x]}"), "freeze: no backend 'pyanote' (did you mean pyannote?)"),
        (added("layer_rates: {nemo: {x: -1}}"), "layer_rates.nemo.x: Input should be greater than 0"),
        (added("average: 1"), "average: Input should be less than 1"),
        (("learning_rate: 1.0e-3", "learning_rate: .inf"), "learning_rate: Input should be a finite number"),
        (("batch_size: 8\n", ""), "batch_size: Field required"),
        (("epochs: 10", "epochs: [20"), "not YAML"),
        (("learning_rate: 1.0e-3", "learning_rate: fast"), "learning_rate: Input should be a valid number"),
        (("about:", "name:"), "its file is its name"),
        (
            ("about:", "objective: {vadd: 1}\nabout:"),
            "objective.vadd: no such key (did you mean vad?)",
        ),
        (("about:", "objective: {head: fresh}\nabout:"), "objective: a fresh head and a Dice term belong"),
    ],
)
def test_a_bad_recipe_is_refused_by_key(change: tuple[str, str], told: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(recipes.text("quick").replace(*change))
    with pytest.raises(UserError) as refused:
        recipes.load(str(path))
    assert told in str(refused.value)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_all_that_torch_offers_is_known_with_its_options(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        recipes.text("quick").replace("optimizer: AdamW", "optimizer: RMSprop")
        + "optimizer_options: {momentum: 0.9, weight_decay: 1e-2, centered: true}\n"
        + "schedule: {name: CyclicLR, options: {base_lr: 1e-5, mode: triangular2}}\n"
    )
    recipe = recipes.load(str(path))
    assert recipe.optimizer_options == {"momentum": 0.9, "weight_decay": 0.01, "centered": True}
    assert recipe.schedule is not None and recipe.schedule.per_step
    assert recipe.schedule.options == {"base_lr": 1e-5, "mode": "triangular2"}


def test_unknown_recipes_and_files() -> None:
    with pytest.raises(UserError, match=r"no recipe 'quik' \(did you mean quick\?\)"):
        recipes.load("quik")
    with pytest.raises(UserError, match="cannot be read"):
        recipes.load("absent.yaml")
