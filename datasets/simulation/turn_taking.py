"""Turn-taking: fitting it to a dataset, defining it by options, and sampling conversations from it."""

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
    """A turn: its length, its distance from the end of all earlier speech (negative: overlap), and its speaker."""

    length_s: float
    distance_s: float
    speaker: int
    """Numbered by order of appearance in the island."""


class Island(NamedTuple):
    """A silence (the first step's distance) and the unbroken speech after it."""

    steps: tuple[Step, ...]
    resumes: bool
    """Whether the first speaker is the last one before the silence."""

    @property
    def speakers(self) -> int:
        return 1 + max(step.speaker for step in self.steps)


@dataclass(frozen=True)
class TurnTaking:
    """A style of conversation: the islands and the numbers of speakers to sample from."""

    islands: tuple[Island, ...]
    speakers: tuple[int, ...]


def fit_turn_taking(dataset: Dataset, subsets: Sequence[Subset] = SUBSETS) -> TurnTaking:
    """The turn-taking of a dataset's references in these subsets. Raises UserError if they contain no speech."""
    recordings = [recording for subset in subsets for recording in dataset.recordings.get(subset, ())]
    style = measure_turn_taking((recording.turns, recording.duration_s) for recording in recordings)
    if not style.islands:
        where = "" if set(subsets) == set(SUBSETS) else f" of {' and '.join(subsets)}"
        raise UserError(f"{dataset.root}: the references{where} contain no speech to fit turn-taking to")
    return style


def measure_turn_taking(recordings: Iterable[tuple[Sequence[Turn], float]]) -> TurnTaking:
    """The turn-taking of recordings, each given as its turns and its duration in seconds.

    The silence at a recording's end is added to that at its beginning, as if the recording were a loop.
    """
    islands: list[Island] = []
    speakers: list[int] = []
    for turns, duration_s in recordings:
        ordered = sorted(turns)
        end_s = min(0.0, max((turn.end_s for turn in turns), default=0.0) - duration_s)
        last, last_before, steps, names = "", "", [], {}  # type: ignore[var-annotated]
        for turn in ordered:
            distance_s = turn.start_s - end_s
            if steps and distance_s > 0:
                islands.append(Island(tuple(steps), last_before == next(iter(names))))
                last_before, steps, names = last, [], {}
            steps.append(Step(turn.end_s - turn.start_s, distance_s, names.setdefault(turn.speaker, len(names))))
            if turn.end_s > end_s:
                end_s, last = turn.end_s, turn.speaker
        if steps:
            islands.append(Island(tuple(steps), last_before == next(iter(names))))
            speakers.append(len({turn.speaker for turn in turns}))
    return TurnTaking(tuple(islands), tuple(speakers))


def turn_taking_from_options(
    segments: Sequence[SpeechSegment],
    *,
    overlapped: float,
    overlap_share: tuple[float, float],
    pause_s: float,
    speakers: tuple[int, ...],
    seed: int,
    turn_s: tuple[float, float] | None = None,
) -> TurnTaking:
    """Turn-taking with given pauses and overlap; turns are as long as the segments, or uniform in ``turn_s`` seconds.

    A share ``overlapped`` of the turns overlaps the previous one. The overlap is a share of the turn's own length,
    uniform in ``overlap_share``, and at most the part of the previous turn that is not overlapped yet. Other turns
    follow a pause, exponential with a mean of ``pause_s`` seconds.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    lengths_s = [segment.length_s for segment in segments]
    if turn_s:
        lengths_s = np.random.default_rng([seed, 1]).uniform(*turn_s, len(segments)).tolist()
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
    """Samples the islands of a style without replacement, reshuffling once all that fit have been used.

    Many conversations together therefore match the fitted data. Islands of more than ``max_speakers`` speakers are left
    out, and a warning reports how many. Raises UserError if none remains.
    """

    def __init__(self, style: TurnTaking, max_speakers: int, rng: np.random.Generator) -> None:
        self.islands = [island for island in style.islands if island.speakers <= max_speakers]
        self.rng = rng
        self.remaining: list[Island] = []
        if not self.islands:
            raise UserError(f"the turn-taking has no island of {max_speakers} speakers or fewer")
        self.fewest_speakers = min(island.speakers for island in self.islands)
        """The smallest number of speakers that `draw` accepts."""
        if len(self.islands) < len(style.islands):
            dropped = len(style.islands) - len(self.islands)
            log.warning(
                "%d of %d islands left out: they have more than %d speakers", dropped, len(style.islands), max_speakers
            )

    def draw(self, speakers: int) -> Island:
        """The next island of at most ``speakers`` speakers, which must be at least ``fewest_speakers``."""
        while True:
            for index, island in enumerate(self.remaining):
                if island.speakers <= speakers:
                    return self.remaining.pop(index)
            self.remaining += [self.islands[index] for index in self.rng.permutation(len(self.islands))]


def sample_conversation(
    sampler: IslandSampler, speakers: Sequence[str], duration_s: float, rng: np.random.Generator
) -> list[Turn]:
    """The turns of a conversation of about ``duration_s`` seconds between these speakers."""
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
