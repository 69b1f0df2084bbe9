"""A few steps of a recipe's optimizer and schedule on four numbers: what torch rejects is found before a run."""

from __future__ import annotations

import warnings

import torch

from diarbench.backends.recipes.schema import Recipe
from diarbench.backends.training.optimizer import build_optimizer
from diarbench.backends.training.schedule import WarmupSchedule
from diarbench.datasets.io.errors import UserError

STEPS, HIGHEST_RATE = 100, 1e6

OF_DEVICES = ("capturable", "foreach", "fused")
"""Options that depend on the device, which is another one in the run."""


def rehearse(recipe: Recipe) -> None:
    """Raises ValueError, with the key, for an option that torch rejects, or a learning rate that leaves all bounds."""
    options = {name: value for name, value in recipe.optimizer_options.items() if name not in OF_DEVICES}
    recipe = recipe.model_copy(update={"optimizer_options": options})
    layer = torch.nn.Linear(2, 2, bias=False)
    key = f"optimizer_options: {recipe.optimizer}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            optimizer = build_optimizer(layer, recipe, {})
            layer.weight.grad = torch.ones_like(layer.weight)
            optimizer.step()
            key = f"schedule: {recipe.schedule.name if recipe.schedule else None}"
            schedule = WarmupSchedule(optimizer, recipe, steps_per_epoch=1)
            for _ in range(min(STEPS, recipe.epochs)):
                schedule.after_step()
                schedule.after_epoch(0.5)
                rate = optimizer.param_groups[0]["lr"]
                if not 0 <= rate <= HIGHEST_RATE:
                    raise ValueError(f"the learning rate becomes {rate:g}")
    except UserError as error:
        raise ValueError(str(error).removeprefix(f"recipe {recipe.name}: ")) from error
    except Exception as error:  # torch raises many kinds
        raise ValueError(f"{key}: {' '.join(str(error).split()) or type(error).__name__}") from error
