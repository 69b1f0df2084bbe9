"""Auxiliary losses of Sortformer, added to NeMo's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch


class AuxiliaryLoss(NamedTuple):
    """A loss on the output of one of the network's modules."""

    module: torch.nn.Module
    """Its output is (batch, frames, size)."""
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    """Takes that output and the 0/1 targets (batch, frames, speakers)."""
    weight: float
    description: str
