"""Losses that the toolkits don't have themselves, on the chances of speech that any network gives.

They are computed from the logarithms of a chance and of its complement, so that a network that is sure and wrong
gets a large loss and a gradient of ordinary size, where a rounded probability of 1 would leave neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch

from diarbench.backends.objective import Objective


class Chance(NamedTuple):
    """Logarithms of the chance that somebody speaks, and that they don't; tensors of one shape."""

    speaks: torch.Tensor
    silent: torch.Tensor


class Chances(NamedTuple):
    """What a network says of a batch."""

    each: Chance
    """(batch, frames, speakers)."""
    anybody: Chance
    """(batch, frames)."""


def of_powerset(log_chances: torch.Tensor, mapping: torch.Tensor) -> Chances:
    """Marginals of the sets of speakers: log chances (batch, frames, sets), 0/1 mapping (sets, speakers).

    The first set is the empty one (Plaquet and Bredin, "Powerset multi-class cross entropy loss for neural speaker
    diarization", Interspeech 2023).
    """
    each = [(log_chances[..., m], log_chances[..., ~m]) for m in mapping.bool().T]
    speaks, silent = (torch.stack([pair[k].logsumexp(-1) for pair in each], dim=-1) for k in (0, 1))
    return Chances(Chance(speaks, silent), Chance(log_chances[..., 1:].logsumexp(-1), log_chances[..., 0]))


def of_sigmoids(activity: torch.Tensor) -> Chances:
    """Activity (batch, frames, speakers) in [0, 1], the speakers taken as independent of each other."""
    speaks = activity.clamp(min=1e-30).log()
    silent = torch.log1p(-activity.clamp(max=1 - 1e-6))
    nobody = silent.sum(-1)
    return Chances(Chance(speaks, silent), Chance((-torch.expm1(nobody)).clamp(min=1e-30).log(), nobody))


def binary_cross_entropy(chance: Chance, wanted: torch.Tensor) -> torch.Tensor:
    """Mean over all entries of minus the log chance of what is wanted (0/1, of the chance's shape)."""
    return -(wanted * chance.speaks + (1 - wanted) * chance.silent).mean()


def dice(activity: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Soft Dice loss (Milletari et al., "V-Net", 2016) of activity (batch, frames, speakers): one minus twice what
    both share over what each has, with 1 added to both so that silence is met by silence; the mean over the batch.
    """
    shared = (activity * wanted).sum((1, 2))
    return (1 - (2 * shared + 1) / (activity.sum((1, 2)) + wanted.sum((1, 2)) + 1)).mean()


def voice_activity(chances: Chances, targets: torch.Tensor) -> torch.Tensor:
    """Binary cross entropy of speech against silence, for 0/1 targets (batch, frames, speakers)."""
    return binary_cross_entropy(chances.anybody, targets.any(-1).float())


def multilabel(chances: Chances, wanted: torch.Tensor, dice_weight: float) -> torch.Tensor:
    """Binary cross entropy a speaker, for 0/1 targets in the network's order of speakers; with a Dice term."""
    loss = binary_cross_entropy(chances.each, wanted)
    return loss + dice_weight * dice(chances.each.speaks.exp(), wanted) if dice_weight else loss


def affinity(frames: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """How well frames (batch, frames, size) tell who speaks, for 0/1 targets (batch, frames, speakers).

    Binary cross entropy of "the same speaker", by the cosine of two frames, over all pairs of frames of a window in
    which one speaks alone; pairs of one speaker and pairs of two count half each. It is deep clustering (Hershey et
    al., 2016), which Fujita et al. ("End-to-end neural speaker diarization with permutation-free objectives", 2019)
    helped a diarization network by. 0 where nobody speaks alone.
    """
    unit = torch.nn.functional.normalize(frames, dim=-1)
    logits = 10 * (unit @ unit.transpose(1, 2)) - 5
    alone = targets * (targets.sum(-1, keepdim=True) == 1)
    same = alone @ alone.transpose(1, 2) > 0
    anybody = alone.any(-1)
    different = anybody.unsqueeze(1) & anybody.unsqueeze(2) & ~same
    softplus = torch.nn.functional.softplus
    kinds = [softplus(sign * logits[pairs]).mean() for sign, pairs in ((-1, same), (1, different)) if pairs.any()]
    return torch.stack(kinds).sum() / 2 if kinds else logits.sum() * 0


def counting(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross entropy of how many speak: logits (batch, frames, speakers + 1), 0/1 targets (batch, frames, speakers)."""
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.sum(-1).long().flatten())


def weighted(segmentation: torch.Tensor, vad: torch.Tensor, objective: Objective) -> torch.Tensor:
    """What is minimised."""
    return segmentation + objective.vad * vad if objective.vad else segmentation


def in_words(segmentation: str, objective: Objective, network: str, unused: Mapping[str, bool]) -> str:
    """An objective in words, after its segmentation loss in words; of ``unused``, the true ones are what a network of
    this name has no use for.
    """
    auxiliary = (
        f"with a voice-activity loss of weight {objective.vad:g}" if objective.vad else "voice activity told only"
    )
    asked = ", ".join(what for what, is_asked in unused.items() if is_asked)
    return f"{segmentation}; {auxiliary}" + (f"; not used by {network}: {asked}" if asked else "")
