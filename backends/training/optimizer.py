"""The recipe's optimizer, its parameter groups, and frozen parameters.

Which optimizers a recipe may name is checked in `diarbench.backends.recipes.torch_classes`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import torch

from diarbench.backends.recipes.schema import Recipe
from diarbench.datasets.io.errors import UserError


def freeze(network: torch.nn.Module, patterns: Sequence[str]) -> list[torch.nn.Module]:
    """Exclude the parameters whose names match a pattern from training.

    Returns the modules all of whose parameters are frozen; in evaluation mode their running statistics stay fixed and
    their dropout is off. Raises UserError for a pattern that matches nothing, or where nothing is left to train.
    """
    for pattern in patterns:
        _check_matches(network, pattern, "freeze")
    for name, parameter in network.named_parameters():
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise UserError("freeze: every parameter of the network is frozen; leave some unfrozen")
    frozen_modules = []
    for module in network.modules():
        own = list(module.parameters())
        if own and not any(parameter.requires_grad for parameter in own):
            frozen_modules.append(module)
    return frozen_modules


def build_optimizer(network: torch.nn.Module, recipe: Recipe, factors: Mapping[str, float]) -> torch.optim.Optimizer:
    """The recipe's optimizer, with one parameter group per factor of the learning rate.

    Raises UserError for a pattern that matches no parameter, or a value that the optimizer rejects.
    """
    for pattern in factors:
        _check_matches(network, pattern, "layer_rates")
    groups: dict[float, list[torch.nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            factor = next((factors[pattern] for pattern in factors if fnmatchcase(name, pattern)), 1.0)
            groups.setdefault(factor, []).append(parameter)
    optimizer_class = getattr(torch.optim, recipe.optimizer)
    try:
        optimizer: torch.optim.Optimizer = optimizer_class(
            [{"params": params, "lr": recipe.learning_rate * factor} for factor, params in groups.items()],
            lr=recipe.learning_rate,
            **recipe.optimizer_options,
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"recipe {recipe.name}: optimizer_options: {error}") from error
    return optimizer


def _check_matches(network: torch.nn.Module, pattern: str, key: str) -> None:
    if not any(fnmatchcase(name, pattern) for name, _ in network.named_parameters()):
        parts = sorted({".".join(name.split(".")[:2]) for name, _ in network.named_parameters()})
        raise UserError(f"{key}: {pattern!r} matches no parameter of the network; its parts are {', '.join(parts)}")
