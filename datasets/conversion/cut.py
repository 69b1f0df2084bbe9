"""Cut long recordings into parts at pauses, so that few recordings can be divided into subsets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from diarbench.datasets.conversion.corpus import Corpus, SourceRecording
from diarbench.datasets.conversion.normalize import OUTSIDE, check_times
from diarbench.datasets.io.audio import length_s
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.rttm import Region, Turn

SHORTEST_S = 10.0
"""The networks are trained on windows of about this length."""


def cut_long(corpus: Corpus, longest_s: float) -> Corpus:
    """The corpus with each recording longer than ``longest_s`` seconds in parts, named ``URI_part1`` and so on.

    A cut is in the middle of the longest pause of a part's second half; without a pause the part has its full length.
    Counted are the turns that are cut or begin after the end of the audio, the parts that are left out because nothing
    is annotated in them, and the recordings that are not cut because they consist of files one after another. Raises
    UserError for a length that is too short, and, when the recordings are read, as `check_times` does.
    """
    if not SHORTEST_S <= longest_s < float("inf"):
        raise UserError(f"--cut-s {longest_s:g}: expected at least {SHORTEST_S:g} seconds")
    recordings = (part for recording in corpus.recordings for part in _parts(recording, longest_s, corpus.changes))
    return replace(corpus, recordings=recordings, source=f"{corpus.source}, cut at pauses to at most {longest_s:g} s")


def _parts(recording: SourceRecording, longest_s: float, changes: Counter[str]) -> Iterator[SourceRecording]:
    if any(clip.at_s for clip in recording.clips):
        changes["recordings not cut: several files one after another"] += 1
        yield recording
        return
    total_s = max(map(length_s, recording.clips))
    edges = [0.0, *_cuts(recording.turns, total_s, longest_s)]
    if len(edges) == 1:
        yield recording
        return
    check_times(recording.turns, total_s, recording.reference or recording.uri)
    inside = [turn for turn in recording.turns if turn.start_s < total_s]
    changes[OUTSIDE] += len(recording.turns) - len(inside)
    recording = replace(recording, turns=inside, turn_channels=())
    changes["recordings cut into parts"] += 1
    changes["turns cut at the end of a part"] += sum(
        t.start_s < at_s < t.end_s for t in recording.turns for at_s in edges
    )
    for number, (start_s, end_s) in enumerate(pairwise([*edges, float("inf")]), start=1):
        part = _part(recording, f"{recording.uri}_part{number}", start_s, end_s)
        if part.regions == []:
            changes["parts left out: nothing is annotated in them"] += 1
        else:
            yield part


def _cuts(turns: Sequence[Turn], total_s: float, longest_s: float) -> Iterator[float]:
    """The times at which to cut a recording; the last part has at least a quarter of the longest length."""
    from pyannote.core import Segment, Timeline

    speech = Timeline(Segment(turn.start_s, min(turn.end_s, total_s)) for turn in turns)
    start_s = 0.0
    while total_s - start_s > longest_s:
        latest_s = min(start_s + longest_s, total_s - longest_s / 4)
        pauses = speech.gaps(Segment(start_s + longest_s / 2, latest_s))
        longest = max(pauses, key=lambda pause: pause.duration, default=None)
        start_s = round(longest.middle if longest else latest_s, 3)
        yield start_s


def _part(recording: SourceRecording, uri: str, start_s: float, end_s: float) -> SourceRecording:
    """What a recording has between two times, at infinity for its end."""

    def inside(begin_s: float, stop_s: float) -> tuple[float, float] | None:
        begin_s, stop_s = max(begin_s, start_s) - start_s, min(stop_s, end_s) - start_s
        return (round(begin_s, 6), round(stop_s, 6)) if begin_s < stop_s else None

    clips = []
    for clip in recording.clips:
        stop_s = min(end_s, float("inf") if clip.duration_s is None else clip.duration_s)
        length = None if stop_s == float("inf") else stop_s - start_s
        clips.append(replace(clip, start_s=clip.start_s + start_s, duration_s=length))
    turns = [Turn(*span, t.speaker) for t in recording.turns if (span := inside(t.start_s, t.end_s))]
    regions = recording.regions and [Region(*span) for region in recording.regions if (span := inside(*region))]
    return replace(
        recording, uri=uri, clips=tuple(clips), turns=turns, regions=regions, turn_channels=(), region_channels=()
    )
