"""The training objective of a recipe: which losses, with what weights. `losses` computes them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field, model_validator

from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.records import Record

Weight = Annotated[float, Field(ge=0, le=1e6)]
"""Of a loss. Infinity passes every lower limit."""


class Objective(Record):
    """The losses of a fine-tuning, for every toolkit; a network's ``loss_description`` names those that it ignores."""

    name: Literal["powerset", "multilabel"] = "powerset"
    """pyannote's loss: ``powerset`` is its own cross entropy over sets of speakers, ``multilabel`` binary cross entropy
    per speaker. Sortformer's loss is always per speaker."""
    head: Literal["kept", "fresh"] = "kept"
    """Output layer of a multilabel pyannote: ``kept`` uses the powerset's marginals, ``fresh`` a new sigmoid layer."""
    dice: Weight = 0.0
    """Weight of a soft Dice term in the multilabel loss."""
    vad: Weight = 0.0
    """Weight of the auxiliary voice-activity loss; the loss is reported even where this is 0."""
    ats_weight: Weight | None = Field(default=None, validation_alias=AliasChoices("ats_weight", "arrival"))
    """Weight of Sortformer's loss against speakers sorted by arrival time; None: the network's own configuration."""
    pil_weight: Weight | None = Field(default=None, validation_alias=AliasChoices("pil_weight", "permutation"))
    """Weight of Sortformer's permutation-invariant loss; None: the network's own. The two are scaled to add up to 1."""
    affinity: Weight = 0.0
    """Weight of a deep-clustering loss half-way up Sortformer's and Nemotron's encoder, which brings the frames of each
    speaker together; only in the offline form."""
    phantom: Weight = 0.0
    """Weight of Sortformer's and Nemotron's phantom-speaker loss, on the outputs that have no speaker in a window."""
    outputs: int | None = Field(default=None, ge=2, le=8)
    """Outputs of NeMo's Sortformer, one per speaker; a network with fewer gets new ones, which start silent. None: the
    network's own."""

    @model_validator(mode="after")
    def _check_combination(self) -> Objective:
        if self.name == "powerset" and (self.head == "fresh" or self.dice):
            raise ValueError("'head: fresh' and 'dice' need 'name: multilabel'")
        if self.ats_weight == 0 and self.pil_weight == 0:
            raise ValueError("ats_weight and pil_weight are both 0, so Sortformer has no loss")
        return self

    def arrival_and_permutation_weights(self, own_ats: float, own_pil: float) -> tuple[float, float]:
        """``ats_weight`` and ``pil_weight``, scaled to add up to 1; where one is None, the network's own.

        Raises UserError where both are 0.
        """
        ats_weight = own_ats if self.ats_weight is None else self.ats_weight
        pil_weight = own_pil if self.pil_weight is None else self.pil_weight
        total = ats_weight + pil_weight
        if not total > 0:
            raise UserError(f"ats_weight {ats_weight:g} and pil_weight {pil_weight:g}: one of them must be above 0")
        return ats_weight / total, pil_weight / total

    def renamed(self, name: str) -> dict[str, Any]:
        """The settings with another name, without those that only the old one has."""
        settings = self.model_dump(exclude={"head", "dice"} if name == "powerset" else set())
        return {**settings, "name": name}
