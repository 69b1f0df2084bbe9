"""The record of a job: all settings of one run."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, ConfigDict, Field, ValidationError, field_validator

from diarbench.datasets.folds import Fold
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import digest, read_json
from diarbench.datasets.io.names import Name
from diarbench.datasets.io.records import Record, first_problem, read_record

JOB_FORMAT = 1
"""Rises when a job says something that earlier versions of diarbench would not heed."""


MOST_EPOCHS = 1_000_000


class RecipeOutline(Record):
    """What a job and what follows it read of a recipe; all its keys are the business of the run itself."""

    model_config = ConfigDict(extra="ignore")

    name: Name
    epochs: int = Field(ge=1, le=MOST_EPOCHS, strict=True)
    mix: tuple[dict[str, Any], ...] = ()
    freeze: dict[str, Any] = Field(default_factory=dict)
    layer_rates: dict[str, Any] = Field(default_factory=dict)


class Domain(Record):
    """A dataset that a run is scored on."""

    dataset: Name
    root: str
    """Its path on this machine; the report plays audio from there."""
    fingerprint: str
    corpus: str


class RunIdentity(Record):
    """The fields that a job and its run have in common."""

    backend: Name
    dataset: Name
    dataset_root: str
    """Where the dataset was when the run was planned. Not part of the job's hash; its fingerprint is."""
    fingerprint: str
    seed: int
    init: str
    """The value of ``--init``."""
    train_fraction: float = Field(default=1.0, gt=0, le=1)
    """Fraction of the train subset's annotated time."""
    train: bool = True
    """Whether the network is fine-tuned; otherwise the pretrained one is tuned and scored."""
    also_score: tuple[Domain, ...] = Field(default=(), validation_alias=AliasChoices("also_score", "also_scored"))
    """Other domains, whose test recordings are also diarized and scored."""
    fold: Fold | None = None
    """The subsets of a cross-validation; None: the dataset's own."""
    min_speakers: int = 1
    max_speakers: int | None = None
    """The least and the most speakers of a recording that the pipelines are told; None: any number."""


class Job(RunIdentity):
    """All settings of one run: ``job.json``. A run needs only this file and the dataset's folder."""

    recipe: dict[str, Any]
    """The complete recipe: its name and settings."""
    recipe_search: tuple[dict[str, Any], ...] = ()
    """Changes of the recipe, by key, among which training searches on dev; empty: the recipe is used as it is."""
    init_sha256: str | None
    """SHA-256 of the file that ``init`` resolved to; None for scratch and for a file on a hub."""
    device: str
    """Not part of the hash, like ``threads``: neither says what was asked."""
    threads: int
    workers: int | None = None
    """Processes that read batches ahead of the network; not part of the hash. None: as `default_workers` says."""
    profile: bool = False
    """Whether to profile each phase."""
    devices: int = 1
    """Devices on each node; one process per device."""
    nodes: int = 1
    strategy: str = "auto"
    """Lightning's name of the distributed strategy."""
    loggers: tuple[str, ...] = ()
    """Loggers that receive each epoch; not part of the hash."""
    require_training: bool = False
    """Whether to use the best trained network even where dev does not show that it beats the pretrained one."""
    trials: int | None = 0
    """Tuning trials on dev: 0 keeps the defaults, None runs as many as ``tune_seconds`` allow."""
    tune_seconds: float | None = None
    tune_condition: str = "full"
    search_space: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Ranges that replace the backend's, by hyper-parameter."""
    plda: str | None = None
    """Folder of the PLDA that the pipeline uses; not part of the hash."""
    plda_sha256: str | None = None
    """Fingerprint of that PLDA."""
    pipeline: str | None = None
    """The published pipeline: its folder or ``hub:ID``; not part of the hash. None: the backend's own."""
    pipeline_sha256: str | None = None
    """Fingerprint of that pipeline's files."""
    python: str | None = None
    """The interpreter that works the run, in another environment; not part of the hash. None: the planning one."""
    environment: dict[str, str] = Field(default_factory=dict)
    """The versions in that environment; empty where the run is worked in the planning one."""
    format: int = JOB_FORMAT
    """The version of this record's form; see `read_job`."""

    @field_validator("recipe", mode="before")
    @classmethod
    def _read_old_recipe(cls, recipe: Any) -> Any:
        """Recipe keys of older versions under their present names, so that an old run can be resumed."""
        if not isinstance(recipe, dict):
            return recipe
        try:
            RecipeOutline.model_validate(recipe)
        except ValidationError as error:
            raise ValueError(first_problem(error)) from error
        recipe = {("cache_features" if key == "keep_features" else key): value for key, value in recipe.items()}
        recipe = dict.fromkeys(("max_steps", "evaluate_every", "average_best")) | recipe
        recipe["mix"] = list(recipe.get("mix", ()))  # as it is read from a file
        if isinstance(objective := recipe.get("objective"), dict) and "arrival" in objective:
            shares = objective["arrival"], objective.get("permutation")
            objective = {key: value for key, value in objective.items() if key not in ("arrival", "permutation")}
            ats_weight, pil_weight = (None, None) if shares == (0.5, 0.5) else shares  # 0.5 each was the default
            recipe["objective"] = {**objective, "ats_weight": ats_weight, "pil_weight": pil_weight}
        if isinstance(objective := recipe.get("objective"), dict):
            recipe["objective"] = {"outputs": None, "phantom": 0.0, **objective}
        return recipe

    @property
    def name(self) -> str:
        """The run's folder in a comparison."""
        return f"{self._setting}{self.fold.suffix}" if self.fold else self._setting

    @property
    def pooled_name(self) -> str | None:
        """The folder of the run that pools this fold with the others; None without a fold."""
        return f"{self._setting}{self.fold.repetition_suffix}" if self.fold else None

    @property
    def _setting(self) -> str:
        part = "" if self.train_fraction == 1 else f"-fraction{self.train_fraction:g}"
        recipe = self.recipe["name"] if self.train else "pretrained"
        return f"{self.dataset}-{self.backend}-{recipe}-seed{self.seed}{part}"

    @property
    def hash(self) -> str:
        """Changes with whatever was asked; where the job runs, and where its files are, is not part of it."""
        return digest(self.portable.model_dump(mode="json", exclude=NOT_HASHED | self._own_environment))

    @property
    def former_hash(self) -> str:
        """The hash by which version 0.1 named default folders: with the device, the threads and the path of weights."""
        former = self.portable.model_copy(update={"init": self.init})
        return digest(
            former.model_dump(mode="json", exclude=NOT_HASHED - {"device", "threads"} | self._own_environment)
        )

    @property
    def portable(self) -> Job:
        """The job without the paths of other datasets and of weights, which their content stands for.

        Of the recipe's settings by backend, only the run's own are asked for.
        """
        without_roots = tuple(domain.model_copy(update={"root": ""}) for domain in self.also_score)
        names_file = self.init_sha256 and (self.init.startswith("run:") or Path(self.init).suffix)
        init = "a file" if names_file else self.init
        recipe = {key: value for key, value in self.recipe.items() if key != "mix"}
        if self.recipe.get("mix"):  # without one, the hash is what it was before recipes could have one
            recipe["mix"] = [{**other, "dataset": ""} for other in self.recipe["mix"]]
        for key in {"freeze", "layer_rates"} & recipe.keys():
            recipe[key] = {name: settings for name, settings in recipe[key].items() if name == self.backend}
        return self.model_copy(update={"also_score": without_roots, "init": init, "recipe": recipe})

    @property
    def _own_environment(self) -> set[str]:
        """Keeps the hash of a run without another environment what it was before there were any."""
        return set() if self.environment else {"environment"}


NOT_HASHED = {
    *("dataset_root", "device", "format", "loggers", "pipeline", "plda", "profile", "python", "threads", "workers"),
}
"""Fields that do not say what was asked."""


def read_job(path: Path) -> Job:
    """The job in a file. Raises UserError where it is missing, damaged, or written by a newer version of diarbench."""
    if (written := _format_of(path)) > JOB_FORMAT:
        raise UserError(
            f"{path}: was written by a newer diarbench (format {written}, this one reads {JOB_FORMAT}); update this one"
        )
    return read_record(path, Job, "remove it, and run the command that made it again")


def _format_of(path: Path) -> int:
    with suppress(UserError):  # `read_record` tells what is wrong with the file
        content = read_json(path)
        if isinstance(content, dict) and isinstance(content.get("format"), int):
            return int(content["format"])
    return JOB_FORMAT
