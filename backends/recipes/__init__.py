"""Recipes: how a network is fine-tuned. One recipe serves every backend; each is a YAML file to copy and edit."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, Field, ValidationError, field_validator, model_validator

from diarbench.backends import registry
from diarbench.backends.objective import Objective
from diarbench.backends.recipes.torch_classes import check_optimizer, check_schedule
from diarbench.datasets.audio import AUDIO_SUFFIXES
from diarbench.datasets.sources.pairing import files as files_in
from diarbench.reports.records import Record, UserError, closest, digest


def _numbers(options: Any) -> Any:
    """YAML reads ``1e-2`` as text; it is a number here."""
    if not isinstance(options, dict):
        return options
    return {name: _number(value) if isinstance(value, str) else value for name, value in options.items()}


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _by_backend(settings: Any) -> Any:
    for name in settings if isinstance(settings, dict) else ():
        if name not in registry.entries():
            raise ValueError(f"no backend {name!r}{closest(str(name), registry.entries())}")
    return settings


Options = Annotated[dict[str, Any], BeforeValidator(_numbers)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]

PER_STEP = ("CyclicLR", "OneCycleLR")
"""Schedules that are made to go on with every step."""


class Schedule(Record):
    """How the learning rate goes, by a class of ``torch.optim.lr_scheduler``."""

    name: str
    every: Literal["epoch", "step"] = "epoch"
    """What it goes on with. OneCycleLR and CyclicLR always go on with each step."""
    options: Options = Field(default_factory=dict)
    """Of the class. Unless given, ``T_max`` and ``total_iters`` are the whole training and ``max_lr`` is the learning
    rate; OneCycleLR always lasts as long as the training."""

    @model_validator(mode="after")
    def _possible(self) -> Schedule:
        filled_in = [option for option in ("T_max", "total_iters", "max_lr") if option not in self.options]
        fixed = ["total_steps", "epochs", "steps_per_epoch", *(["mode"] if self.by_figure else [])]
        check_schedule(self.name, self.options, given=[*filled_in, *fixed])
        if self.by_figure and self.every == "step":
            raise ValueError("ReduceLROnPlateau goes by an epoch's figure: it can't go on every step")
        return self

    @property
    def by_figure(self) -> bool:
        """Whether it goes by the figure that says which epoch is best."""
        return self.name == "ReduceLROnPlateau"

    @property
    def per_step(self) -> bool:
        return self.every == "step" or self.name in PER_STEP


class Sounds(Record):
    """Sounds that are added to windows now and then: from a folder of audio files, or made up."""

    probability: float = Field(default=0.5, gt=0, le=1)
    """Of each window."""
    folder: str | None = None
    """Searched at any depth, and named from the recipe's own folder; None: made up."""
    fingerprint: str | None = None
    """Of the folder's files when the recipe was read, by name and size; never given by hand."""

    def files(self) -> list[Path]:
        return files_in(Path(self.folder), AUDIO_SUFFIXES) if self.folder else []

    def fingerprint_of(self, found: Sequence[Path]) -> str:
        return digest([[str(path.relative_to(self.folder or "")), path.stat().st_size] for path in found])

    def found_from(self, base: Path) -> Sounds:
        """The same with its folder found. Raises ValueError where that holds no audio."""
        if self.folder is None:
            return self
        there = self.model_copy(update={"folder": str((base / Path(self.folder).expanduser()).resolve())})
        if not (found := there.files()):
            raise ValueError(f"{there.folder}: no audio in it")
        return there.model_copy(update={"fingerprint": there.fingerprint_of(found)})


class Noise(Sounds):
    """Background noise; made up, it is steady, from white to brown, with knocks over it."""

    snr_db: tuple[float, float] = (5.0, 20.0)
    """Least and largest ratio of the window to the noise."""

    @field_validator("snr_db")
    @classmethod
    def _in_order(cls, snr_db: tuple[float, float]) -> tuple[float, float]:
        if not -100 <= snr_db[0] <= snr_db[1] <= 100:
            raise ValueError("expected the least ratio, then the largest, between -100 and 100 dB")
        return snr_db


class Band(Record):
    """A band outside of which nothing is heard, as through a telephone or a cheap microphone; its edges are drawn."""

    probability: float = Field(default=0.5, gt=0, le=1)
    """Of each window."""
    low_hz: tuple[float, float] = (20.0, 300.0)
    high_hz: tuple[float, float] = (3000.0, 8000.0)

    @model_validator(mode="after")
    def _in_order(self) -> Band:
        if not 0 < self.low_hz[0] <= self.low_hz[1] < self.high_hz[0] <= self.high_hz[1] <= 8000:
            raise ValueError("expected low_hz, then high_hz, each the least and then the largest, above 0 to 8000 Hz")
        return self


class Augmentation(Record):
    """What is done to the windows of the train subset, to each anew in every epoch; None: nothing."""

    noise: Noise | None = None
    rooms: Sounds | None = None
    """Impulse responses of rooms; made up, they are of shoebox rooms."""
    band: Band | None = None

    def found_from(self, base: Path) -> Augmentation:
        """The same with its folders found; ValueErrors tell the key."""
        found = {}
        for key in ("noise", "rooms"):
            if sounds := getattr(self, key):
                try:
                    found[key] = sounds.found_from(base)
                except ValueError as error:
                    raise ValueError(f"augmentation.{key}.folder: {error}") from error
        return self.model_copy(update=found)


class Recipe(Record):
    """What decides a fine-tuning beside the data, the first weights and the seed."""

    name: str
    about: str = ""
    optimizer: str
    """A class of ``torch.optim``."""
    optimizer_options: Options = Field(default_factory=dict)
    """Of the class, but for the learning rate; what is not given is the class's own default."""
    learning_rate: Positive
    schedule: Schedule | None = None
    """None: the learning rate stays."""
    warmup: float = Field(default=0, ge=0, lt=1)
    """Share of all steps in which the learning rate climbs to its height, before the schedule begins."""
    epochs: int = Field(ge=1)
    """An epoch goes through as many hours as the train subset has, unless ``epoch_hours`` says fewer."""
    epoch_hours: float | None = Field(default=None, gt=0)
    """Audio that an epoch goes through, drawn anew each time from the whole of the train subset."""
    patience: int | None = Field(default=None, ge=1)
    """Stop after so many epochs that were no better than the best; None: never."""
    best: Literal["der", "loss/val", "loss/val/segmentation", "loss/val/vad"] = "der"
    """The dev figure whose least value makes an epoch the best one."""
    batch_size: int = Field(ge=1)
    """Windows, on all devices together."""
    accumulate: int = Field(default=1, ge=1)
    """Batches whose gradients are put together for a step."""
    window_s: Positive
    gradient_clip: Positive | None = None
    """Largest norm of the gradient; None: any."""
    precision: Literal["32-true", "16-mixed", "bf16-mixed", "64-true"] = "32-true"
    freeze: Annotated[dict[str, tuple[str, ...]], BeforeValidator(_by_backend)] = Field(default_factory=dict)
    """By backend, patterns of the names of parameters that stay as they are: ``{pyannote: [model.sincnet.*]}``."""
    layer_rates: Annotated[dict[str, dict[str, Positive]], BeforeValidator(_by_backend)] = Field(default_factory=dict)
    """By backend and pattern, factors of the learning rate; the first pattern that fits a parameter counts."""
    average: Share | None = None
    """Decay a step of an exponential moving average of the weights, which is what is measured and kept as best."""
    keep_features: bool = False
    """Of each recording as it is, the features of a network with a frontend that is never trained (the small
    Sortformer's) are made once and kept in the cache; its windows begin with a frame. Others hear windows as ever."""
    objective: Objective = Objective()
    augmentation: Augmentation = Augmentation()

    @model_validator(mode="after")
    def _possible(self) -> Recipe:
        check_optimizer(self.optimizer, self.optimizer_options)
        if self.warmup and self.schedule and self.schedule.name == "OneCycleLR":
            raise ValueError("OneCycleLR warms up by itself (its option pct_start): leave out warmup")
        if self.keep_features and self.augmentation != Augmentation():
            raise ValueError("keep_features is for recordings as they are: leave out augmentation")
        return self


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
        content = path.read_text(encoding="utf-8") if is_file else text(name_or_path)
        settings = yaml.safe_load(content)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not YAML ({str(error).splitlines()[0]})") from error
    if not isinstance(settings, dict):
        raise UserError(f"{path}: not a recipe (expected 'key: value' lines; 'bench recipes show quick' prints one)")
    if "name" in settings:
        raise UserError(f"{path}: a recipe takes no 'name'; its file is its name")
    try:
        recipe = Recipe.model_validate({"name": path.stem if is_file else name_or_path, **settings})
        return recipe.model_copy(update={"augmentation": recipe.augmentation.found_from(path.parent)})
    except ValidationError as error:
        raise UserError(f"{name_or_path}: {_told(error)}") from error
    except ValueError as error:
        raise UserError(f"{name_or_path}: {error}") from error


def altered(recipe: Recipe, **settings: Any) -> Recipe:
    """A recipe with other settings. Raises UserError for one that can't be, naming the key."""
    try:
        return Recipe.model_validate({**recipe.model_dump(), **settings})
    except ValidationError as error:
        raise UserError(f"{recipe.name}: {_told(error)}") from error


def _told(error: ValidationError) -> str:
    """The first thing that is wrong, by key; a key that is not known goes first, for another may be missing by it."""
    first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    *within, last = [str(part) for part in first["loc"]] or [""]
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        fields = PARTS[within[-1]].model_fields if within and within[-1] in PARTS else Recipe.model_fields
        message = f"no such key{closest(last, fields)}"
    return f"{'.'.join([*within, last])}: {message}" if last else message


PARTS: dict[str, type[BaseModel]] = {
    "augmentation": Augmentation,
    "noise": Noise,
    "objective": Objective,
    "rooms": Sounds,
    "schedule": Schedule,
}
"""The recipe's parts that have keys of their own."""
