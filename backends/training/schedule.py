"""The learning rate of every step."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch

from diarbench.backends.recipes.schema import Recipe
from diarbench.datasets.io.errors import UserError


class WarmupSchedule:
    """Linear warm-up to the learning rate at which the recipe's schedule starts, then the schedule."""

    def __init__(self, optimizer: torch.optim.Optimizer, recipe: Recipe, steps_per_epoch: int) -> None:
        """Raises UserError for a value that the schedule rejects."""
        self.optimizer = optimizer
        self.steps = 0
        total = recipe.epochs * steps_per_epoch
        self.warmup_steps = round(recipe.warmup * total)
        self.plan = recipe.schedule
        self.schedule: Any = None
        if self.plan:
            schedule_class = getattr(torch.optim.lr_scheduler, self.plan.name)
            length = (
                total - self.warmup_steps
                if self.plan.per_step
                else recipe.epochs - self.warmup_steps // steps_per_epoch
            )
            defaults = {
                "T_max": length,
                "total_iters": length,
                "total_steps": length,
                "max_lr": [group["lr"] for group in optimizer.param_groups],
            }
            parameters = inspect.signature(schedule_class).parameters
            options = {name: value for name, value in defaults.items() if name in parameters} | self.plan.options
            try:
                self.schedule = schedule_class(optimizer, **options)
            except (TypeError, ValueError) as error:
                raise UserError(f"recipe {recipe.name}: schedule: {self.plan.name}: {error}") from error
        self.base_lrs = [float(group["lr"]) for group in optimizer.param_groups]
        self._warm_up()

    def after_step(self) -> None:
        self.steps += 1
        if self.steps <= self.warmup_steps:
            self._warm_up()
        elif self.plan and self.plan.per_step:
            self.schedule.step()

    def after_epoch(self, figure: float) -> None:
        """``figure``: the dev figure by which the recipe compares epochs."""
        if self.plan and not self.plan.per_step and self.steps > self.warmup_steps:
            self.schedule.step(*([figure] if self.plan.by_figure else []))

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "schedule": self.schedule.state_dict() if self.schedule else None}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the position; the rates themselves are in the optimizer's state."""
        self.steps = state["steps"]
        if self.schedule:
            self.schedule.load_state_dict(state["schedule"])

    def _warm_up(self) -> None:
        for group, base_lr in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = base_lr * (self.steps + 1) / (self.warmup_steps + 1)
