"""Systems that know nothing, or one thing: the rows that tell what a diarization error rate is worth."""

from __future__ import annotations

from collections.abc import Sequence

from diarbench.datasets.rttm import Region, Turn


def silence(regions: Sequence[Region]) -> list[Turn]:
    """Nobody speaks: all that is missed, and nothing else."""
    return []


def one_speaker(regions: Sequence[Region]) -> list[Turn]:
    """One speaker, from end to end of each scored region: what is left to gain by telling speakers apart."""
    return [Turn(*region, "speaker") for region in regions]
