"""PyanNet and its powerset loss (Plaquet and Bredin, Interspeech 2023) as a Network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from diarbench.backends.base import Losses
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


class PyannoteNetwork(torch.nn.Module):
    """A segmentation model of pyannote.audio with a powerset head."""

    def __init__(self, model: PyanNet, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.model = model
        self.settings = dict(settings)
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
        model.specifications = Specifications(
            problem=Problem.MONO_LABEL_CLASSIFICATION,
            resolution=Resolution.FRAME,
            duration=settings["duration_s"],
            classes=[f"speaker#{k + 1}" for k in range(settings["speakers"])],
            powerset_max_classes=settings["simultaneous"],
            permutation_invariant=True,
        )
        model.build()
        return cls(model, settings)

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
        """pyannote.audio's own training loss; ``vad`` is told, not trained on: the powerset has it within."""
        prediction = self.model(waveforms[:, None])
        permutated, _ = permutate(self.powerset.to_multilabel(prediction), targets)
        wanted = torch.argmax(self.powerset.to_powerset(permutated.float()), dim=-1)
        segmentation = nll_loss(prediction, wanted, weight=torch.ones_like(prediction[..., :1]))
        speech = 1 - prediction[..., 0].exp()
        vad = torch.nn.functional.binary_cross_entropy(speech.clamp(0, 1), targets.any(-1).float())
        return Losses(segmentation, vad.detach(), segmentation)

    def activity(self, waveforms: torch.Tensor) -> torch.Tensor:
        """Each speaker's marginal over the powerset's classes."""
        activity: torch.Tensor = self.powerset.to_multilabel(self.model(waveforms[:, None]), soft=True)
        return activity
