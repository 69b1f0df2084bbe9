"""What moves a network's weights by a recipe: its optimizer, the course of the learning rate, what is frozen."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

import torch

from diarbench.backends.recipes import Recipe
from diarbench.reports.records import UserError


def freeze(network: torch.nn.Module, patterns: Sequence[str]) -> list[torch.nn.Module]:
    """Take the parameters whose names fit a pattern out of training.

    Returns the modules all of whose parameters are frozen: kept in evaluation mode, their running statistics and
    dropout rest as well. Raises UserError for a pattern that fits nothing, or where nothing is left to train.
    """
    for pattern in patterns:
        _fitting(network, pattern, "freeze")
    for name, parameter in network.named_parameters():
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise UserError("freeze: every parameter of the network is frozen; leave some to train")
    resting = []
    for module in network.modules():
        own = list(module.parameters())
        if own and not any(parameter.requires_grad for parameter in own):
            resting.append(module)
    return resting


def optimizer_of(network: torch.nn.Module, recipe: Recipe, factors: Mapping[str, float]) -> torch.optim.Optimizer:
    """The recipe's optimizer, with a group of parameters for each factor of the learning rate.

    Raises UserError for a pattern that fits no parameter, or a value that the optimizer refuses.
    """
    for pattern in factors:
        _fitting(network, pattern, "layer_rates")
    groups: dict[float, list[torch.nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            factor = next((factors[pattern] for pattern in factors if fnmatchcase(name, pattern)), 1.0)
            groups.setdefault(factor, []).append(parameter)
    made = getattr(torch.optim, recipe.optimizer)
    try:
        optimizer: torch.optim.Optimizer = made(
            [{"params": params, "lr": recipe.learning_rate * factor} for factor, params in groups.items()],
            lr=recipe.learning_rate,
            **recipe.optimizer_options,
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"recipe {recipe.name}: optimizer_options: {error}") from error
    return optimizer


def _fitting(network: torch.nn.Module, pattern: str, key: str) -> None:
    if not any(fnmatchcase(name, pattern) for name, _ in network.named_parameters()):
        parts = sorted({".".join(name.split(".")[:2]) for name, _ in network.named_parameters()})
        raise UserError(f"{key}: {pattern!r} fits no parameter of the network; its parts are {', '.join(parts)}")


class LearningRate:
    """The learning rate of every step: a climb to where the recipe's schedule begins, then the schedule."""

    def __init__(self, optimizer: torch.optim.Optimizer, recipe: Recipe, steps_an_epoch: int) -> None:
        """Raises UserError for a value that the schedule refuses."""
        self.optimizer = optimizer
        self.steps = 0
        total = recipe.epochs * steps_an_epoch
        self.climb = round(recipe.warmup * total)
        self.plan = recipe.schedule
        self.schedule: Any = None
        if self.plan:
            made = getattr(torch.optim.lr_scheduler, self.plan.name)
            length = total - self.climb if self.plan.per_step else recipe.epochs - self.climb // steps_an_epoch
            follows = {
                "T_max": length,
                "total_iters": length,
                "total_steps": length,
                "max_lr": [group["lr"] for group in optimizer.param_groups],
            }
            taken = inspect.signature(made).parameters
            options = {name: value for name, value in follows.items() if name in taken} | self.plan.options
            try:
                self.schedule = made(optimizer, **options)
            except (TypeError, ValueError) as error:
                raise UserError(f"recipe {recipe.name}: schedule: {self.plan.name}: {error}") from error
        self.heights = [float(group["lr"]) for group in optimizer.param_groups]
        self._climb()

    def after_step(self) -> None:
        self.steps += 1
        if self.steps <= self.climb:
            self._climb()
        elif self.plan and self.plan.per_step:
            self.schedule.step()

    def after_epoch(self, figure: float) -> None:
        """``figure``: the dev figure by which epochs are held against each other."""
        if self.plan and not self.plan.per_step and self.steps > self.climb:
            self.schedule.step(*([figure] if self.plan.by_figure else []))

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "schedule": self.schedule.state_dict() if self.schedule else None}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The optimizer's own state holds the rates themselves."""
        self.steps = state["steps"]
        if self.schedule:
            self.schedule.load_state_dict(state["schedule"])

    def _climb(self) -> None:
        for group, height in zip(self.optimizer.param_groups, self.heights, strict=True):
            group["lr"] = height * (self.steps + 1) / (self.climb + 1)


class Average:
    """An exponential moving average of the trained weights; young averages forget faster, so that none lags.

    What a batch norm has measured is averaged too: what it measured with the latest weights alone does not fit the
    averaged ones.
    """

    def __init__(self, network: torch.nn.Module, decay: float) -> None:
        self.decay = decay
        self.own: dict[str, torch.Tensor] = {name: p for name, p in network.named_parameters() if p.requires_grad}
        self.own |= {name: b for name, b in network.named_buffers() if name.endswith(("running_mean", "running_var"))}
        self.weights = {name: p.detach().clone() for name, p in self.own.items()}

    @torch.no_grad()
    def after_step(self, steps: int) -> None:
        share = 1 - min(self.decay, (1 + steps) / (10 + steps))
        torch._foreach_lerp_(list(self.weights.values()), [p.detach() for p in self.own.values()], share)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The network with the averaged weights in place of its own."""
        now = {name: p.detach().clone() for name, p in self.own.items()}
        self._put(self.weights)
        try:
            yield
        finally:
            self._put(now)

    @torch.no_grad()
    def _put(self, weights: Mapping[str, torch.Tensor]) -> None:
        for name, parameter in self.own.items():
            parameter.copy_(weights[name])
