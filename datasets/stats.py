"""What a reference holds: who speaks how long, and how many at once."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

from diarbench.datasets.audio import need
from diarbench.datasets.layout import Dataset, Recording, SubsetInfo
from diarbench.datasets.rttm import Region, Turn
from diarbench.reports.records import Record, UserError, write_whole


class Held(Record):
    """What a recording holds; the times, in seconds, as in `SubsetInfo`."""

    audio_s: float
    scored_s: float
    speech_s: float
    voiced_s: float
    overlap_s: float
    turns: int
    speakers: list[str]


def measure(turns: Sequence[Turn], regions: Sequence[Region], audio_s: float) -> Held:
    """What a recording's tidy turns and regions hold."""
    seconds = seconds_by_speakers(turns, regions)
    return Held(
        audio_s=audio_s,
        scored_s=sum(region.end_s - region.start_s for region in regions),
        speech_s=sum(count * s for count, s in seconds.items()),
        voiced_s=sum(s for count, s in seconds.items() if count),
        overlap_s=sum(s for count, s in seconds.items() if count > 1),
        turns=len(turns),
        speakers=sorted({turn.speaker for turn in turns}),
    )


def summarise(recordings: Sequence[Held]) -> SubsetInfo:
    """The sum of what recordings hold; a speaker counts once."""
    return SubsetInfo(
        recordings=len(recordings),
        audio_s=round(sum(r.audio_s for r in recordings), 6),
        scored_s=round(sum(r.scored_s for r in recordings), 6),
        speech_s=round(sum(r.speech_s for r in recordings), 6),
        voiced_s=round(sum(r.voiced_s for r in recordings), 6),
        overlap_s=round(sum(r.overlap_s for r in recordings), 6),
        speakers=len({speaker for r in recordings for speaker in r.speakers}),
        turns=sum(r.turns for r in recordings),
    )


class Described(Record):
    """How people talk in some recordings."""

    speakers_per_recording: float
    mean_turn_s: float
    median_turn_s: float


def describe(recordings: Sequence[Recording]) -> Described:
    """How people talk in some recordings, by their references; zeros where nobody does."""
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


def draw(datasets: Sequence[Dataset], path: Path) -> None:
    """Draw hours, turn lengths, speakers a recording, and silence and overlap, by dataset and subset, into a file.

    Raises UserError where matplotlib is missing or the file cannot be written.
    """
    need("matplotlib", "drawing a plot")
    from matplotlib.figure import Figure

    shown = [(d, subset, listed) for d in datasets for subset, listed in d.recordings.items() if listed]
    labels = [f"{d.info.name}\n{subset}" for d, subset, _ in shown]
    held = [d.info.subsets[subset] for d, subset, _ in shown]
    figure = Figure(figsize=(max(9.0, 1.2 * len(shown) + 6), 7.0), layout="constrained")
    hours, turns, speakers, shares = figure.subplots(2, 2).flat
    hours.bar(labels, [info.audio_s / 3600 for info in held])
    hours.set_ylabel("hours of audio")
    turns.boxplot([turn_lengths_s(listed) or [0.0] for _, _, listed in shown], tick_labels=labels, showfliers=False)
    turns.set_ylabel("length of a turn (s)")
    counts = [[len({t.speaker for t in r.turns}) for r in listed] for _, _, listed in shown]
    most = max(max(found) for found in counts)
    for label, found in zip(labels, counts, strict=True):
        steps = [found.count(number) / len(found) for number in range(most + 1)]
        speakers.plot(range(most + 1), steps, marker="o", label=label.replace("\n", " "))
    speakers.set_xticks(range(most + 1))
    speakers.set(xlabel="speakers in a recording", ylabel="share of the recordings")
    speakers.legend(fontsize="small")
    places = range(len(shown))
    silence = [1 - info.voiced_s / (info.scored_s or 1) for info in held]
    overlap = [info.overlap_s / (info.voiced_s or 1) for info in held]
    shares.bar([place - 0.2 for place in places], silence, 0.4, label="silence, of what is scored")
    shares.bar([place + 0.2 for place in places], overlap, 0.4, label="overlap, of what is spoken")
    shares.set_xticks(list(places), labels)
    shares.legend(fontsize="small")
    drawn = io.BytesIO()
    try:
        figure.savefig(drawn, format=path.suffix.removeprefix(".") or "png")
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
    write_whole(path, drawn.getvalue())


def seconds_by_speakers(turns: Iterable[Turn], regions: Iterable[Region]) -> dict[int, float]:
    """Seconds inside the regions in which so many turns are active (0: nobody speaks).

    A speaker's turns should not overlap one another, nor regions one another: each would count twice.
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
