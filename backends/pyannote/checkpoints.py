"""Reading pyannote.audio checkpoints and PyanNet tensors without running code from them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from math import comb
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError, model_validator

from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.records import Record, first_problem
from pyannote.audio.core.task import Problem, Resolution, Specifications
from pyannote.audio.models.segmentation import PyanNet

SCRATCH = {
    "hyperparameters": {"lstm": {"num_layers": 4, "dropout": 0.5}},
    "duration_s": 10.0,
    "speakers": 3,
    "simultaneous": 2,
}
"""The architecture of segmentation-3.0."""

PARTS = ("sincnet", "lstm", "linear")
"""The parts of a PyanNet that have hyper-parameters."""

POWERSET: Literal["powerset"] = "powerset"
SIGMOIDS: Literal["sigmoids"] = "sigmoids"
"""The two heads: probabilities of sets of speakers, or one probability per speaker."""


MOST_SETS = 2000
"""Of the speakers of a powerset, which has an output for each; segmentation-3.0 has seven."""

Layers = Annotated[int, Field(ge=1, le=32)]
Units = Annotated[int, Field(ge=1, le=8192)]


class _Options(Record):
    model_config = ConfigDict(strict=True)


class Sincnet(_Options):
    """Options of a PyanNet's first layers."""

    stride: int = Field(default=10, ge=1, le=1000)
    sample_rate: Literal[16_000] = 16_000


class Lstm(_Options):
    """Options of a PyanNet's recurrent layers."""

    hidden_size: Units = 128
    num_layers: Layers = 2
    bidirectional: bool = True
    monolithic: bool = True
    dropout: float = Field(default=0.0, ge=0, le=1)
    batch_first: Literal[True] = True


class Linear(_Options):
    """Options of a PyanNet's feed-forward layers."""

    hidden_size: Units = 128
    num_layers: int = Field(default=2, ge=0, le=32)


class Hyperparameters(_Options):
    """The options of a PyanNet; an absent one has pyannote.audio's default."""

    sincnet: Sincnet = Sincnet()
    lstm: Lstm = Lstm()
    linear: Linear = Linear()


class Architecture(_Options):
    """All that a checkpoint may say of its network."""

    hyperparameters: Hyperparameters
    duration_s: float = Field(gt=0, le=600)
    speakers: int = Field(ge=1, le=20)
    simultaneous: int = Field(ge=1, le=20)
    head: Literal["powerset", "sigmoids"] = POWERSET

    @model_validator(mode="after")
    def _check_sets(self) -> Architecture:
        sets = sum(comb(self.speakers, count) for count in range(self.simultaneous + 1))
        if self.head == POWERSET and sets > MOST_SETS:
            raise ValueError(f"{sets:,} sets of {self.speakers} speakers, more than {MOST_SETS:,}")
        return self


def check_architecture(settings: Any, source: Path | str) -> dict[str, Any]:
    """The settings of an architecture, as plain values. Raises UserError, with the path of the key, for any other."""
    try:
        return Architecture.model_validate(settings).model_dump(exclude_unset=True)
    except ValidationError as error:
        raise UserError(f"{source}: refused: its architecture: {first_problem(error)}") from error


def build_specifications(settings: Mapping[str, Any]) -> Specifications:
    """The description of its output that a pyannote.audio model carries."""
    powerset = settings.get("head", POWERSET) == POWERSET
    return Specifications(
        problem=Problem.MONO_LABEL_CLASSIFICATION if powerset else Problem.MULTI_LABEL_CLASSIFICATION,
        resolution=Resolution.FRAME,
        duration=settings["duration_s"],
        classes=[f"speaker#{k + 1}" for k in range(settings["speakers"])],
        powerset_max_classes=settings["simultaneous"] if powerset else None,
        permutation_invariant=True,
    )


def settings_from_checkpoint(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """The architecture in a checkpoint that pyannote.audio wrote.

    Raises UserError where a newer pyannote.audio wrote it or it is not a PyanNet with either head, and KeyError,
    AttributeError, TypeError or ValueError where it is incomplete.
    """
    header = content["pyannote.audio"]
    written_by, here = str(header["versions"]["pyannote.audio"]), version("pyannote.audio")
    if int(written_by.partition(".")[0]) > int(here.partition(".")[0]):
        raise UserError(f"{path}: written by pyannote.audio {written_by}, newer than {here} here")
    if header["architecture"]["class"] != PyanNet.__name__:
        raise UserError(f"{path}: holds a {header['architecture']['class']}, not a PyanNet")
    specifications = header["specifications"]
    powerset = getattr(specifications, "powerset_max_classes", None)
    sigmoids = getattr(specifications, "problem", None) == Problem.MULTI_LABEL_CLASSIFICATION
    if not specifications.permutation_invariant or not (powerset or sigmoids):
        raise UserError(f"{path}: its head does not separate speakers (expected a powerset, or a sigmoid per speaker)")
    return {
        "hyperparameters": {key: dict(content["hyper_parameters"].get(key) or {}) for key in PARTS},
        "duration_s": float(specifications.duration),
        "speakers": len(specifications.classes),
        "simultaneous": int(powerset or len(specifications.classes)),
        **({} if powerset else {"head": SIGMOIDS}),
    }


def settings_from_tensors(path: Path, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """The architecture of a PyanNet, from its tensors' names and shapes; dropout and window are the usual ones.

    Raises UserError where the tensors are not those of a PyanNet with a powerset head.
    """
    try:
        layers = sum(name.startswith("lstm.weight_ih") and not name.endswith("_reverse") for name in tensors)
        hyperparameters = {
            "lstm": {
                "num_layers": layers,
                "hidden_size": tensors["lstm.weight_hh_l0"].shape[1],
                "bidirectional": "lstm.weight_ih_l0_reverse" in tensors,
                "dropout": 0.5 if layers > 1 else 0.0,
            },
            "linear": {
                "num_layers": sum(name.startswith("linear.") and name.endswith(".weight") for name in tensors),
                "hidden_size": tensors["linear.0.weight"].shape[0],
            },
        }
        outputs = tensors["classifier.weight"].shape[0]
    except KeyError as error:
        raise UserError(f"{path}: not the tensors of a PyanNet (no {error.args[0]})") from error
    for speakers in range(2, 6):
        if outputs == 1 + speakers + speakers * (speakers - 1) // 2:
            return {**SCRATCH, "hyperparameters": hyperparameters, "speakers": speakers}
    raise UserError(
        f"{path}: its {outputs} outputs are no powerset of two speakers at a time; pass the checkpoint that "
        "pyannote.audio wrote, which describes its head"
    )
