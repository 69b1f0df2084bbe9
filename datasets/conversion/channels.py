"""Select a channel of a corpus: of its audio, and of what the references say about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from diarbench.datasets.conversion.corpus import Corpus, SourceRecording
from diarbench.datasets.io.audio import Clip, open_audio
from diarbench.datasets.io.errors import UserError


def select_channel(corpus: Corpus, channel: int, all_turns: bool = False) -> Corpus:
    """The corpus with one channel (from 0) of its audio, and the turns and regions on that channel.

    With ``all_turns``, all turns and regions are kept, for microphones that hear everybody. What is on other channels
    is counted. Raises UserError for a recording of several channels whose reference does not tell which is which.
    """
    recordings = (_on_channel(recording, channel, all_turns, corpus.changes) for recording in corpus.recordings)
    return replace(corpus, recordings=recordings)


def _on_channel(recording: SourceRecording, channel: int, all_turns: bool, changes: Counter[str]) -> SourceRecording:
    count = max(map(_channel_count, recording.clips))
    if count <= max(1, channel) or all_turns:  # a channel that does not exist is an error of the audio
        return replace(recording, channel=channel)
    numbers = _numbers({*recording.turn_channels, *recording.region_channels}, count)
    if numbers is None or len(recording.turn_channels) < len(recording.turns):
        raise UserError(
            f"{recording.uri}: has {count} channels, and its reference does not tell which turns are on --channel "
            f"{channel} (of 0 to {count - 1}); name the channels in it, or keep all turns with --all-turns"
        )
    turns = [t for t, name in zip(recording.turns, recording.turn_channels, strict=True) if numbers[name] == channel]
    regions = recording.regions
    if regions is not None and len(set(recording.region_channels)) > 1:
        pairs = zip(regions, recording.region_channels, strict=True)
        regions = [region for region, name in pairs if numbers[name] == channel]
        changes["UEM regions left out: on another channel"] += len(recording.region_channels) - len(regions)
    changes["turns left out: on another channel"] += len(recording.turns) - len(turns)
    return replace(recording, turns=turns, regions=regions, channel=channel, turn_channels=(), region_channels=())


def _channel_count(clip: Clip) -> int:
    with open_audio(clip) as file:
        return int(file.channels)


def _numbers(names: Iterable[str], count: int) -> dict[str, int] | None:
    """The channel, from 0, that each name means; None where they do not tell.

    RTTM counts from 1. Some count from 0, and others use letters. A lone ``1`` (or ``0``) tells nothing: programs write
    it for any channel.
    """
    names = set(names)
    if names and all(name.isdecimal() for name in names):
        first = 0 if "0" in names else 1
        numbers = {name: int(name) - first for name in names}
        is_told = names not in ({"0"}, {"1"})
    else:
        numbers = {name: ord(name.upper()) - ord("A") for name in names if len(name) == 1}
        is_told = len(numbers) == len(names) > 0
    return numbers if is_told and all(0 <= number < count for number in numbers.values()) else None
