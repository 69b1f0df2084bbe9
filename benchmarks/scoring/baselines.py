"""Trivial systems whose error rates put the others in perspective."""

from __future__ import annotations

from collections.abc import Sequence

from diarbench.datasets.io.rttm import Region, Turn


def silence(regions: Sequence[Region]) -> list[Turn]:
    """No turns: all reference speech is missed, and there is no other error."""
    return []


def one_speaker(regions: Sequence[Region]) -> list[Turn]:
    """One speaker throughout each scored region; its confusion is what separating speakers can gain."""
    return [Turn(*region, "speaker") for region in regions]
