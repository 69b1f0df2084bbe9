"""PyanNet as a Network, with its powerset loss (Plaquet and Bredin, Interspeech 2023) or one output per speaker."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from asteroid_filterbanks import ParamSincFB
from torch.torch_version import TorchVersion

from diarbench.backends import losses
from diarbench.backends.base import Losses
from diarbench.backends.checkpoints import (
    check_checkpoint,
    check_stored,
    is_checkpoint,
    load_safetensors,
    load_tensors,
)
from diarbench.backends.objective import Objective
from diarbench.backends.pyannote.checkpoints import (
    PARTS,
    POWERSET,
    SCRATCH,
    SIGMOIDS,
    build_specifications,
    check_architecture,
    settings_from_checkpoint,
    settings_from_tensors,
)
from diarbench.datasets.io.errors import UserError
from pyannote.audio.core.task import Problem, Resolution, Specifications
from pyannote.audio.models.segmentation import PyanNet
from pyannote.audio.utils.loss import nll_loss
from pyannote.audio.utils.powerset import Powerset


class Sinc(ParamSincFB):
    """SincNet's filters, always computed in 32 bits: 16 bits would be off by a tenth for sines of such angles."""

    def filters(self) -> torch.Tensor:
        with torch.autocast(self.n_.device.type, enabled=False):
            filters: torch.Tensor = super().filters()
        return filters


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
        model.sincnet.conv1d[0].filterbank.__class__ = Sinc
        model.classifier.register_forward_hook(losses.in_32_bits)

    @classmethod
    def from_file(cls, path: Path) -> PyannoteNetwork:
        """Load weights: a checkpoint of pyannote.audio or of diarbench, or a PyanNet's tensors alone.

        pyannote's own loader executes whatever code a file contains, and imports the module that it names; this one
        reads only tensors and plain values. Raises UserError where the file is not a PyanNet with either head.
        """
        if path.suffix == ".safetensors":
            tensors, _ = load_safetensors(path)
            return cls._from_tensors(path, tensors, settings_from_tensors(path, tensors))
        content = load_tensors(path, (Specifications, Problem, Resolution, TorchVersion))
        if is_checkpoint(content):
            return cls.restore(check_checkpoint(path, content, "pyannote"))
        if isinstance(content, dict) and "pyannote.audio" in content:
            try:
                return cls._from_tensors(path, content["state_dict"], settings_from_checkpoint(path, content))
            except (KeyError, AttributeError, TypeError, ValueError) as error:
                raise UserError(f"{path}: not a complete checkpoint of pyannote.audio ({error!r})") from error
        if isinstance(content, dict) and content and all(torch.is_tensor(value) for value in content.values()):
            return cls._from_tensors(path, content, settings_from_tensors(path, content))
        raise UserError(f"{path}: not a pyannote.audio checkpoint")

    @classmethod
    def _from_tensors(cls, path: Path, tensors: Mapping[str, Any], settings: Mapping[str, Any]) -> PyannoteNetwork:
        network = cls._load(path, tensors, settings)
        network.settings["hyperparameters"] = {key: dict(network.model.hparams[key]) for key in PARTS}
        return network

    @classmethod
    def _load(cls, source: Path | str, tensors: Mapping[str, Any], settings: Mapping[str, Any]) -> PyannoteNetwork:
        """Raises UserError where the settings are not those of a PyanNet with these tensors."""
        settings = check_architecture(settings, source)
        with torch.device("meta"):  # takes no memory, whatever sizes the settings claim
            wanted = {name: tensor.shape for name, tensor in _build_model(settings).state_dict().items()}
        for name, shape in wanted.items():
            if getattr(tensors.get(name), "shape", None) != shape:
                raise UserError(f"{source}: its weights are not those of the PyanNet that it describes ({name})")
        check_stored(wanted.values(), tensors, source)
        network = cls.from_scratch(settings)
        # A checkpoint of pyannote.audio 2 or 3 may also have the tensors of a loss function.
        network.model.load_state_dict({name: tensors[name] for name in wanted})
        return network

    @classmethod
    def from_scratch(cls, settings: Mapping[str, Any] = SCRATCH) -> PyannoteNetwork:
        """A network with random weights, of segmentation-3.0's architecture or of the given settings."""
        return cls(_build_model(settings), settings)

    def train_on(self, objective: Objective) -> PyannoteNetwork:
        """Set the objective of `loss`; a fresh head replaces the old one, with random weights.

        Raises UserError where a head of sigmoids would be trained on the powerset.
        """
        if objective.head == "fresh":
            self.settings["head"] = SIGMOIDS
            self.model.specifications = build_specifications(self.settings)
            self.model.build()
            self.model.classifier.register_forward_hook(losses.in_32_bits)
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
    def loss_description(self) -> str:
        objective = self.objective
        words = "powerset cross entropy"
        if objective.name != POWERSET:
            head = "a fresh head of sigmoids" if objective.head == "fresh" else f"the {self.head} head kept"
            term = f" and Dice of weight {objective.dice:g}" if objective.dice else ""
            words = f"binary cross entropy per speaker{term}, {head}"
        unused = {
            "ATS and PIL weights": objective.ats_weight != objective.pil_weight,
            "affinity": bool(objective.affinity),
            "phantom": bool(objective.phantom),
            "outputs": objective.outputs is not None,
        }
        return losses.describe_objective(words, objective, "pyannote", unused)

    @classmethod
    def restore(cls, checkpoint: Mapping[str, Any]) -> PyannoteNetwork:
        """The network in one of diarbench's checkpoints. Raises UserError where it is not a PyanNet's."""
        tensors = {name.removeprefix("model."): tensor for name, tensor in checkpoint["weights"].items()}
        return cls._load("checkpoint", tensors, checkpoint["architecture"])

    def architecture(self) -> dict[str, Any]:
        return self.settings

    def num_frames(self, samples: int) -> int:
        return self.model.num_frames(samples)

    def loss(self, waveforms: torch.Tensor, targets: torch.Tensor) -> Losses:
        """pyannote.audio's own training loss, or the multilabel loss of version 3, with its permutation of speakers."""
        return self._losses(self.model(waveforms[:, None]), targets)

    def measure(self, waveforms: torch.Tensor, targets: torch.Tensor) -> tuple[Losses, torch.Tensor]:
        """See Network."""
        prediction = self.model(waveforms[:, None])
        return self._losses(prediction, targets), self._activity(prediction)

    def activity(self, waveforms: torch.Tensor) -> torch.Tensor:
        """Each speaker's marginal over the powerset's classes, or its sigmoid."""
        return self._activity(self.model(waveforms[:, None]))

    def _losses(self, prediction: torch.Tensor, targets: torch.Tensor) -> Losses:
        prediction = prediction.to(targets.dtype)  # losses are not computed in 16 bits
        chances = self._chances(prediction)
        if self.objective.name == POWERSET:
            permutated = in_best_order(self._speakers_of_sets[prediction.argmax(-1)], targets)
            wanted = torch.argmax(self.powerset.to_powerset(permutated), dim=-1)
            segmentation = nll_loss(prediction, wanted, weight=torch.ones_like(prediction[..., :1]))
        else:
            permutated = in_best_order(chances.each.speaks.exp(), targets)
            segmentation = losses.multilabel_loss(chances, permutated, self.objective.dice)
        vad = losses.voice_activity_loss(chances, targets)
        return Losses(segmentation, vad.detach(), losses.weighted(segmentation, vad, self.objective))

    def _activity(self, prediction: torch.Tensor) -> torch.Tensor:
        if self.head == SIGMOIDS:
            return prediction
        activity: torch.Tensor = self.powerset.to_multilabel(prediction, soft=True)
        return activity

    def _chances(self, prediction: torch.Tensor) -> losses.SpeakerLogProbabilities:
        if self.head == SIGMOIDS:
            return losses.sigmoid_marginals(prediction)
        return losses.powerset_marginals(prediction, self._speakers_of_sets)

    @property
    def _speakers_of_sets(self) -> torch.Tensor:
        """0/1, (sets, speakers)."""
        mapping: Any = self.powerset.mapping
        return mapping


def in_best_order(activity: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Targets (batch, frames, speakers), their speakers reordered to have the least squared error to the activity.

    The order is that of pyannote.audio's ``permutate``, which waits for a GPU at each window.
    """
    costs = (activity[..., None] - targets[:, :, None]).square().mean(1)
    return losses.in_cheapest_order(costs, targets)


def _build_model(settings: Mapping[str, Any]) -> PyanNet:
    model = PyanNet(**settings["hyperparameters"])
    model.specifications = build_specifications(settings)
    model.build()
    return model
