"""Draw recordings into train, dev and test."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from diarbench.datasets.conversion.converted import ConvertedRecording
from diarbench.datasets.dataset import SUBSETS, Subset
from diarbench.datasets.io.errors import UserError


@dataclass(frozen=True)
class Split:
    """How recordings are drawn into subsets where a source has none."""

    by: Literal["recording", "speaker"] = "recording"
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)
    seed: int = 0

    def __str__(self) -> str:
        shares = "/".join(f"{share:g}" for share in self.shares)
        return f"drawn by {self.by}, {shares} of the hours to train/dev/test, seed {self.seed}"


def draw(recordings: Sequence[ConvertedRecording], split: Split) -> dict[str, Subset]:
    """A subset for every recording: shuffled by the seed, each group goes where most hours are wanting.

    A group is a recording; or, by speaker, all recordings that speakers tie together, so that none crosses.
    Raises UserError where there are too few groups for the subsets that are to have a share.
    """
    wanted = {subset: share for subset, share in zip(SUBSETS, split.shares, strict=True) if share > 0}
    groups = _tied_by_speaker(recordings) if split.by == "speaker" else [[r] for r in recordings]
    if len(groups) < len(wanted):
        ties = "their speakers tie into" if split.by == "speaker" else "are"
        raise UserError(
            f"{len(recordings)} recordings {ties} {len(groups)} groups, too few for {len(wanted)} subsets; "
            "split by recording, or give a subset no share"
        )
    groups.sort(key=lambda group: min(r.uri for r in group))
    random.Random(split.seed).shuffle(groups)
    groups.sort(key=len, reverse=True)  # stable: the big ones first, while there is room for them
    total_s = sum(r.audio_s for r in recordings)
    given_s = dict.fromkeys(wanted, 0.0)
    drawn: dict[str, Subset] = {}
    for position, group in enumerate(groups):
        empty = [subset for subset in wanted if not given_s[subset]]
        choice = empty if len(groups) - position <= len(empty) else list(wanted)
        subset = max(choice, key=lambda s: wanted[s] / sum(wanted.values()) * total_s - given_s[s])
        given_s[subset] += sum(r.audio_s for r in group)
        drawn.update((r.uri, subset) for r in group)
    return drawn


def _tied_by_speaker(recordings: Sequence[ConvertedRecording]) -> list[list[ConvertedRecording]]:
    """Groups of recordings that share speakers, directly or through others."""
    group_of: dict[str, list[ConvertedRecording]] = {}
    groups: list[list[ConvertedRecording]] = []
    for recording in recordings:
        group = [recording]
        for other in {id(group_of[s]): group_of[s] for s in recording.speakers if s in group_of}.values():
            group += other
            groups.remove(other)
        groups.append(group)
        group_of.update((speaker, group) for member in group for speaker in member.speakers)
    return groups
