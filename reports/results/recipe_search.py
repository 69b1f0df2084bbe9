"""The record of a search for a recipe."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from diarbench.datasets.io.records import Record


class RecipeTrial(Record):
    """One recipe of a search."""

    changes: dict[str, Any]
    """Its values by key, where they differ from the recipe that was searched around."""
    dev_der: tuple[float, ...]
    """DER on dev of its best epoch so far at each rung that it reached, as fractions."""
    audio_s: float
    """Audio of its training steps."""


class RecipeSearch(Record):
    """A search by successive halving; trial 0 is the recipe that was searched around."""

    rungs: tuple[int, ...]
    """Epochs at which the worse half of the recipes was dropped; at the last one the best was chosen."""
    trials: tuple[RecipeTrial, ...]
    chosen: int
    importance: dict[str, float] = Field(default_factory=dict)
    """By key, the share of the difference between good and bad recipes at the first rung that it explains."""
    seconds: float
    """Time spent on training and measuring all recipes."""

    @property
    def importance_text(self) -> str:
        """``what mattered: learning_rate 60%, window_s 40%``; empty where that is not known."""
        ranked = sorted(self.importance.items(), key=lambda item: -item[1])
        mattered = ", ".join(f"{key} {share:.0%}" for key, share in ranked if share >= 0.01)
        return f"what mattered: {mattered}" if mattered else ""

    @property
    def audio_s(self) -> float:
        """Audio of all training steps."""
        return sum(trial.audio_s for trial in self.trials)
