"""Auxiliary losses of Sortformer, added to NeMo's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.nn import functional


class AuxiliaryLoss(NamedTuple):
    """A loss on the output of one of the network's modules."""

    module: torch.nn.Module
    """Its output is (batch, frames, size)."""
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    """Takes that output and the 0/1 targets (batch, frames, speakers)."""
    weight: float
    description: str


def affinity_loss(frames: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """How badly frames (batch, frames, size) tell speakers apart, for 0/1 targets (batch, frames, speakers).

    Binary cross entropy of "the same speaker", from the cosine of two frames, over all pairs of a window's frames with
    a single speaker; pairs of one speaker and pairs of two speakers count half each. This is deep clustering (Hershey
    et al., 2016) as an auxiliary loss, as in Fujita et al., "End-to-end neural speaker diarization with
    permutation-free objectives" (2019). 0 where no frame has a single speaker.
    """
    unit = functional.normalize(frames, dim=-1)
    logits = 10 * (unit @ unit.transpose(1, 2)) - 5
    alone = targets * (targets.sum(-1, keepdim=True) == 1)
    same = alone @ alone.transpose(1, 2) > 0
    single = alone.any(-1)
    different = single.unsqueeze(1) & single.unsqueeze(2) & ~same
    kinds = [
        functional.softplus(sign * logits[pairs]).mean() for sign, pairs in ((-1, same), (1, different)) if pairs.any()
    ]
    return torch.stack(kinds).sum() / 2 if kinds else logits.sum() * 0
