"""The bounds on the number of speakers that an end-to-end network cannot keep. Imports no toolkit."""

from __future__ import annotations

from diarbench.backends.base import SpeakerBounds


def check_bounds(bounds: SpeakerBounds) -> None:
    """Raises UserError for a least number of speakers alone: an output without speech cannot be made to speak."""
    bounds.refuse_least("an end-to-end network")
