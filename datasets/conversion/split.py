"""Divide recordings at random into train, dev and test."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from diarbench.datasets.conversion.converted import ConvertedRecording
from diarbench.datasets.dataset import SUBSETS, Subset
from diarbench.datasets.grouping import connected
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.names import plural


@dataclass(frozen=True)
class Split:
    """How recordings are divided into subsets if the source does not define them."""

    by: Literal["recording", "speaker"] = "recording"
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)
    seed: int = 0

    def __str__(self) -> str:
        shares = "/".join(f"{share:g}" for share in self.shares)
        return f"drawn by {self.by}, {shares} of the hours to train/dev/test, seed {self.seed}"


def draw(recordings: Sequence[ConvertedRecording], split: Split) -> dict[str, Subset]:
    """Assign a subset to every recording: groups are shuffled, and each goes to the subset that lacks the most hours.

    A group is one recording or, by speaker, all recordings connected by shared speakers, so that no speaker is in two
    subsets. Raises UserError if there are fewer groups than subsets with a share.
    """
    shares = {subset: share for subset, share in zip(SUBSETS, split.shares, strict=True) if share > 0}
    groups = connected(recordings, lambda r: r.speakers) if split.by == "speaker" else [[r] for r in recordings]
    if len(groups) < len(shares):
        by_speaker = split.by == "speaker"
        groups_text = f" in {plural(len(groups), 'group')} without shared speakers" if by_speaker else ""
        remedy = "split by recording" if by_speaker else "cut long ones with --cut-s"
        raise UserError(
            f"{plural(len(recordings), 'recording')}{groups_text}: too few for {len(shares)} subsets; "
            f"{remedy}, or set the share of a subset to 0"
        )
    groups.sort(key=lambda group: min(r.uri for r in group))
    random.Random(split.seed).shuffle(groups)
    groups.sort(key=len, reverse=True)  # a stable sort; large groups first, while subsets have room
    total_s = sum(r.audio_s for r in recordings)
    assigned_s = dict.fromkeys(shares, 0.0)
    drawn: dict[str, Subset] = {}
    for position, group in enumerate(groups):
        empty = [subset for subset in shares if not assigned_s[subset]]
        choices = empty if len(groups) - position <= len(empty) else list(shares)
        subset = max(choices, key=lambda s: shares[s] / sum(shares.values()) * total_s - assigned_s[s])
        assigned_s[subset] += sum(r.audio_s for r in group)
        drawn.update((r.uri, subset) for r in group)
    return drawn
