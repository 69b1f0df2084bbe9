"""Recipes are validated strictly; messages name the file and the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from diarbench.backends.recipes import load as recipes
from diarbench.datasets.io.errors import UserError


def added(lines: str) -> tuple[str, str]:
    """A replacement that adds lines to the recipe."""
    return "batch_size: 8", f"batch_size: 8\n{lines}"


@pytest.mark.parametrize("name", recipes.names())
def test_each_built_in_recipe_loads_by_name_and_from_a_file(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.yaml").write_text(recipes.text(name))
    assert recipes.load(str(tmp_path / f"{name}.yaml")) == recipes.load(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("epochs:", "epoch:"), "epoch: unknown key (did you mean epochs?)"),
        (("epochs: 5", "epochs: 0"), "epochs: Input should be greater than or equal to 1"),
        (("optimizer: AdamW", "optimizer: Adamw"), "recipes support no optimizer 'Adamw' (did you mean AdamW?)"),
        (("optimizer: AdamW", "optimizer: LBFGS"), "recipes support no optimizer 'LBFGS'; one of ASGD, Ada"),
        (
            added("optimizer_options: {weight_decy: 1}"),
            "AdamW has no option 'weight_decy' (did you mean weight_decay?)",
        ),
        (added("optimizer_options: {lr: 1}"), "AdamW has no option 'lr'"),
        (
            added("schedule: {name: CosineAnealingLR}"),
            "schedule: recipes support no schedule 'CosineAnealingLR' (did you mean CosineAnnealingLR?)",
        ),
        (added("schedule: {nam: StepLR}"), "schedule.nam: unknown key (did you mean name?)"),
        (added("schedule: {name: StepLR}"), "schedule: StepLR needs the option 'step_size'"),
        (added("schedule: {name: LambdaLR}"), "recipes support no schedule 'LambdaLR'"),
        (added("schedule: {name: OneCycleLR, options: {total_steps: 9}}"), "OneCycleLR has no option 'total_steps'"),
        (
            added("schedule: {name: ReduceLROnPlateau, every: step}"),
            "uses an epoch's figure and cannot be updated every step",
        ),
        (added("schedule: {name: OneCycleLR}"), "OneCycleLR has its own warm-up"),
        (("warmup: 0.1", "warmup: 1"), "warmup: Input should be less than 1"),
        (added("patience: 0"), "patience: Input should be greater than or equal to 1"),
        (added("best: loss"), "best: Input should be 'der', 'loss/val'"),
        (added("accumulate: 0"), "accumulate: Input should be greater than or equal to 1"),
        (added("precision: 8"), "precision: Input should be '32-true', '16-mixed'"),
        (added("freeze: {pyanote: [x]}"), "freeze: no backend 'pyanote' (did you mean pyannote?)"),
        (("nemo-msdd: {", "nemo: {x: -1, "), "layer_rates.nemo.x: Input should be greater than 0"),
        (("average: 0.9", "average: 1"), "average: Input should be less than 1"),
        (added("mix: [{dataset: ami-mini, share: 1}]"), "mix.0.share: Input should be less than or equal to 0.99"),
        (added("mix: [{dataset: ami-mini, shares: 0.5}]"), "mix.0.shares: unknown key (did you mean share?)"),
        (added("mix: [{dataset: ami-mimi, share: 0.5}]"), "ami-mimi: neither a known dataset (did you mean ami-mini?)"),
        (
            added("mix: [{dataset: ami-mini, share: 0.5}, {dataset: ami-mini, share: 0.5}]"),
            "mix: the shares leave too little for the train subset",
        ),
        (added("average_best: 1"), "average_best: Input should be greater than or equal to 2"),
        (added("max_steps: 1000"), "max_steps and evaluate_every belong together"),
        (added("max_steps: 1000\nevaluate_every: 300"), "max_steps must be a multiple of evaluate_every"),
        (added("max_steps: 1000\nevaluate_every: 500"), "a recipe counts either steps (max_steps) or epochs"),
        (
            ("learning_rate: 1.0e-4", "learning_rate: .inf"),
            "learning_rate: Input should be less than or equal to 1000000",
        ),
        (
            ("learning_rate: 1.0e-4", "learning_rate: .nan"),
            "learning_rate: Input should be less than or equal to 1000000",
        ),
        (("epochs: 5", "epochs: 100000000000000000000"), "epochs: Input should be less than or equal to 1000000"),
        (("batch_size: 8", "batch_size: 1000000000"), "batch_size: Input should be less than or equal to 100000"),
        (("window_s: 10", "window_s: 1.0e-9"), "window_s: Input should be greater than or equal to 0.1"),
        (added("objective: {vad: .inf}"), "objective.vad: Input should be less than or equal to 1000000"),
        (
            ("epochs: 5", "max_steps: 90000000\nevaluate_every: 90000000"),
            "evaluate_every: 90000000 steps of 8 x 1 windows",
        ),
        (added("optimizer_options: {betas: [0.9]}"), "optimizer_options: AdamW: list index out of range"),
        (added("optimizer_options: {betas: [2, 0.9]}"), "optimizer_options: Invalid beta parameter at index 0: 2"),
        (added("optimizer_options: {eps: .nan}"), "optimizer_options: eps: nan is not a number of at most 1e+09"),
        (added("optimizer_options: {eps: {a: 1}}"), "optimizer_options: eps: a dict where a number or text belongs"),
        (added("schedule: {name: StepLR, options: {step_size: 0}}"), "schedule: StepLR: integer modulo by zero"),
        (
            added("schedule: {name: ExponentialLR, options: {gamma: -1}}"),
            "schedule: ExponentialLR: the learning rate becomes -0.0001",
        ),
        (
            added("schedule: {name: ReduceLROnPlateau, options: {factor: 2}}"),
            "schedule: ReduceLROnPlateau: Factor should",
        ),
        (("batch_size: 8\n", ""), "batch_size: Field required"),
        (("epochs: 5", "epochs: [20"), "not YAML"),
        (("learning_rate: 1.0e-4", "learning_rate: fast"), "learning_rate: Input should be a valid number"),
        (("about:", "name:"), "name: not a key of a recipe; a recipe is named after its file"),
        (
            ("about:", "objective: {vadd: 1}\nabout:"),
            "objective.vadd: unknown key (did you mean vad?)",
        ),
        (
            added("objective: {arrival: 0.1, ats_weight: 0.9}"),
            "objective.arrival: unknown key; one of name, head, dice",
        ),
        (("about:", "objective: {head: fresh}\nabout:"), "objective: 'head: fresh' and 'dice' need 'name: multilabel'"),
    ],
)
def test_an_invalid_recipe_is_rejected_with_file_and_key(change: tuple[str, str], message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(recipes.text("quick").replace(*change))
    with pytest.raises(UserError) as error:
        recipes.load(str(path))
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_torch_classes_and_their_options(tmp_path: Path) -> None:
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


def test_old_key_names_are_read(tmp_path: Path) -> None:
    """Recipes of version 0.1 say ``keep_features``, and ``arrival`` and ``permutation`` for Sortformer's losses."""
    old, new = tmp_path / "old" / "mine.yaml", tmp_path / "new" / "mine.yaml"
    for path, keys in (
        (old, "keep_features: true\nobjective: {arrival: 0.75, permutation: 0.25, vad: 1.0}\n"),
        (new, "cache_features: true\nobjective: {ats_weight: 0.75, pil_weight: 0.25, vad: 1.0}\n"),
    ):
        path.parent.mkdir()
        path.write_text(recipes.text("guide-1-adam") + keys)
    recipe = recipes.load(str(old))
    assert recipe == recipes.load(str(new))
    assert recipe.cache_features and (recipe.objective.ats_weight, recipe.objective.pil_weight) == (0.75, 0.25)
    default = recipes.load("guide-1-adam")
    assert not default.cache_features and default.objective.ats_weight is default.objective.pil_weight is None


def test_unknown_recipes_and_files() -> None:
    with pytest.raises(UserError, match=r"no recipe 'quik' \(did you mean quick\?\)"):
        recipes.load("quik")
    with pytest.raises(UserError, match="cannot be read"):
        recipes.load("absent.yaml")
