"""What a network is trained on: which losses, and with what weights. The losses themselves are in `losses`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from diarbench.reports.records import Record


class Objective(Record):
    """The losses of a fine-tuning, for either toolkit; a network's ``trained_on`` says what it had no use for."""

    name: Literal["powerset", "multilabel"] = "powerset"
    """pyannote's: ``powerset`` is its own cross entropy over sets of speakers, ``multilabel`` binary cross entropy a
    speaker. Sortformer's is always a speaker at a time."""
    head: Literal["kept", "fresh"] = "kept"
    """Of a multilabel pyannote: ``kept`` takes the powerset's marginals, ``fresh`` a new layer of sigmoids."""
    dice: float = Field(default=0.0, ge=0)
    """Weight of a soft Dice term in the multilabel loss."""
    vad: float = Field(default=0.0, ge=0)
    """Weight of the auxiliary voice-activity loss; it is told even where this is 0."""
    arrival: float = Field(default=0.5, ge=0)
    """Sortformer's share of the loss against speakers sorted by arrival; the two shares are scaled to add up to 1."""
    permutation: float = Field(default=0.5, ge=0)
    """Sortformer's share of the loss against speakers in the order that fits best."""
    affinity: float = Field(default=0.0, ge=0)
    """Weight of a loss that draws a speaker's frames together half-way up Sortformer's encoder, in its offline form."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Objective:
        if self.name == "powerset" and (self.head == "fresh" or self.dice):
            raise ValueError("a fresh head and a Dice term belong to 'name: multilabel'")
        if self.arrival + self.permutation == 0:
            raise ValueError("arrival and permutation are both 0, which leaves Sortformer no loss")
        return self

    def renamed(self, name: str) -> dict[str, Any]:
        """Its settings with another name, without those that belong to the old one alone."""
        settings = self.model_dump(exclude={"head", "dice"} if name == "powerset" else set())
        return {**settings, "name": name}
