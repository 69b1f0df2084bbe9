"""An exponential moving average of the trained weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch


class ExponentialMovingAverage:
    """An exponential moving average of the trained weights and the batch norms' running statistics.

    The decay after n steps is the smaller of ``decay`` and (1 + n) / (10 + n), so that an early average does not lag.
    Running statistics are averaged because those of the latest weights do not fit the averaged ones.

    torch's ``AveragedModel`` yields the same parameters (a test), but copies the whole network, frozen layers included,
    and averages either no buffer or all, integer counters too; it saves its state under other names.
    """

    def __init__(self, network: torch.nn.Module, decay: float) -> None:
        self.decay = decay
        self.tracked: dict[str, torch.Tensor] = {name: p for name, p in network.named_parameters() if p.requires_grad}
        self.tracked |= {
            name: b for name, b in network.named_buffers() if name.endswith(("running_mean", "running_var"))
        }
        self.weights = {name: tensor.detach().clone() for name, tensor in self.tracked.items()}
        """The averages by name."""

    @torch.no_grad()
    def after_step(self, steps: int) -> None:
        """Update the averages after an optimizer step, the ``steps``-th from 1."""
        decay = min(self.decay, (1 + steps) / (10 + steps))
        latest = [tensor.detach() for tensor in self.tracked.values()]
        torch._foreach_lerp_(list(self.weights.values()), latest, 1 - decay)

    def load(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Replace the averages by those of a checkpoint, moved to the network's device."""
        self.weights = {name: weights[name].to(tensor.device) for name, tensor in self.tracked.items()}

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the context the network has the averaged weights in place of its own."""
        latest = {name: tensor.detach().clone() for name, tensor in self.tracked.items()}
        self._assign(self.weights)
        try:
            yield
        finally:
            self._assign(latest)

    @torch.no_grad()
    def _assign(self, weights: Mapping[str, torch.Tensor]) -> None:
        for name, tensor in self.tracked.items():
            tensor.copy_(weights[name])
