"""Who speaks and how many speak, predicted apart from each other.

With one output per speaker, a network that cannot tell which of two speakers is active tends to answer "both". Here
each frame has a distribution over sets of speakers, as in Plaquet and Bredin, "Powerset multi-class cross entropy loss
for neural speaker diarization" (2023). The size of the set is predicted from the sound around the frame; among the sets
of that size, each has a probability in proportion to the odds of its members (the conditional Bernoulli distribution:
Chen and Liu, 1997).
"""

from __future__ import annotations

from math import comb

import torch
from torch.nn import Conv1d, Linear, functional

HIDDEN, KERNEL = 128, 9
"""Channels of each convolution, and its width in frames of 80 ms."""


class SpeakerCounter(torch.nn.Module):
    """The number of active speakers: sound (batch, frames, size) to logits (batch, frames, speakers + 1).

    Two convolutions see 1.4 s, too short to recognise a speaker by, so that they can only learn to count.
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


def speaker_marginals(speaker_logits: torch.Tensor, count_logits: torch.Tensor) -> torch.Tensor:
    """The probability (..., speakers) that each speaker is in the set of active speakers.

    ``speaker_logits`` (..., speakers) are log odds of each speaker, ``count_logits`` (..., speakers + 1) are of the
    size of the set. The probabilities add up to the expected number of speakers.
    """
    with torch.autocast(speaker_logits.device.type, enabled=False):  # 16 bits have no number between 0.996 and 1
        return _speaker_marginals(speaker_logits.float(), count_logits.float())


def _speaker_marginals(speaker_logits: torch.Tensor, count_logits: torch.Tensor) -> torch.Tensor:
    speakers = speaker_logits.shape[-1]
    sets = torch.cartesian_prod(*[torch.arange(2, dtype=torch.float32, device=speaker_logits.device)] * speakers)
    sizes = sets.sum(-1).long()
    set_logits = speaker_logits @ sets.T
    # A mask (`sizes == size`) would make the processor wait for a GPU.
    sets_of_size = [comb(speakers, size) for size in range(speakers + 1)]
    by_size = set_logits[..., sizes.argsort(stable=True)].split(sets_of_size, dim=-1)
    per_size = torch.stack([logits.logsumexp(-1) for logits in by_size], dim=-1)
    log_probabilities = (count_logits.log_softmax(-1) - per_size)[..., sizes] + set_logits
    return (log_probabilities.exp() @ sets).clamp(max=1)  # a loss refuses a probability that rounds to more


def assign_by_rank(activity: torch.Tensor) -> torch.Tensor:
    """Activity (..., speakers) with the same sum, given to the most active speakers first: up to 1 each.

    So an uncertainty about who speaks is decoded neither as silence nor as several speakers.
    """
    rank = activity.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
    return (activity.sum(-1, keepdim=True) - rank).clamp(0, 1)


def counting_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross entropy of the number of speakers.

    ``logits`` are (batch, frames, speakers + 1), ``targets`` 0/1 (batch, frames, speakers).
    """
    return functional.cross_entropy(logits.flatten(0, 1), targets.sum(-1).long().flatten())
