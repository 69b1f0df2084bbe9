"""Recipes are data: read strictly, refused by key."""

from __future__ import annotations

from pathlib import Path

import pytest

from diarbench.backends import recipes
from diarbench.reports.records import UserError


@pytest.mark.parametrize("name", recipes.names())
def test_each_recipe_that_comes_along_loads_and_round_trips_as_a_file(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.yaml").write_text(recipes.text(name))
    assert recipes.load(str(tmp_path / f"{name}.yaml")) == recipes.load(name)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("epochs:", "epoch:"), "epoch: Extra inputs are not permitted (did you mean epochs?)"),
        (("epochs: 10", "epochs: 0"), "epochs: Input should be greater than or equal to 1"),
        (("AdamW", "Adamw"), "optimizer: Input should be 'Adam', 'AdamW'"),
        (("batch_size: 8\n", ""), "batch_size: Field required"),
        (("epochs: 10", "epochs: [20"), "not YAML"),
        (("learning_rate: 1.0e-3", "learning_rate: fast"), "learning_rate: Input should be a valid number"),
        (("about:", "name:"), "its file is its name"),
        (
            ("about:", "objective: {vadd: 1}\nabout:"),
            "objective.vadd: Extra inputs are not permitted (did you mean vad?)",
        ),
        (("about:", "objective: {head: fresh}\nabout:"), "objective: Value error, a fresh head and a Dice term belong"),
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


def test_unknown_recipes_and_files() -> None:
    with pytest.raises(UserError, match=r"no recipe 'quik' \(did you mean quick\?\)"):
        recipes.load("quik")
    with pytest.raises(UserError, match="cannot be read"):
        recipes.load("absent.yaml")
