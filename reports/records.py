"""The records that a comparison writes and reads back; a leaf that every other module may import.

Times are seconds, rates are derived last, unknown keys are errors. A file is written whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, computed_field, model_validator

SCHEMA_VERSION: Literal[1] = 1

Subset = Literal["train", "dev", "test"]
SUBSETS: tuple[Subset, ...] = ("train", "dev", "test")

R = TypeVar("R", bound=BaseModel)


class UserError(Exception):
    """Something the user can mend, told in one line: what is wrong, where (``file:line``), what to do."""


class Record(BaseModel):
    """A frozen value with no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ErrorSeconds(Record):
    """The parts of the diarization error rate, in seconds of speaker time; they add, and the rate is derived.

    The names follow NIST's md-eval and pyannote.metrics: ``total`` is the reference speech,
    ``der = (miss + false_alarm + confusion) / total``.
    """

    total: float = 0.0
    miss: float = 0.0
    false_alarm: float = 0.0
    confusion: float = 0.0

    @model_validator(mode="before")
    @classmethod
    def _drop_derived(cls, data: Any) -> Any:
        return {k: v for k, v in data.items() if k != "der"} if isinstance(data, dict) else data

    @computed_field  # type: ignore[prop-decorator]
    @property
    def der(self) -> float | None:
        """Diarization error rate as a fraction; None where the reference holds no speech."""
        return (self.miss + self.false_alarm + self.confusion) / self.total if self.total > 0 else None

    def __add__(self, other: ErrorSeconds) -> ErrorSeconds:
        return ErrorSeconds(
            total=self.total + other.total,
            miss=self.miss + other.miss,
            false_alarm=self.false_alarm + other.false_alarm,
            confusion=self.confusion + other.confusion,
        )


class Domain(Record):
    """A dataset that a run is scored on."""

    dataset: str
    root: str
    """Where it lies on this machine; its audio is played from there."""
    fingerprint: str
    corpus: str


class Job(Record):
    """All that one run is asked for: a file of it and the dataset's folder are what a run needs."""

    backend: str
    dataset: str
    dataset_root: str
    """Where the dataset lies on this machine; not part of the hash, for its fingerprint is."""
    fingerprint: str
    recipe: dict[str, Any]
    """A whole recipe: name and settings."""
    seed: int
    init: str
    """What was asked of ``--init``."""
    init_sha256: str | None
    """Of the file that it came to; None for scratch, and for a hub's file."""
    device: str
    threads: int
    train_fraction: float = 1.0
    """Of the train subset's annotated time."""
    also_score: tuple[Domain, ...] = ()
    """Other domains, whose test recordings are diarized and scored too."""
    profile: bool = False
    """Whether each phase leaves a profile."""
    devices: int = 1
    """Of each node; each has a process of its own."""
    nodes: int = 1
    strategy: str = "auto"
    """How the processes train together, by Lightning's name for it."""
    loggers: tuple[str, ...] = ()
    """Trackers that are told of each epoch; not part of the hash."""
    trials: int | None = 0
    """Of tuning on dev: 0 leaves the defaults, None is as many as ``tune_seconds`` allow."""
    tune_seconds: float | None = None
    tune_condition: str = "full"
    search_space: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Ranges in place of the backend's own, by hyper-parameter."""

    @property
    def name(self) -> str:
        """The run's folder in a comparison."""
        part = "" if self.train_fraction == 1 else f"-fraction{self.train_fraction:g}"
        return f"{self.dataset}-{self.backend}-{self.recipe['name']}-seed{self.seed}{part}"

    @property
    def final_stage(self) -> str:
        """The stage whose RTTM is the run's answer."""
        return "finetuned" if self.trials == 0 else "tuned"

    @property
    def hash(self) -> str:
        """Changes with whatever can change the result."""
        nowhere = (domain.model_copy(update={"root": ""}) for domain in self.also_score)
        moved = self.model_copy(update={"also_score": tuple(nowhere)})
        return digest(moved.model_dump(mode="json", exclude=NOT_HASHED))


NOT_HASHED = {"dataset_root", "loggers", "profile"}
"""What a job may be asked for without its result being another."""


class Epoch(Record):
    """An epoch's line of ``epochs.csv``, the fine-tuning guide's columns; epoch 0 is before the first step.

    Losses are means over windows. The rates are fractions over the dev windows at the threshold that makes
    ``der`` least, as pyannote.audio's OptimalDiarizationErrorRate defines it.
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
"""The fields of Epoch and the guide's names for them, in the guide's order."""


class Weights(Record):
    """Where a network's first weights came from."""

    origin: str
    """``scratch``, or what was loaded: a package and its version, a path, ``hub:ID``."""
    pretrained: bool
    sha256: str | None = None
    licence: str | None = None
    trained_on: tuple[str, ...] = ()
    """Corpora that the weights have seen, as far as their authors say."""
    fixed_parts: tuple[str, ...] = ()
    """Pretrained parts of the pipeline that are not fine-tuned, such as a speaker embedding."""


class Phase(Record):
    """What one phase of a run cost."""

    name: str
    seconds: float
    peak_memory_mb: float
    """Largest resident set of the run's process while the phase lasted (10^6 bytes)."""
    peak_device_memory_mb: float | None = None
    audio_s: float | None = None
    """Audio gone through, so that ``seconds / audio_s`` is a real-time factor."""


class Trial(Record):
    """One setting of a pipeline's hyper-parameters, tried on dev."""

    number: int
    """From 0, which is the defaults."""
    values: dict[str, float | int | str]
    der: float | None
    """Pooled over dev under the tuning's condition, as a fraction; None where decoding failed."""
    seconds: float
    """Of decoding and scoring all of dev."""
    failure: str | None = None
    """Why decoding failed, in one line."""


class Tuning(Record):
    """``tuning.json``: the search for a pipeline's hyper-parameters on dev. The study is rebuilt from its trials."""

    model: str
    """Changes with the network's weights and the code that infers and decodes."""
    condition: str
    """Under which the DER of dev was made least."""
    seed: int
    space: dict[str, dict[str, Any]]
    """What was searched: ``low`` and ``high``, or ``choices``, by hyper-parameter."""
    defaults: dict[str, float | int | str]
    trials: tuple[Trial, ...] = ()
    chosen: dict[str, float | int | str] = Field(default_factory=dict)
    """The values of the trial with the least DER, the first of several; with what was frozen."""
    importance: dict[str, float] = Field(default_factory=dict)
    """Share of each hyper-parameter in the spread of the DER (PED-ANOVA, Watanabe et al. 2023), largest first."""
    audio_s: float = 0.0
    """Of dev."""
    infer_s: float = 0.0
    """Of inference of dev, once; as measured then, where the cache had it."""
    decode_s: float = 0.0
    """Of decoding and scoring, all trials."""
    storage_s: float = 0.0
    """Of choosing the trials' values and keeping the trials on disk."""
    first: Tuning | None = None
    """What was tuned before, and then frozen, because inference depends on it."""

    @property
    def default_der(self) -> float | None:
        """Of dev at the defaults."""
        return self.trials[0].der if self.trials else None

    @property
    def best(self) -> Trial | None:
        """The trial with the least DER, the first of several; None where none has one."""
        rated = [trial for trial in self.trials if trial.der is not None]
        return min(rated, key=lambda trial: trial.der or 0.0, default=None)


class Environment(Record):
    """What a run ran on."""

    python: str
    platform: str
    processor: str
    cores: int
    memory_gb: float
    device: str
    git: str | None = None
    versions: dict[str, str]
    """Of the packages that decide the figures."""


class Run(Record):
    """One fine-tuning: a backend on a dataset by a recipe with a seed; ``run.json`` once it is done."""

    name: str
    """Its folder in the comparison."""
    job: str
    """Hash of what was asked."""
    backend: str
    dataset: str
    dataset_root: str
    """Where the dataset lay; its audio is played from there."""
    corpus: str
    fingerprint: str
    recipe: str
    seed: int
    init: str
    """What was asked of ``--init``; what it came to is in ``weights``."""
    state: str
    failure: str | None = None
    """Why it failed, in one line."""
    weights: Weights | None = None
    parameters: int | None = None
    recipe_settings: dict[str, Any] = Field(default_factory=dict)
    """All of the recipe, as its file would have it."""
    objective: str = ""
    """The losses that it was trained on, in words."""
    train_fraction: float = 1.0
    """Of the train subset's annotated time, that it was fine-tuned on."""
    train_s: float | None = None
    """Annotated time that it was fine-tuned on."""
    also_scored: tuple[Domain, ...] = ()
    """Other domains, whose test recordings it was scored on too."""
    trained_audio_s: float | None = None
    """Audio that the training steps went through, all epochs."""
    notes: tuple[str, ...] = ()
    """What was dropped, clipped or cut, with counts."""
    phases: tuple[Phase, ...] = ()
    epochs: tuple[Epoch, ...] = ()
    best_epoch: int | None = None
    tuning: Tuning | None = None
    """None where the hyper-parameters stayed at the defaults."""
    environment: Environment | None = None

    def domain(self, dataset: str) -> Domain | None:
        """The dataset of that name, where the run was scored on it."""
        home = Domain(dataset=self.dataset, root=self.dataset_root, fingerprint=self.fingerprint, corpus=self.corpus)
        return next((each for each in (home, *self.also_scored) if each.dataset == dataset), None)

    @property
    def final_stage(self) -> str:
        """The stage whose RTTM is the run's answer."""
        return "tuned" if self.tuning else "finetuned"


LEVEL = 0.95
"""Of every interval."""


class Interval(Record):
    """A 95 % bootstrap interval of a rate, as fractions; None where fewer than two units can be resampled."""

    low: float | None
    high: float | None
    units: int
    unit: str
    """What was resampled: ``recordings``, or ``blocks of 10 s``."""


class Difference(Record):
    """System B against system A on the same recordings: ``der`` is B's minus A's, so that below zero B is better."""

    der: float
    interval: Interval
    p: float
    """Two-sided, of the paired permutation test: how often chance alone gives a difference as large."""
    units_needed: int | None
    """How many units would give an 80 % chance of a verdict, were the difference as measured; None where there is a
    verdict, or no difference, or too little to tell."""

    def reversed(self) -> Difference:
        """A against B."""
        low, high = self.interval.low, self.interval.high
        turned = {"low": None if high is None else -high, "high": None if low is None else -low}
        return self.model_copy(update={"der": -self.der, "interval": self.interval.model_copy(update=turned)})

    @property
    def settled(self) -> bool:
        """Whether interval and test both say that the difference is not chance."""
        low, high = self.interval.low, self.interval.high
        return self.p < 1 - LEVEL and low is not None and high is not None and not low <= 0 <= high

    @property
    def _at_odds(self) -> str:
        """Why there is no verdict where interval and test do not say the same."""
        low, high = self.interval.low, self.interval.high
        if low is None or high is None:
            return ""
        if self.p < 1 - LEVEL:
            return f"; the test alone says that it is not, but the {LEVEL:.0%} interval reaches over zero"
        if not low <= 0 <= high:
            return (
                f"; the {LEVEL:.0%} interval alone says that it is not, but the test's p is not under {1 - LEVEL:.2g}"
            )
        return ""

    def verdict(self, a: str, b: str) -> str:
        """In plain words, with the warning where the test set cannot support a verdict."""
        evidence = f"p = {self.p:.2g}, {self.interval.units} {self.interval.unit}"
        points = f"{abs(self.der) * 100:.2f} points of DER"
        if self.settled:
            better, worse = (b, a) if self.der < 0 else (a, b)
            few = (
                ""
                if self.interval.unit == "recordings"
                else ", on these recordings: they are too few to speak for others"
            )
            return f"{better} is better than {worse} by {points} ({evidence}){few}."
        sentence = f"No verdict: {points} between {a} and {b} may be chance ({evidence}{self._at_odds})"
        if self.units_needed is None:
            return f"{sentence}."
        needed = f"some {self.units_needed} {self.interval.unit}"
        return f"{sentence}; if the difference is real, {needed} would show it four times in five."


class Contrast(Record):
    """Two systems of a comparison on the same recordings; with several seeds, each system's seeds together."""

    dataset: str
    subset: Subset
    condition: str
    a: str
    """``backend stage``, with the recipe where there are several."""
    b: str
    difference: Difference
    verdict: str
    """The difference in words, with a warning where the test set cannot settle it."""
    explains: dict[str, dict[str, float]]
    """By slicing and part: how much of the difference in DER (b minus a) arises there, as fractions."""


class FileScore(ErrorSeconds):
    """One recording's part of a row."""

    uri: str


class SpeakerCounts(Record):
    """How many speakers the reference and the hypothesis have, by how often that pair of numbers came up."""

    in_recording: dict[int, dict[int, int]]
    """Recordings, by speakers in the reference and in the hypothesis."""
    at_a_time: dict[int, dict[int, float]]
    """Seconds, by speakers who speak at once in the reference and in the hypothesis."""


class Row(ErrorSeconds):
    """A system's pooled score on a subset under a condition, in seconds, with its recordings' parts."""

    run: str | None
    """The name of the run; None for a reference system."""
    dataset: str
    backend: str
    recipe: str | None
    seed: int | None
    stage: str
    """``pretrained``, ``finetuned``, ``tuned``, or a reference system's name: ``silence``, ``one-speaker``."""
    init: str | None
    subset: Subset
    condition: str
    protocol: str = ""
    """Hash of the scoring protocol behind the condition."""
    files: tuple[FileScore, ...]
    interval: Interval | None = None
    """Of the pooled rate; on the test set alone."""
    slices: dict[str, dict[str, ErrorSeconds]] = Field(default_factory=dict)
    """Seconds by slicing and part: where it fails; on the test set alone, under the first condition."""
    metrics: dict[str, float | None] = Field(default_factory=dict)
    """Other figures of pyannote.metrics, by name; where there are slices."""
    speaker_counts: SpeakerCounts | None = None
    """How many speakers were found, and how many there were; where there are slices."""


class Scores(Record):
    """``scores.json`` of a run: its rows, and how far an independent scorer was from them."""

    rows: tuple[Row, ...]
    largest_difference_s: float


class Condition(Record):
    """The scoring protocol behind a row's condition."""

    name: str
    collar_s: float
    """Half-width around each reference boundary, as in md-eval."""
    score_overlap: bool
    text: str
    """The convention in words, printed beside the figures."""


class Comparison(Record):
    """``results.json``: all that tables and reports are drawn from."""

    schema_version: Literal[1] = SCHEMA_VERSION
    diarbench: str
    command: str
    """The command that repeats it."""
    conditions: tuple[Condition, ...]
    scorer: str
    """The engine and the independent scorer that it agreed with, and to how much."""
    runs: tuple[Run, ...]
    rows: tuple[Row, ...]
    contrasts: tuple[Contrast, ...] = ()
    rests_on: dict[str, str] = Field(default_factory=dict)
    """Files beside ``results.json`` that the rows rest on, by relative path: their SHA-256."""


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: Any) -> str:
    """Sixteen hexadecimal digits that change with a JSON-like value or record, and with nothing else."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all: temporary name beside it, flush to disk, rename.

    Raises UserError where the disk refuses, naming the file.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name[:100]}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot be written ({error.strerror}); free some room or choose another") from error


def write_record(path: Path, record: BaseModel) -> None:
    """Write a record as indented JSON, whole or not at all."""
    write_whole(path, record.model_dump_json(indent=1) + "\n")


def read_record(path: Path, kind: type[R]) -> R:
    """Read a record back. Raises UserError where the file is absent, not JSON, or not such a record."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path}: not a valid {kind.__name__}: {where}: {first['msg']}") from error


def closest(word: str, words: Iterable[str]) -> str:
    """``' (did you mean X?)'`` for the nearest of some words, or nothing."""
    import difflib

    folded = {each.casefold(): each for each in words}
    near = difflib.get_close_matches(word.casefold(), folded, n=1)
    return f" (did you mean {folded[near[0]]}?)" if near else ""


def check_choice(option: str, value: str, known: Collection[str], kind: str | None = None) -> None:
    """Raises UserError where an option's value is none of those there are; ``kind`` is what they are called."""
    if value not in known:
        told = f"no such {kind or option}{closest(value, known)}; one of {', '.join(known)}"
        raise UserError(f"--{option} {value}: {told}")
