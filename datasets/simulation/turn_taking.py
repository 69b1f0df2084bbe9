"""Turn-taking: fitted to a dataset or set by options, and sampled as conversations."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from diarbench.datasets.dataset import SUBSETS, Dataset, Subset
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.rttm import Turn
from diarbench.datasets.simulation.segments import SpeechSegment

if TYPE_CHECKING:
    import numpy as np


log = logging.getLogger(__name__)


class Step(NamedTuple):
    """A turn: how long, how far from the end of all speech before it (negative: it overlaps), and who takes it."""

    length_s: float
    distance_s: float
    speaker: int
    """By order of appearance in the island."""


class Island(NamedTuple):
    """A silence (the first step's distance) and the unbroken speech after it."""

    steps: tuple[Step, ...]
    resumes: bool
    """Whoever spoke last before the silence goes on."""

    @property
    def speakers(self) -> int:
        return 1 + max(step.speaker for step in self.steps)


@dataclass(frozen=True)
class TurnTaking:
    """How conversations go: islands, and numbers of speakers, to draw from."""

    islands: tuple[Island, ...]
    speakers: tuple[int, ...]


def fit_turn_taking(dataset: Dataset, subsets: Sequence[Subset] = SUBSETS) -> TurnTaking:
    """The turn-taking of a dataset's references, in these subsets. Raises UserError where nobody speaks."""
    recordings = [recording for subset in subsets for recording in dataset.recordings.get(subset, ())]
    style = measure_turn_taking((recording.turns, recording.duration_s) for recording in recordings)
    if not style.islands:
        where = "it" if set(subsets) == set(SUBSETS) else " and ".join(subsets)
        raise UserError(f"{dataset.root}: nobody speaks in {where}, so there is nothing to fit")
    return style


def measure_turn_taking(recordings: Iterable[tuple[Sequence[Turn], float]]) -> TurnTaking:
    """The turn-taking of recordings, each with its turns and its length in seconds.

    The silence at a recording's end goes with that at its beginning, for which speech comes round again.
    """
    islands: list[Island] = []
    speakers: list[int] = []
    for turns, duration_s in recordings:
        ordered = sorted(turns)
        end_s = min(0.0, max((turn.end_s for turn in turns), default=0.0) - duration_s)
        last, before, steps, names = "", "", [], {}  # type: ignore[var-annotated]
        for turn in ordered:
            distance_s = turn.start_s - end_s
            if steps and distance_s > 0:
                islands.append(Island(tuple(steps), before == next(iter(names))))
                before, steps, names = last, [], {}
            steps.append(Step(turn.end_s - turn.start_s, distance_s, names.setdefault(turn.speaker, len(names))))
            if turn.end_s > end_s:
                end_s, last = turn.end_s, turn.speaker
        if steps:
            islands.append(Island(tuple(steps), before == next(iter(names))))
            speakers.append(len({turn.speaker for turn in turns}))
    return TurnTaking(tuple(islands), tuple(speakers))


def turn_taking_from_options(
    pieces: Sequence[SpeechSegment],
    *,
    overlapped: float,
    overlap_share: tuple[float, float],
    pause_s: float,
    speakers: tuple[int, ...],
    seed: int,
    turn_s: tuple[float, float] | None = None,
) -> TurnTaking:
    """Turns as long as the material's pieces, or between ``turn_s`` long; a share of them overlaps the one before.

    By so much of its own length, but by no more than what the turn before has left to itself. The others come after a
    pause, exponential with a mean of ``pause_s`` seconds.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    lengths_s = [piece.length_s for piece in pieces]
    if turn_s:
        lengths_s = np.random.default_rng([seed, 1]).uniform(*turn_s, len(pieces)).tolist()
    islands: list[list[Step]] = []
    alone_s = 0.0
    for length_s in lengths_s:
        if islands and rng.random() < overlapped:
            overlap_s = min(rng.uniform(*overlap_share) * length_s, alone_s)
            islands[-1].append(Step(length_s, -overlap_s, 1 - islands[-1][-1].speaker))
            alone_s = length_s - overlap_s
        else:
            islands.append([Step(length_s, rng.exponential(pause_s), 0)])
            alone_s = length_s
    return TurnTaking(tuple(Island(tuple(steps), resumes=False) for steps in islands), speakers)


class IslandSampler:
    """The islands of a style, shuffled; each comes once before any comes again, in whichever conversation it fits.

    So that many conversations together are like what was fitted. Islands of more than ``most`` speakers never come, and
    a warning says how many.
    """

    def __init__(self, style: TurnTaking, most: int, rng: np.random.Generator) -> None:
        self.islands = [island for island in style.islands if island.speakers <= most]
        self.rng = rng
        self.left: list[Island] = []
        if not self.islands:
            raise UserError(f"no stretch of the conversations to be like has as few as {most} speakers")
        self.fewest = min(island.speakers for island in self.islands)
        """Speakers that a conversation needs for any island to fit."""
        if len(self.islands) < len(style.islands):
            lost = len(style.islands) - len(self.islands)
            log.warning("%d of %d stretches have more than %d speakers: left out", lost, len(style.islands), most)

    def draw(self, speakers: int) -> Island:
        """The next island of at most so many speakers, which must not be under ``fewest``."""
        while True:
            for place, island in enumerate(self.left):
                if island.speakers <= speakers:
                    return self.left.pop(place)
            self.left += [self.islands[place] for place in self.rng.permutation(len(self.islands))]


def sample_conversation(
    sampler: IslandSampler, speakers: Sequence[str], duration_s: float, rng: np.random.Generator
) -> list[Turn]:
    """Who speaks when, until about ``duration_s``."""
    turns: list[Turn] = []
    end_s, last = 0.0, ""
    while end_s < duration_s:
        island = sampler.draw(len(speakers))
        cast = [str(name) for name in rng.permutation(list(speakers))]
        if last and (cast[0] == last) != island.resumes:
            other = cast.index(last) if island.resumes else 1
            cast[0], cast[other] = cast[other], cast[0]
        for step in island.steps:
            start_s = end_s + step.distance_s
            turns.append(Turn(round(start_s, 6), round(start_s + step.length_s, 6), cast[step.speaker]))
            if turns[-1].end_s > end_s:
                end_s, last = turns[-1].end_s, turns[-1].speaker
    return turns
