"""Find recipes by name and read them from YAML files."""

from __future__ import annotations

from collections.abc import Collection
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from diarbench.backends import registry
from diarbench.backends.objective import Objective
from diarbench.backends.packages import importable
from diarbench.backends.recipes.schema import Augmentation, Band, MixedIn, Noise, Recipe, Schedule, Sounds
from diarbench.datasets.io.errors import UserError, did_you_mean
from diarbench.datasets.io.names import visible
from diarbench.datasets.io.yaml_files import parse_yaml, read_yaml


def names() -> list[str]:
    """The recipes that come with diarbench."""
    return sorted(Path(entry.name).stem for entry in files(__package__).iterdir() if entry.name.endswith(".yaml"))


def text(name: str) -> str:
    """The YAML text of a named recipe. Raises UserError for an unknown name."""
    if name not in names():
        raise UserError(f"no recipe {name!r}{did_you_mean(name, names())}; 'bench recipes' lists them")
    return (files(__package__) / f"{name}.yaml").read_text()


def load(name_or_path: str, elsewhere: Collection[str] = ()) -> Recipe:
    """A recipe by name, or from a YAML file. Raises UserError that names the file and the key that is wrong.

    ``elsewhere`` are backends of other environments, which the recipe may name beside those that are known here.
    """
    path = Path(name_or_path)
    is_file = path.suffix in (".yaml", ".yml")
    settings = read_yaml(path) if is_file else parse_yaml(text(name_or_path).encode(), name_or_path)
    if not isinstance(settings, dict):
        raise UserError(f"{path}: not a recipe (expected 'key: value' lines; 'bench recipes show quick' prints one)")
    if "name" in settings:
        raise UserError(f"{path}: name: not a key of a recipe; a recipe is named after its file")
    try:
        recipe = Recipe.model_validate({"name": path.stem if is_file else name_or_path, **settings})
        _check_backends(recipe, {*registry.entries(), *elsewhere})
        if is_file and importable("torch"):
            _check_steps(recipe)
        resolved = {
            "augmentation": recipe.augmentation.resolved_from(path.parent),
            "mix": tuple(mixed.resolved_from(path.parent) for mixed in recipe.mix),
        }
        return recipe.model_copy(update=resolved)
    except ValidationError as error:
        raise UserError(f"{name_or_path}: {_first_error(error)}") from error
    except ValueError as error:
        raise UserError(f"{name_or_path}: {error}") from error


def _check_backends(recipe: Recipe, known: Collection[str]) -> None:
    """Raises ValueError that names the key under which there are settings of an unknown backend."""
    for key, settings in (("freeze", recipe.freeze), ("layer_rates", recipe.layer_rates)):
        for name in settings:
            if name not in known:
                raise ValueError(visible(f"{key}: no backend {name!r}{did_you_mean(name, known)}"))


def _check_steps(recipe: Recipe) -> None:
    """Raises ValueError where torch does not take the options of the optimizer or the schedule: a few steps are made.

    A recipe without options is not tried: importing torch takes seconds.
    """
    if recipe.optimizer_options or (recipe.schedule and recipe.schedule.options):
        from diarbench.backends.training.rehearsal import rehearse

        rehearse(recipe)


def with_settings(recipe: Recipe, **settings: Any) -> Recipe:
    """A recipe with some settings changed. Raises UserError that names the key of an invalid one."""
    try:
        return Recipe.model_validate({**recipe.model_dump(), **settings})
    except ValidationError as error:
        raise UserError(f"{recipe.name}: {_first_error(error)}") from error


def _first_error(error: ValidationError) -> str:
    """The first error, with its key; unknown keys come first, since a misspelt key also makes another one missing."""
    first = min(error.errors(), key=lambda details: details["type"] != "extra_forbidden")
    *parents, key = [str(part) for part in first["loc"]] or [""]
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        section = next((SECTIONS[parent] for parent in reversed(parents) if parent in SECTIONS), Recipe)
        fields = section.model_fields
        message = "unknown key" + (did_you_mean(key, fields) or f"; one of {', '.join(fields)}")
    return visible(f"{'.'.join([*parents, key])}: {message}" if key else message)


SECTIONS: dict[str, type[BaseModel]] = {
    "augmentation": Augmentation,
    "band": Band,
    "mix": MixedIn,
    "noise": Noise,
    "objective": Objective,
    "rooms": Sounds,
    "schedule": Schedule,
}
"""The sections of a recipe that have keys of their own."""
