"""PyanNet as a Network: with its powerset loss (Plaquet and Bredin, Interspeech 2023), or a speaker at a time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from diarbench.backends import losses
from diarbench.backends.base import Losses
from diarbench.backends.objective import Objective
from diarbench.reports.records import UserError
from pyannote.audio import Model
from pyannote.audio.core.task import Problem, Resolution, Specifications
from pyannote.audio.models.segmentation import PyanNet
from pyannote.audio.utils.loss import nll_loss
from pyannote.audio.utils.permutation import permutate
from pyannote.audio.utils.powerset import Powerset

SCRATCH = {
    "hyperparameters": {"lstm": {"num_layers": 4, "dropout": 0.5}},
    "duration_s": 10.0,
    "speakers": 3,
    "simultaneous": 2,
}
"""The architecture of segmentation-3.0."""
POWERSET, SIGMOIDS = "powerset", "sigmoids"
"""The heads there are: chances of sets of speakers, or a chance a speaker."""


class PyannoteNetwork(torch.nn.Module):
    """A segmentation model of pyannote.audio, with either head."""

    def __init__(self, model: PyanNet, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.model = model
        self.settings = dict(settings)
        self.objective = Objective(name="multilabel" if self.head == SIGMOIDS else "powerset")
        self.max_speakers = settings["speakers"]
        self.frame_s = model.receptive_field.step
        self.first_frame_s = model.receptive_field.start + model.receptive_field.duration / 2
        self.powerset = Powerset(settings["speakers"], settings["simultaneous"])

    @classmethod
    def from_pretrained(cls, path: Path) -> PyannoteNetwork:
        """Load pyannote's own checkpoint. Raises UserError where it is not one with a powerset head."""
        try:
            model: Any = Model.from_pretrained(path, map_location="cpu")
        except Exception as error:  # torch and pyannote raise many kinds for a file that is not theirs
            raise UserError(f"{path}: not a pyannote.audio checkpoint ({str(error).splitlines()[0]})") from error
        specifications = model.specifications
        if not isinstance(model, PyanNet) or isinstance(specifications, tuple) or not specifications.powerset:
            raise UserError(f"{path}: not a PyanNet segmentation model with a powerset head")
        hyperparameters = {key: dict(model.hparams[key]) for key in ("sincnet", "lstm", "linear")}
        settings = {
            "hyperparameters": hyperparameters,
            "duration_s": float(specifications.duration),
            "speakers": len(specifications.classes),
            "simultaneous": int(specifications.powerset_max_classes),
        }
        return cls(model, settings)

    @classmethod
    def from_scratch(cls, settings: Mapping[str, Any] = SCRATCH) -> PyannoteNetwork:
        """segmentation-3.0's architecture, or that of given settings, with random weights."""
        model = PyanNet(**settings["hyperparameters"])
        model.specifications = _specifications(settings)
        model.build()
        return cls(model, settings)

    def train_on(self, objective: Objective) -> PyannoteNetwork:
        """Set the objective of `loss`; a fresh head takes the old one's place, with random weights.

        Raises UserError where a head of sigmoids is to be trained on the powerset, or kept as one.
        """
        if objective.head == "fresh":
            self.settings["head"] = SIGMOIDS
            self.model.specifications = _specifications(self.settings)
            self.model.build()
        elif self.head == SIGMOIDS and objective.name == POWERSET:
            raise UserError(
                "these weights have a head of sigmoids, a speaker each, which has no powerset: take a recipe with "
                "'name: multilabel' in its objective"
            )
        self.objective = objective
        return self

    @property
    def head(self) -> str:
        return str(self.settings.get("head", POWERSET))

    @property
    def trained_on(self) -> str:
        objective = self.objective
        if objective.name == POWERSET:
            return losses.in_words("powerset cross entropy", objective)
        head = "a fresh head of sigmoids" if objective.head == "fresh" else f"the {self.head} head kept"
        term = f" and Dice of weight {objective.dice:g}" if objective.dice else ""
        return losses.in_words(f"binary cross entropy a speaker{term}, {head}", objective)

    @classmethod
    def restore(cls, checkpoint: Mapping[str, Any]) -> PyannoteNetwork:
        network = cls.from_scratch(checkpoint["architecture"])
        network.load_state_dict(checkpoint["weights"])
        return network

    def architecture(self) -> dict[str, Any]:
        return self.settings

    def num_frames(self, samples: int) -> int:
        return self.model.num_frames(samples)

    def loss(self, waveforms: torch.Tensor, targets: torch.Tensor) -> Losses:
        """pyannote.audio's own training loss, or the multilabel one of its 3.x; speakers are told apart as it does."""
        prediction = self.model(waveforms[:, None])
        chances = self._chances(prediction)
        if self.objective.name == POWERSET:
            permutated, _ = permutate(self.powerset.to_multilabel(prediction), targets)
            wanted = torch.argmax(self.powerset.to_powerset(permutated.float()), dim=-1)
            segmentation = nll_loss(prediction, wanted, weight=torch.ones_like(prediction[..., :1]))
        else:
            permutated, _ = permutate(chances.each.speaks.exp(), targets)
            segmentation = losses.multilabel(chances, permutated.float(), self.objective.dice)
        vad = losses.voice_activity(chances, targets)
        return Losses(segmentation, vad.detach(), losses.weighted(segmentation, vad, self.objective))

    def activity(self, waveforms: torch.Tensor) -> torch.Tensor:
        """Each speaker's marginal over the powerset's classes, or its sigmoid."""
        prediction = self.model(waveforms[:, None])
        if self.head == SIGMOIDS:
            return prediction
        activity: torch.Tensor = self.powerset.to_multilabel(prediction, soft=True)
        return activity

    def _chances(self, prediction: torch.Tensor) -> losses.Chances:
        if self.head == SIGMOIDS:
            return losses.of_sigmoids(prediction)
        mapping: Any = self.powerset.mapping
        return losses.of_powerset(prediction, mapping)


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
