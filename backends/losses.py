"""Losses that the toolkits lack, computed from the speech probabilities of any network.

They use the logarithms of a probability and of its complement: a confident, wrong output then has a large loss and a
gradient of ordinary size, whereas a probability rounded to 1 has neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from math import comb
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch.nn import functional

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
    sets, speakers = mapping.shape
    counts = [_sets_with_a_speaker(sets, speakers)]
    counts.append(sets - counts[0])
    # Boolean masks would make the processor wait for a GPU.
    orders = mapping.T.argsort(dim=1, descending=True, stable=True)
    by_speaker = [log_probabilities[..., order].split(counts, dim=-1) for order in orders]
    speaks, silent = (torch.stack([pair[k].logsumexp(-1) for pair in by_speaker], dim=-1) for k in (0, 1))
    return SpeakerLogProbabilities(
        LogProbabilities(speaks, silent),
        LogProbabilities(log_probabilities[..., 1:].logsumexp(-1), log_probabilities[..., 0]),
    )


def _sets_with_a_speaker(sets: int, speakers: int) -> int:
    """How many sets of a powerset have a given speaker: the same number for each."""
    counted, size, containing = 1, 0, 0
    while counted < sets:
        size += 1
        counted += comb(speakers, size)
        containing += comb(speakers - 1, size - 1)
    return containing


def sigmoid_marginals(activity: torch.Tensor) -> SpeakerLogProbabilities:
    """Marginals of activity (batch, frames, speakers) in [0, 1], with speakers taken as independent."""
    speaks = activity.clamp(min=1e-30).log()
    silent = torch.log1p(-activity.clamp(max=1 - 1e-6))
    nobody = silent.sum(-1)
    return SpeakerLogProbabilities(
        LogProbabilities(speaks, silent), LogProbabilities((-torch.expm1(nobody)).clamp(min=1e-30).log(), nobody)
    )


def logit_marginals(logits: torch.Tensor) -> SpeakerLogProbabilities:
    """Marginals of the logits (batch, frames, speakers) of a sigmoid layer, with speakers taken as independent."""
    speaks, silent = functional.logsigmoid(logits), functional.logsigmoid(-logits)
    nobody = silent.sum(-1)
    anybody = (-torch.expm1(nobody)).clamp(min=1e-30).log()
    return SpeakerLogProbabilities(LogProbabilities(speaks, silent), LogProbabilities(anybody, nobody))


def in_order_of_arrival(targets: torch.Tensor) -> torch.Tensor:
    """0/1 targets (batch, frames, speakers) with the speakers sorted by their first frame, silent ones last."""
    first = torch.where(targets.any(1), targets.argmax(1), targets.shape[1])
    return _reordered(targets, first.argsort(dim=1, stable=True))


def in_best_order(probabilities: LogProbabilities, targets: torch.Tensor) -> torch.Tensor:
    """0/1 targets with the speakers in the order of least binary cross entropy, in each window of its own.

    This is the permutation of permutation-invariant training, found as an assignment (Hungarian method): the
    permutations of eight speakers are too many to list.
    """
    speaks, silent = (each.detach().to(targets.dtype).transpose(1, 2) for each in probabilities)
    # Where a network is trained in 16 bits, a product would have them too: costs of a thousand frames, in steps of 8.
    with torch.autocast(targets.device.type, enabled=False):
        costs = -(speaks @ targets + silent @ (1 - targets))
    return in_cheapest_order(costs, targets)


def in_cheapest_order(costs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Targets (batch, frames, speakers) with the speakers in the order of least cost, in each window of its own.

    Waits for a GPU once, to read the costs (batch, outputs, speakers). Those that are not finite decide nothing, and
    raise no error: the loss is not finite either, and says so.
    """
    order = np.stack([linear_sum_assignment(window)[1] for window in costs.detach().nan_to_num().cpu().numpy()])
    return _reordered(targets, torch.from_numpy(order).to(targets.device, non_blocking=True))


def _reordered(targets: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    return targets.gather(2, order[:, None, :].expand_as(targets))


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


def phantom_speaker_loss(probabilities: LogProbabilities, targets: torch.Tensor) -> torch.Tensor:
    """Binary cross entropy of the outputs without a speaker, for 0/1 targets in the outputs' order.

    Mean over their frames, in windows (batch, frames, speakers); 0 where each output has a speaker.
    """
    empty = ~targets.any(1, keepdim=True).expand_as(targets)
    return -_mean_where(empty, probabilities.silent)


def _mean_where(mask: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """The mean of the values in a mask, 0 for an empty one. Indexing by the mask would wait for a GPU."""
    return torch.where(mask, values, 0).sum() / mask.sum().clamp(min=1)


def in_32_bits(module: torch.nn.Module, inputs: object, logits: torch.Tensor) -> torch.Tensor:
    """A forward hook for the layer before a sigmoid: in 16 bits, probabilities above 0.998 are 1."""
    return logits.float() if logits.dtype.itemsize < 4 else logits


def finite_part(activity: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Activity without NaN, and what to add to a loss of it: 0, or NaN where there was one.

    torch's binary cross entropy of a NaN is an error on a CPU. On a GPU it makes every later call of the process fail.
    """
    finite = activity.nan_to_num()
    return finite, (activity - finite).detach().sum()


@contextmanager
def first_outputs(modules: Iterable[torch.nn.Module]) -> Iterator[Mapping[torch.nn.Module, torch.Tensor]]:
    """The output of each module's first call inside the block, filled in when it is called."""
    outputs: dict[torch.nn.Module, torch.Tensor] = {}

    def keep(module: torch.nn.Module, _: object, output: torch.Tensor) -> None:
        outputs.setdefault(module, output)

    with ExitStack() as stack:
        for module in modules:
            stack.callback(module.register_forward_hook(keep).remove)
        yield outputs


def affinity_loss(frames: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """How badly frames (batch, frames, size) tell speakers apart, for 0/1 targets (batch, frames, speakers).

    Binary cross entropy of "the same speaker", from the cosine of two frames, over all pairs of a window's frames with
    a single speaker; pairs of one speaker and pairs of two speakers count half each. This is deep clustering (Hershey
    et al., 2016) as an auxiliary loss, as in Fujita et al., "End-to-end neural speaker diarization with
    permutation-free objectives" (2019). 0 where no frame has a single speaker. Computed in 32 bits.
    """
    with torch.autocast(frames.device.type, enabled=False):
        unit = functional.normalize(frames.float(), dim=-1)
        logits = 10 * (unit @ unit.transpose(1, 2)) - 5
    alone = targets * (targets.sum(-1, keepdim=True) == 1)
    same = alone @ alone.transpose(1, 2) > 0
    single = alone.any(-1)
    different = single.unsqueeze(1) & single.unsqueeze(2) & ~same
    return (_mean_where(same, functional.softplus(-logits)) + _mean_where(different, functional.softplus(logits))) / 2


def multilabel_loss(probabilities: SpeakerLogProbabilities, targets: torch.Tensor, dice_weight: float) -> torch.Tensor:
    """Binary cross entropy per speaker with a Dice term, for 0/1 targets in the network's order of speakers."""
    loss = binary_cross_entropy(probabilities.each, targets)
    return loss + dice_weight * dice_loss(probabilities.each.speaks.exp(), targets) if dice_weight else loss


def weighted(segmentation: torch.Tensor, vad: torch.Tensor, objective: Objective) -> torch.Tensor:
    """The total loss that training minimises."""
    return segmentation + objective.vad * vad if objective.vad else segmentation


def describe_phantom(objective: Objective) -> str:
    """The phantom-speaker loss in words, after those of the loss that it is added to."""
    return f", phantom speakers of weight {objective.phantom:g}" if objective.phantom else ""


def describe_objective(segmentation: str, objective: Objective, network: str, unused: Mapping[str, bool]) -> str:
    """An objective in words, from the description of its segmentation loss.

    ``unused`` lists settings that networks of this name ignore, and whether the objective has each of them.
    """
    auxiliary = (
        f"with a voice-activity loss of weight {objective.vad:g}" if objective.vad else "voice activity only reported"
    )
    ignored = ", ".join(setting for setting, is_set in unused.items() if is_set)
    return f"{segmentation}; {auxiliary}" + (f"; not used by {network}: {ignored}" if ignored else "")
