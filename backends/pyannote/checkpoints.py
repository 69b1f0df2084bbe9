"""Reading pyannote.audio checkpoints and PyanNet tensors without running code from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diarbench.datasets.io.errors import UserError
from pyannote.audio.core.task import Problem, Resolution, Specifications

SCRATCH = {
    "hyperparameters": {"lstm": {"num_layers": 4, "dropout": 0.5}},
    "duration_s": 10.0,
    "speakers": 3,
    "simultaneous": 2,
}
"""The architecture of segmentation-3.0."""

PARTS = ("sincnet", "lstm", "linear")
"""Of which a PyanNet has hyper-parameters."""

POWERSET, SIGMOIDS = "powerset", "sigmoids"
"""The heads there are: chances of sets of speakers, or a chance a speaker."""


def _specifications(settings: Mapping[str, Any]) -> Specifications:
    """What a model of pyannote.audio has to know of its own output."""
    powerset = settings.get("head", POWERSET) == POWERSET
    return Specifications(
        problem=Problem.MONO_LABEL_CLASSIFICATION if powerset else Problem.MULTI_LABEL_CLASSIFICATION,
        resolution=Resolution.FRAME,
        duration=settings["duration_s"],
        classes=[f"speaker#{k + 1}" for k in range(settings["speakers"])],
        powerset_max_classes=settings["simultaneous"] if powerset else None,
        permutation_invariant=True,
    )


def _settings_of(path: Path, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """The architecture of a PyanNet's tensors, by their names and shapes; its dropout and window are taken as usual."""
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
        f"{path}: its {outputs} outputs are no powerset of two speakers at a time; give the checkpoint that "
        "pyannote.audio wrote, which describes its head"
    )
