"""Who speaks and how many, told apart: sets of speakers, whose size one thing says and whose members another.

An output a speaker answers "two" wherever it cannot tell which of two speaks. Here each frame has a distribution over
sets of speakers, as in Plaquet and Bredin, "Powerset multi-class cross entropy loss for neural speaker diarization"
(2023), of which the size is drawn first, from what is heard around the frame, and then, of the sets of that size, one
by the odds of its members (the conditional Bernoulli distribution: Chen and Liu, 1997).
"""

from __future__ import annotations

import torch
from torch.nn import Conv1d, Linear, functional

HIDDEN, KERNEL = 128, 9
"""Channels, and frames of 80 ms, of each convolution."""


class Counting(torch.nn.Module):
    """How many speak: from sound (batch, frames, size) logits (batch, frames, speakers + 1).

    Two convolutions over 1.4 s, which is too short to know a speaker again by: all that it can learn is to count.
    """

    def __init__(self, size: int, speakers: int) -> None:
        super().__init__()
        self.first = Conv1d(size, HIDDEN, KERNEL, padding=KERNEL // 2)
        self.second = Conv1d(HIDDEN, HIDDEN, KERNEL, padding=KERNEL // 2)
        self.last = Linear(HIDDEN, speakers + 1)

    def forward(self, sound: torch.Tensor) -> torch.Tensor:
        hidden = functional.relu(self.first(sound.transpose(1, 2)))
        hidden = functional.relu(self.second(hidden))
        logits: torch.Tensor = self.last(hidden.transpose(1, 2))
        return logits


def of_sets(who: torch.Tensor, how_many: torch.Tensor) -> torch.Tensor:
    """Each speaker's chance (..., speakers) of being in the set that speaks, for log odds (..., speakers) of who speaks
    and logits (..., speakers + 1) of how many. They add up to the number of speakers that is expected.
    """
    sets = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], device=who.device)] * who.shape[-1])
    sizes = sets.sum(-1).long()
    odds = who.float() @ sets.T
    of_size = torch.stack([odds[..., sizes == size].logsumexp(-1) for size in range(who.shape[-1] + 1)], dim=-1)
    chances = (how_many.float().log_softmax(-1) - of_size)[..., sizes] + odds
    return (chances.exp() @ sets).clamp(max=1)  # a loss takes no chance that is rounded to more


def whole(activity: torch.Tensor) -> torch.Tensor:
    """Activity (..., speakers) in which as many speak as were expected: the likeliest speaker comes to 1 before the
    next one gets anything. So no doubt about who speaks is taken for silence, nor for several.
    """
    rank = activity.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
    return (activity.sum(-1, keepdim=True) - rank).clamp(0, 1)
