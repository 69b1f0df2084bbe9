"""Statistics of references: speaker time, speech, overlap and turns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from diarbench.datasets.dataset import Recording, SubsetInfo
from diarbench.datasets.io.records import Record
from diarbench.datasets.io.rttm import Region, Turn


class SpeechStatistics(Record):
    """The statistics of a recording; the times, in seconds, are defined in `SubsetInfo`."""

    audio_s: float
    scored_s: float
    speaker_s: float
    speech_s: float
    overlap_s: float
    turns: int
    speakers: list[str]


def measure(turns: Sequence[Turn], regions: Sequence[Region], audio_s: float) -> SpeechStatistics:
    """Compute the statistics of a recording from its normalised turns and regions."""
    seconds = seconds_by_speakers(turns, regions)
    return SpeechStatistics(
        audio_s=audio_s,
        scored_s=sum(region.end_s - region.start_s for region in regions),
        speaker_s=sum(count * s for count, s in seconds.items()),
        speech_s=sum(s for count, s in seconds.items() if count),
        overlap_s=sum(s for count, s in seconds.items() if count > 1),
        turns=len(turns),
        speakers=sorted({turn.speaker for turn in turns}),
    )


def summarise(recordings: Sequence[SpeechStatistics]) -> SubsetInfo:
    """Sum the statistics of recordings; each speaker counts once."""
    return SubsetInfo(
        recordings=len(recordings),
        audio_s=round(sum(r.audio_s for r in recordings), 6),
        scored_s=round(sum(r.scored_s for r in recordings), 6),
        speaker_s=round(sum(r.speaker_s for r in recordings), 6),
        speech_s=round(sum(r.speech_s for r in recordings), 6),
        overlap_s=round(sum(r.overlap_s for r in recordings), 6),
        speakers=len({speaker for r in recordings for speaker in r.speakers}),
        turns=sum(r.turns for r in recordings),
    )


class Described(Record):
    """Speakers per recording and turn lengths."""

    speakers_per_recording: float
    mean_turn_s: float
    median_turn_s: float


def describe(recordings: Sequence[Recording]) -> Described:
    """Describe speakers and turns of recordings from their references; zeros if there are none."""
    lengths = turn_lengths_s(recordings)
    speakers = [len({turn.speaker for turn in recording.turns}) for recording in recordings]
    return Described(
        speakers_per_recording=sum(speakers) / max(1, len(speakers)),
        mean_turn_s=sum(lengths) / max(1, len(lengths)),
        median_turn_s=median(lengths) if lengths else 0.0,
    )


def turn_lengths_s(recordings: Sequence[Recording]) -> list[float]:
    """The length of every turn, in seconds."""
    return [turn.end_s - turn.start_s for recording in recordings for turn in recording.turns]


def seconds_by_speakers(turns: Iterable[Turn], regions: Iterable[Region]) -> dict[int, float]:
    """Seconds inside the regions by the number of simultaneous turns (0 is silence).

    Neither the turns of a speaker nor the regions may overlap; overlaps would count twice.
    """
    events = [event for start, end, _ in turns for event in ((start, 1, 0), (end, -1, 0))]
    events += [event for start, end in regions for event in ((start, 0, 1), (end, 0, -1))]
    seconds: dict[int, float] = {}
    active = inside = 0
    before = 0.0
    for time, speakers, region in sorted(events):
        if inside and time > before:
            seconds[active] = seconds.get(active, 0.0) + time - before
        before = time
        active += speakers
        inside += region
    return seconds
