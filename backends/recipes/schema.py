"""The keys of a recipe and their validation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, field_validator, model_validator

from diarbench.backends.objective import Objective
from diarbench.backends.recipes.torch_classes import check_optimizer, check_schedule
from diarbench.datasets.corpora.catalog import open_dataset
from diarbench.datasets.io.audio import AUDIO_SUFFIXES
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import digest
from diarbench.datasets.io.files import files as files_in
from diarbench.datasets.io.names import Name, shortened
from diarbench.datasets.io.records import Record
from diarbench.reports.results.job import MOST_EPOCHS


def _parse_numbers(options: Any) -> Any:
    """Convert text to numbers where possible: YAML reads ``1e-2`` as text."""
    if not isinstance(options, dict):
        return options
    return {name: _parse_number(value) if isinstance(value, str) else value for name, value in options.items()}


def _parse_number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


LARGEST_OPTION = 1e9


def _check_options(options: dict[str, Any]) -> dict[str, Any]:
    """Raises ValueError for a value that is neither text, true or false, a number in range, nor a list of these."""
    for name, value in options.items():
        for part in value if isinstance(value, list | tuple) else [value]:
            if isinstance(part, int | float) and not abs(part) <= LARGEST_OPTION:
                raise ValueError(f"{name}: {shortened(str(part), 20)} is not a number of at most {LARGEST_OPTION:g}")
            if not isinstance(part, str | int | float | None):
                raise ValueError(f"{name}: a {type(part).__name__} where a number or text belongs")
    return options


Options = Annotated[dict[str, Any], BeforeValidator(_parse_numbers), AfterValidator(_check_options)]

# Upper limits are far beyond what anybody trains with: above them, a training fits into no memory or never ends.
Positive = Annotated[float, Field(gt=0, le=1e6)]

Steps = Annotated[int, Field(ge=1, le=10**9)]

MOST_WINDOWS = 10**8
"""Windows of an epoch of ``evaluate_every`` steps."""

Share = Annotated[float, Field(gt=0, lt=1)]

SHORTEST_WINDOW_S, LONGEST_WINDOW_S = 0.1, 3600.0

PER_STEP = ("CyclicLR", "OneCycleLR")
"""Schedules that are always updated after every step."""


class Schedule(Record):
    """How the learning rate changes, by a class of ``torch.optim.lr_scheduler``."""

    name: str
    every: Literal["epoch", "step"] = "epoch"
    """When the rate is updated; with OneCycleLR and CyclicLR always after each step."""
    options: Options = Field(default_factory=dict)
    """Options of the class. ``T_max`` and ``total_iters`` default to the length of the training and ``max_lr`` to the
    learning rate; OneCycleLR always lasts as long as the training."""

    @model_validator(mode="after")
    def _check_options(self) -> Schedule:
        defaulted = [option for option in ("T_max", "total_iters", "max_lr") if option not in self.options]
        fixed = ["total_steps", "epochs", "steps_per_epoch", *(["mode"] if self.by_figure else [])]
        check_schedule(self.name, self.options, given=[*defaulted, *fixed])
        if self.by_figure and self.every == "step":
            raise ValueError("ReduceLROnPlateau uses an epoch's figure and cannot be updated every step")
        return self

    @property
    def by_figure(self) -> bool:
        """Whether it depends on the dev figure that selects the best epoch."""
        return self.name == "ReduceLROnPlateau"

    @property
    def per_step(self) -> bool:
        return self.every == "step" or self.name in PER_STEP


class Sounds(Record):
    """Sounds that augment a share of the windows: from a folder of audio files, or synthetic."""

    probability: float = Field(default=0.5, gt=0, le=1)
    """Probability for each window."""
    folder: str | None = None
    """Folder of audio files at any depth, relative to the recipe's own; None: synthetic sounds."""
    fingerprint: str | None = None
    """Hash of the names and sizes of the folder's files when the recipe was read; not set by hand."""

    def files(self) -> list[Path]:
        return files_in(Path(self.folder), AUDIO_SUFFIXES) if self.folder else []

    def fingerprint_of(self, paths: Sequence[Path]) -> str:
        return digest([[str(path.relative_to(self.folder or "")), path.stat().st_size] for path in paths])

    def resolved_from(self, base: Path) -> Sounds:
        """A copy with the folder as an absolute path. Raises ValueError where it holds no audio."""
        if self.folder is None:
            return self
        try:
            sounds = self.model_copy(update={"folder": str((base / Path(self.folder).expanduser()).resolve())})
            paths = sounds.files()
        except (OSError, RuntimeError) as error:  # RuntimeError: ~nobody
            raise ValueError(f"folder {self.folder[:80]}: cannot be read ({error})") from error
        if not paths:
            raise ValueError(f"{sounds.folder}: contains no audio files")
        return sounds.model_copy(update={"fingerprint": sounds.fingerprint_of(paths)})


class Noise(Sounds):
    """Background noise; synthetic noise is stationary, from white to brown, with knocks added."""

    snr_db: tuple[float, float] = (5.0, 20.0)
    """Lowest and highest signal-to-noise ratio."""

    @field_validator("snr_db")
    @classmethod
    def _in_order(cls, snr_db: tuple[float, float]) -> tuple[float, float]:
        if not -100 <= snr_db[0] <= snr_db[1] <= 100:
            raise ValueError("expected the lowest ratio, then the highest, between -100 and 100 dB")
        return snr_db


class Band(Record):
    """Band-pass filtering with random edges, as by a telephone or a cheap microphone."""

    probability: float = Field(default=0.5, gt=0, le=1)
    """Probability for each window."""
    low_hz: tuple[float, float] = (20.0, 300.0)
    high_hz: tuple[float, float] = (3000.0, 8000.0)

    @model_validator(mode="after")
    def _in_order(self) -> Band:
        if not 0 < self.low_hz[0] <= self.low_hz[1] < self.high_hz[0] <= self.high_hz[1] <= 8000:
            raise ValueError("expected low_hz below high_hz, each as [lowest, highest], above 0 and up to 8000 Hz")
        return self


class Augmentation(Record):
    """Augmentation of train windows, with new random draws in every epoch; None: not applied."""

    noise: Noise | None = None
    rooms: Sounds | None = None
    """Room impulse responses; synthetic ones are of shoebox rooms."""
    band: Band | None = None

    def resolved_from(self, base: Path) -> Augmentation:
        """A copy with absolute folders. Raises ValueError that names the key of a folder without audio."""
        resolved = {}
        for key in ("noise", "rooms"):
            if sounds := getattr(self, key):
                try:
                    resolved[key] = sounds.resolved_from(base)
                except ValueError as error:
                    raise ValueError(f"augmentation.{key}.folder: {error}") from error
        return self.model_copy(update=resolved)


MOST_MIXED = 0.99
"""The share of all mixed-in datasets. With more, an epoch would have a hundred times the windows of train."""


class MixedIn(Record):
    """Another dataset that is trained on too. One of the original domain helps against forgetting."""

    dataset: str
    """A known dataset's name, or a converted dataset's folder, relative to the recipe's own."""
    share: float = Field(gt=0, le=MOST_MIXED)
    """Share of the windows of each epoch, on average."""
    fingerprint: str | None = None
    """The dataset's when the recipe was read; not set by hand."""

    def resolved_from(self, base: Path) -> MixedIn:
        """A copy with the folder as an absolute path. Raises ValueError where there is no such train subset."""
        folder = base / Path(self.dataset).expanduser()
        try:
            dataset = open_dataset(str(folder) if folder.is_dir() else self.dataset)
            dataset.subset("train")
        except UserError as error:
            raise ValueError(f"mix: {error}") from error
        return self.model_copy(update={"dataset": str(dataset.root.resolve()), "fingerprint": dataset.info.fingerprint})


class Recipe(Record):
    """All settings of a fine-tuning except the data, the initial weights and the seed."""

    name: Name
    about: str = ""
    optimizer: str
    """A class of ``torch.optim``."""
    optimizer_options: Options = Field(default_factory=dict)
    """Options of the class except the learning rate; missing ones have the class's defaults."""
    learning_rate: Positive
    schedule: Schedule | None = None
    """None: a constant learning rate."""
    warmup: float = Field(default=0, ge=0, lt=1)
    """Share of all steps with linear warm-up, before the schedule starts."""
    epochs: int = Field(ge=1, le=MOST_EPOCHS)
    """Most epochs. An epoch has as many hours as the train subset, or ``epoch_hours``, or ``evaluate_every`` steps."""
    max_steps: Steps | None = None
    """Most optimizer steps, instead of ``epochs``, which then is ``max_steps`` divided by ``evaluate_every``."""
    evaluate_every: Steps | None = None
    """Steps between two measurements on dev; such a period counts as an epoch."""
    epoch_hours: Positive | None = None
    """Hours of audio per epoch, drawn anew each time from the complete train subset."""
    patience: Steps | None = None
    """Early stopping after this many epochs without improvement; None: never."""
    best: Literal["der", "loss/val", "loss/val/segmentation", "loss/val/vad"] = "der"
    """The dev figure that selects the best epoch; lower is better."""
    batch_size: int = Field(ge=1, le=100_000)
    """Windows per batch, over all devices together."""
    accumulate: int = Field(default=1, ge=1, le=100_000)
    """Batches whose gradients are accumulated for a step."""
    window_s: float = Field(ge=SHORTEST_WINDOW_S, le=LONGEST_WINDOW_S)
    gradient_clip: Positive | None = None
    """Maximum gradient norm; None: no clipping."""
    precision: Literal["32-true", "16-mixed", "bf16-mixed", "64-true"] = "32-true"
    freeze: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """By backend, name patterns of the parameters that are not trained: ``{pyannote: [model.sincnet.*]}``."""
    layer_rates: dict[str, dict[str, Positive]] = Field(default_factory=dict)
    """By backend and name pattern, factors of the learning rate; the first matching pattern applies."""
    average: Share | None = None
    """Decay per step of an exponential moving average of the weights; the average is measured and saved as best."""
    average_best: int | None = Field(default=None, ge=2, le=1000)
    """Average the weights of so many best epochs after training; used where it is better on dev than the best epoch."""
    cache_features: bool = Field(default=False, validation_alias=AliasChoices("cache_features", "keep_features"))
    """Compute the features of a stage that is never trained (the small Sortformer's) once per recording and cache them;
    windows then start at a frame boundary. No effect on networks without such a stage."""
    objective: Objective = Objective()
    augmentation: Augmentation = Augmentation()
    mix: tuple[MixedIn, ...] = ()
    """Datasets that are mixed in; their windows are added to those of the train subset."""

    @model_validator(mode="before")
    @classmethod
    def _count_periods(cls, settings: Any) -> Any:
        """Derive ``epochs`` from ``max_steps``."""
        if not isinstance(settings, dict):
            return settings
        steps, every = settings.get("max_steps"), settings.get("evaluate_every")
        if steps is None and every is None:
            return settings
        if not (isinstance(steps, int) and isinstance(every, int) and 0 < every <= steps and steps % every == 0):
            raise ValueError(
                "max_steps and evaluate_every belong together, and max_steps must be a multiple of evaluate_every: "
                "max_steps: 1000, evaluate_every: 100"
            )
        if settings.get("epoch_hours") is not None or settings.get("epochs", steps // every) != steps // every:
            raise ValueError("a recipe counts either steps (max_steps) or epochs (epochs, epoch_hours)")
        return {**settings, "epochs": steps // every}

    @model_validator(mode="after")
    def _check_combination(self) -> Recipe:
        check_optimizer(self.optimizer, self.optimizer_options)
        if self.warmup and self.schedule and self.schedule.name == "OneCycleLR":
            raise ValueError("OneCycleLR has its own warm-up (option pct_start): remove warmup")
        if sum(mixed.share for mixed in self.mix) > MOST_MIXED:
            raise ValueError(f"mix: the shares leave too little for the train subset; at most {MOST_MIXED} together")
        if (self.evaluate_every or 0) * self.batch_size * self.accumulate > MOST_WINDOWS:
            raise ValueError(
                f"evaluate_every: {self.evaluate_every} steps of {self.batch_size} x {self.accumulate} windows are "
                f"more than {MOST_WINDOWS:,} windows; lower one of them"
            )
        if self.cache_features and self.augmentation != Augmentation():
            raise ValueError(
                "augmentation changes the features, which are then not cached: set cache_features to false"
            )
        return self
