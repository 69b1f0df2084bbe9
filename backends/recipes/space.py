"""Recipes near a given one, drawn from the space that a backend declares for ``--search-recipe``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from diarbench.backends.recipes.load import with_settings
from diarbench.backends.recipes.schema import Recipe
from diarbench.datasets.io.errors import UserError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

RecipeSpace = Mapping[str, "BaseDistribution | Mapping[str, Any]"]
"""By key of a recipe (``objective.ats_weight``: a key of a section), a distribution or named values."""

Changes = dict[str, Any]
"""New values by key of a recipe."""

DRAWS = 100
"""Draws for each recipe before the space is rejected."""


@runtime_checkable
class SearchesRecipes(Protocol):
    """Optional for a Backend: what a recipe for it may vary in. The learning rate is searched for all others."""

    def recipe_space(self) -> RecipeSpace:
        """Keys that determine neither the architecture, the epochs, the precision nor the dev figure.

        The window determines the dev figure, since dev is measured in windows of the same length.
        """
        ...


def usual_space(lowest_rate: float, highest_rate: float) -> dict[str, Any]:
    """What fine-tunings of every toolkit vary in, with the learning rates of one."""
    from optuna.distributions import FloatDistribution

    return {
        "learning_rate": FloatDistribution(lowest_rate, highest_rate, log=True),
        "warmup": {"none": 0.0, "a tenth": 0.1},
        "schedule": {"constant": None, "cosine": {"name": "CosineAnnealingLR", "every": "step"}},
        "average": {"none": None, "0.9": 0.9, "0.99": 0.99},
        "augmentation": {"none": {}, "noise": {"noise": {"probability": 0.5}}},
    }


def default_space() -> RecipeSpace:
    """The learning rate alone."""
    from optuna.distributions import FloatDistribution

    return {"learning_rate": FloatDistribution(1e-5, 1e-2, log=True)}


def space_to_record(space: RecipeSpace) -> dict[str, Any]:
    """A space as plain values, by key: named values, or a distribution in Optuna's JSON."""
    from optuna.distributions import distribution_to_json

    return {key: dict(kind) if isinstance(kind, Mapping) else distribution_to_json(kind) for key, kind in space.items()}


def space_from_record(record: Mapping[str, Any]) -> RecipeSpace:
    """The space that `space_to_record` wrote."""
    from optuna.distributions import json_to_distribution

    return {key: json_to_distribution(kind) if isinstance(kind, str) else kind for key, kind in record.items()}


def draw(recipe: Recipe, space: RecipeSpace, count: int, seed: int, longest_window_s: float) -> list[Changes]:
    """The changes of ``count`` recipes; the first has none, so that the given recipe is one of them.

    ``longest_window_s`` is what the recordings can hold. Raises UserError where the drawn values do not fit the recipe.
    """
    import optuna

    distributions = {
        key: optuna.distributions.CategoricalDistribution(list(kind)) if isinstance(kind, Mapping) else kind
        for key, kind in space.items()
    }
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    drawn: list[Changes] = [{}]
    problem = ""
    for _ in range(DRAWS * count):
        if len(drawn) == count:
            return drawn
        changes = {}
        for key, value in study.ask(distributions).params.items():
            kind = space[key]
            changes[key] = kind[value] if isinstance(kind, Mapping) else _rounded(value)
        try:
            window_s = changed(recipe, changes).window_s
        except UserError as error:
            problem = str(error)
        else:
            problem = f"a window of {window_s:g} s is longer than any annotated region"
            if window_s <= longest_window_s:
                drawn.append(changes)
    raise UserError(f"--search-recipe: no values of {', '.join(space)} fit the recipe {recipe.name}: {problem}")


def changed(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """The recipe with these changes. Raises UserError that names the key of an invalid one."""
    settings: dict[str, Any] = {}
    for key, value in changes.items():
        section, _, name = key.rpartition(".")
        if section:
            settings.setdefault(section, getattr(recipe, section).model_dump())[name] = value
        else:
            settings[key] = value
    if settings.get("augmentation"):
        settings["cache_features"] = False  # cached features are of the original audio
    return with_settings(recipe, **settings)


def _rounded(value: Any) -> Any:
    """A number with two digits, as people write it."""
    return float(f"{value:.2g}") if isinstance(value, float) else value
