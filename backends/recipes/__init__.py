"""Recipes: how a network is fine-tuned. One recipe serves every backend; each is a YAML file to copy and edit."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, ValidationError

from diarbench.backends.objective import Objective
from diarbench.reports.records import Record, UserError, closest


class Recipe(Record):
    """What decides a fine-tuning beside the data, the first weights and the seed."""

    name: str
    about: str = ""
    optimizer: Literal["Adam", "AdamW", "RAdam", "NAdam", "SGD"]
    """A class of ``torch.optim``, with its own defaults but for the learning rate."""
    learning_rate: float = Field(gt=0)
    epochs: int = Field(ge=1)
    """An epoch goes through as many hours as the train subset has."""
    batch_size: int = Field(ge=1)
    window_s: float = Field(gt=0)
    gradient_clip: float = Field(gt=0)
    """Largest norm of the gradient."""
    objective: Objective = Objective()


def names() -> list[str]:
    """The recipes that come with diarbench."""
    return sorted(Path(entry.name).stem for entry in files(__package__).iterdir() if entry.name.endswith(".yaml"))


def text(name: str) -> str:
    """The YAML text of a named recipe. Raises UserError for an unknown name."""
    if name not in names():
        raise UserError(f"no recipe {name!r}{closest(name, names())}; 'bench recipes' lists them")
    return (files(__package__) / f"{name}.yaml").read_text()


def load(name_or_path: str) -> Recipe:
    """A recipe by name, or from a YAML file. Raises UserError for what is not one, naming file and key."""
    path = Path(name_or_path)
    is_file = path.suffix in (".yaml", ".yml")
    try:
        content = path.read_text() if is_file else text(name_or_path)
        settings = yaml.safe_load(content)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not YAML ({str(error).splitlines()[0]})") from error
    if not isinstance(settings, dict):
        raise UserError(f"{path}: not a recipe (expected 'key: value' lines; 'bench recipes show quick' prints one)")
    try:
        return Recipe(name=path.stem if is_file else name_or_path, **settings)
    except ValidationError as error:
        first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        key = ".".join(str(part) for part in first["loc"])
        fields = Objective.model_fields if first["loc"][0] == "objective" else Recipe.model_fields
        hint = closest(str(first["loc"][-1]), fields) if first["type"] == "extra_forbidden" else ""
        raise UserError(f"{name_or_path}: {key}: {first['msg']}{hint}") from error
    except TypeError as error:
        raise UserError(f"{name_or_path}: a recipe takes no 'name'; its file is its name") from error
