"""Losses that the toolkits lack, computed from the speech probabilities of any network.

They use the logarithms of a probability and of its complement: a confident, wrong output then has a large loss and a
gradient of ordinary size, whereas a probability rounded to 1 has neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch

from diarbench.backends.objective import Objective


class LogProbabilities(NamedTuple):
    """Logarithms of the probabilities of speech and of silence; tensors of equal shape."""

    speaks: torch.Tensor
    silent: torch.Tensor


class SpeakerLogProbabilities(NamedTuple):
    """A network's output for a batch: log probabilities of each speaker and of any speech."""

    each: LogProbabilities
    """(batch, frames, speakers)."""
    anybody: LogProbabilities
    """(batch, frames)."""


def powerset_marginals(log_probabilities: torch.Tensor, mapping: torch.Tensor) -> SpeakerLogProbabilities:
    """Marginals of a powerset: log probabilities (batch, frames, sets), 0/1 mapping (sets, speakers).

    The first set is the empty one (Plaquet and Bredin, "Powerset multi-class cross entropy loss for neural speaker
    diarization", Interspeech 2023).
    """
    by_speaker = [(log_probabilities[..., m], log_probabilities[..., ~m]) for m in mapping.bool().T]
    speaks, silent = (torch.stack([pair[k].logsumexp(-1) for pair in by_speaker], dim=-1) for k in (0, 1))
    return SpeakerLogProbabilities(
        LogProbabilities(speaks, silent),
        LogProbabilities(log_probabilities[..., 1:].logsumexp(-1), log_probabilities[..., 0]),
    )


def sigmoid_marginals(activity: torch.Tensor) -> SpeakerLogProbabilities:
    """Marginals of activity (batch, frames, speakers) in [0, 1], with speakers taken as independent."""
    speaks = activity.clamp(min=1e-30).log()
    silent = torch.log1p(-activity.clamp(max=1 - 1e-6))
    nobody = silent.sum(-1)
    return SpeakerLogProbabilities(
        LogProbabilities(speaks, silent), LogProbabilities((-torch.expm1(nobody)).clamp(min=1e-30).log(), nobody)
    )


def binary_cross_entropy(probabilities: LogProbabilities, targets: torch.Tensor) -> torch.Tensor:
    """Mean binary cross entropy over all entries, for 0/1 targets of the same shape."""
    return -(targets * probabilities.speaks + (1 - targets) * probabilities.silent).mean()


def dice_loss(activity: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Soft Dice loss (Milletari et al., "V-Net", 2016) of activity (batch, frames, speakers), mean over the batch.

    One minus the ratio of twice the intersection to the sum of both. 1 is added to numerator and denominator, so that
    silence predicted as silence has no loss.
    """
    shared = (activity * targets).sum((1, 2))
    return (1 - (2 * shared + 1) / (activity.sum((1, 2)) + targets.sum((1, 2)) + 1)).mean()


def voice_activity_loss(probabilities: SpeakerLogProbabilities, targets: torch.Tensor) -> torch.Tensor:
    """Binary cross entropy of speech against silence, for 0/1 targets (batch, frames, speakers)."""
    return binary_cross_entropy(probabilities.anybody, targets.any(-1).float())


def multilabel_loss(probabilities: SpeakerLogProbabilities, targets: torch.Tensor, dice_weight: float) -> torch.Tensor:
    """Binary cross entropy per speaker with a Dice term, for 0/1 targets in the network's order of speakers."""
    loss = binary_cross_entropy(probabilities.each, targets)
    return loss + dice_weight * dice_loss(probabilities.each.speaks.exp(), targets) if dice_weight else loss


def weighted(segmentation: torch.Tensor, vad: torch.Tensor, objective: Objective) -> torch.Tensor:
    """The total loss that training minimises."""
    return segmentation + objective.vad * vad if objective.vad else segmentation


def describe_objective(segmentation: str, objective: Objective, network: str, unused: Mapping[str, bool]) -> str:
    """An objective in words, from the description of its segmentation loss.

    ``unused`` lists settings that networks of this name ignore, and whether the objective has each of them.
    """
    auxiliary = (
        f"with a voice-activity loss of weight {objective.vad:g}" if objective.vad else "voice activity only reported"
    )
    ignored = ", ".join(setting for setting, is_set in unused.items() if is_set)
    return f"{segmentation}; {auxiliary}" + (f"; not used by {network}: {ignored}" if ignored else "")
