"""The record of a run: settings, machine, cost, epochs and tuning."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AliasChoices, Field

from diarbench.datasets.io.files import digest
from diarbench.datasets.io.names import Name
from diarbench.datasets.io.records import Record
from diarbench.reports.results.job import Domain, RunIdentity
from diarbench.reports.results.recipe_search import RecipeSearch
from diarbench.reports.results.statistics import Choice


class Epoch(Record):
    """One line of ``epochs.csv``, with the fine-tuning guide's columns; epoch 0 is before the first step.

    Losses are means over windows. Rates are fractions over the dev windows at the threshold with the lowest ``der``,
    as defined by pyannote.audio's OptimalDiarizationErrorRate.
    """

    epoch: int
    loss_val_segmentation: float
    loss_val_vad: float
    loss_val: float
    der: float
    confusion: float
    false_alarm: float
    miss: float
    threshold: float
    loss_train_segmentation: float | None = None
    loss_train_vad: float | None = None
    loss_train: float | None = None


EPOCH_COLUMNS = {
    "epoch": "Epoch",
    "loss_val_segmentation": "loss/val/segmentation",
    "loss_val_vad": "loss/val/vad",
    "loss_val": "loss/val",
    "der": "DiarizationErrorRate",
    "confusion": "Confusion",
    "false_alarm": "FalseAlarm",
    "miss": "Miss",
    "threshold": "Threshold",
    "loss_train_segmentation": "loss/train/segmentation",
    "loss_train_vad": "loss/train/vad",
    "loss_train": "loss/train",
}
"""The fields of Epoch and their names in the guide, in the guide's order."""


class Weights(Record):
    """The origin of a network's initial weights."""

    origin: str
    """``scratch``, or what was loaded: a package and its version, a path, ``hub:ID``."""
    pretrained: bool
    sha256: str | None = None
    licence: str | None = None
    training_corpora: tuple[str, ...] = Field(
        default=(), validation_alias=AliasChoices("training_corpora", "trained_on")
    )
    """Corpora that the weights were trained on, as stated by their authors."""
    fixed_parts: tuple[str, ...] = ()
    """Pretrained parts of the pipeline that are not fine-tuned, such as a speaker embedding."""


class Pipeline(Record):
    """The pipeline around a network, where a backend has several."""

    name: str
    source: str
    """A path, ``hub:ID``, or the packages that it comes from."""
    licence: str | None = None
    files: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of its files, by their paths in its folder; empty where they come from installed packages."""

    @property
    def sha256(self) -> str:
        """A digest of the content of its files, wherever they are."""
        return digest(self.files)


Seconds = Annotated[float, Field(ge=-1e9, le=1e9)]
"""Up to thirty years. Below 0 where the clock was set back in runs of version 0.1."""


class Phase(Record):
    """The cost of one phase of a run."""

    name: str
    seconds: Seconds
    cached_s: Seconds = 0.0
    """The part of ``seconds`` that was spent earlier: the result of that inference came from the cache."""
    peak_memory_mb: float
    """Largest resident set of the run's process during the phase (10^6 bytes)."""
    peak_device_memory_mb: float | None = None
    audio_s: float | None = None
    """Audio processed."""
    real_time_factors: tuple[float, ...] = ()
    """Seconds of diarization per second of audio of each timed recording, measured in this run after a warm-up; empty
    in runs of version 0.1, where ``seconds / audio_s`` is the real-time factor."""


def sum_known(values: Iterable[float | None]) -> float | None:
    """The sum of the values that are known; None where none is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


class Trial(Record):
    """One setting of a pipeline's hyper-parameters, tried on dev."""

    number: int
    """Trial 0 has the defaults."""
    values: dict[str, float | int | str]
    der: float | None
    """Pooled over dev under the tuning's condition, as a fraction; None where decoding failed."""
    seconds: float
    """Decoding and scoring of all dev recordings."""
    failure: str | None = None
    """Why decoding failed, in one line."""
    error_s: dict[str, float] = Field(default_factory=dict)
    """Seconds of error of each dev recording; empty where decoding failed and in runs of version 0.1."""


class Tuning(Record):
    """``tuning.json``: the search for a pipeline's hyper-parameters on dev. The study is rebuilt from its trials."""

    model: str
    """Hash of the network's weights and of the code for inference and decoding."""
    condition: str
    """The condition whose DER on dev was minimised."""
    seed: int
    space: dict[str, dict[str, Any]]
    """The search space: ``low`` and ``high``, or ``choices``, by hyper-parameter."""
    defaults: dict[str, float | int | str]
    trials: tuple[Trial, ...] = ()
    chosen: dict[str, float | int | str] = Field(default_factory=dict)
    """The values of the chosen trial, with the frozen values."""
    choice: Choice | None = None
    """Which trial was chosen and why; None in runs of version 0.1, which chose the lowest DER on dev."""
    speech_s: dict[str, float] = Field(default_factory=dict)
    """Seconds of reference speech of each dev recording under the condition."""
    importance: dict[str, float] = Field(default_factory=dict)
    """The share of each hyper-parameter in the spread of the DER (PED-ANOVA, Watanabe et al. 2023), largest first."""
    audio_s: float = 0.0
    """Duration of the dev recordings."""
    infer_s: float = 0.0
    """Time of one inference of dev; if cached, the time measured when it ran."""
    decode_s: float = 0.0
    """Time of decoding and scoring, all trials."""
    storage_s: float = 0.0
    """Time of drawing the trials' values and storing the trials."""
    upstream: Tuning | None = Field(default=None, validation_alias=AliasChoices("upstream", "first"))
    """The earlier search for hyper-parameters on which inference depends; they were then frozen."""

    @property
    def default_der(self) -> float | None:
        """DER on dev at the defaults."""
        return self.trials[0].der if self.trials else None

    @property
    def chosen_der(self) -> float | None:
        """DER on dev at the chosen values."""
        trial = self.trials[self.choice.chosen] if self.choice else self.best
        return trial.der if trial else None

    @property
    def best(self) -> Trial | None:
        """The first trial with the lowest DER on dev, chosen or not; None where no trial has one."""
        rated = [trial for trial in self.trials if trial.der is not None]
        return min(rated, key=lambda trial: trial.der or 0.0, default=None)


class Environment(Record):
    """Machine and software versions of a run."""

    python: str
    platform: str
    processor: str
    cores: int
    memory_gb: float
    device: str
    git: str | None = None
    versions: dict[str, str]
    """Versions of the packages that affect the results."""


class Run(RunIdentity):
    """One fine-tuning of a backend on a dataset with a recipe and a seed; ``run.json`` when done."""

    name: Name
    """The name of its folder in the comparison."""
    job: str
    """Hash of the job."""
    corpus: str
    recipe: Name
    state: str
    failure: str | None = None
    """The reason of the failure, in one line."""
    weights: Weights | None = None
    pipeline: Pipeline | None = None
    """None for a backend that has only one, and in runs of version 0.1."""
    parameters: int | None = None
    recipe_settings: dict[str, Any] = Field(default_factory=dict)
    """The complete recipe, as in its YAML file; with a search, the chosen one."""
    recipe_search: RecipeSearch | None = None
    """The search that chose the recipe; None where it was given."""
    objective: str = ""
    """Description of the training losses."""
    train_s: float | None = None
    """Annotated time of its training data."""
    heard: str = ""
    """What training heard of the speakers of test; empty where it is known to be nothing."""
    trained_audio_s: float | None = None
    """Audio seen by all training steps, over all epochs."""
    notes: tuple[str, ...] = ()
    """What a reader of the figures should know, such as data that was dropped, clipped or truncated, with counts."""
    phases: tuple[Phase, ...] = ()
    epochs: tuple[Epoch, ...] = ()
    best_epoch: int | None = None
    """The epoch whose network is used; 0 where the pretrained network is kept."""
    epoch_choice: Choice | None = None
    """Why that epoch; None for a network that was not pretrained, and where a trained one was required."""
    tuning: Tuning | None = None
    """None where the hyper-parameters were not tuned."""
    environment: Environment | None = None

    folds: tuple[Name, ...] = ()
    """The runs that a cross-validation pools; empty for a run of its own."""
    pooled_stage: str | None = None
    """The final stage of the runs that it pools."""
    repetition: int = 1
    """Which division into folds it pools."""

    def domain(self, dataset: str) -> Domain | None:
        """The dataset with this name; None where the run was not scored on it."""
        home = Domain.model_construct(
            dataset=self.dataset, root=self.dataset_root, fingerprint=self.fingerprint, corpus=self.corpus
        )
        return next((domain for domain in (home, *self.also_score) if domain.dataset == dataset), None)

    @property
    def decisions(self) -> tuple[str, ...]:
        """What training and tuning decided on dev, and why."""
        search = self.recipe_search.importance_text if self.recipe_search else ""
        decided = {
            "search for a recipe": search,
            "fine-tuning": self.epoch_choice.reason if self.epoch_choice else "",
            "tuning": self.tuning.choice.reason if self.tuning and self.tuning.choice else "",
        }
        return tuple(f"{step}: {reason}" for step, reason in decided.items() if reason)

    @property
    def final_stage(self) -> str:
        """The stage whose RTTM is the run's final output."""
        return self.pooled_stage or ("tuned" if self.tuning else "finetuned" if self.train else "pretrained")
