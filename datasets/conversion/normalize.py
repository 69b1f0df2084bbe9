"""Normalise names, turns and scored regions, and count each change."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from diarbench.datasets.io.audio import SAMPLE_RATE
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.names import plural
from diarbench.datasets.io.rttm import Region, Turn


def normalize_name(name: str) -> str:
    """A name in Unicode's composed form (NFC), with underscores in place of white space, slashes and controls."""
    return re.sub(r"[\s/\\\x00-\x1f\x7f]+", "_", unicodedata.normalize("NFC", name).strip()) or "_"


def same_when_normalized(names: Iterable[str], known: dict[str, str]) -> tuple[str, str] | None:
    """Two names that `normalize_name` would make one although more than white space and Unicode form differs.

    ``a b`` and ``a_b`` may be two speakers. ``known`` has the names so far by their normalized form, and is updated.
    """
    for name in names:
        spelt = " ".join(unicodedata.normalize("NFC", name).split())
        other = known.setdefault(normalize_name(name), spelt)
        if other != spelt:
            return other, spelt
    return None


OUTSIDE = "turns dropped: outside the audio"


def check_times(turns: Sequence[Turn], duration_s: float, where: object) -> None:
    """Raises UserError where more than half of a recording's turns begin after the end of its audio.

    A few late labels are dropped and counted; so many mean another unit of time, or the reference of other audio.
    """
    outside = sum(turn.start_s >= duration_s for turn in turns)
    if 2 * outside <= len(turns):
        return
    last_s = max(turn.start_s for turn in turns)
    is_milliseconds = 10 * duration_s < last_s < 1000 * duration_s
    cause = "are its times in milliseconds? Write seconds" if is_milliseconds else "does it belong to this audio?"
    text = f"{outside} of {plural(len(turns), 'turn')} begin after the end of the audio ({duration_s:g} s), the last at"
    raise UserError(f"{where}: {text} {last_s:g} s; {cause}")


def normalize_turns(turns: Iterable[Turn], duration_s: float, changes: Counter[str]) -> list[Turn]:
    """Cut turns to the audio, merge overlapping (not touching) turns of a speaker, sort, and count each change."""
    latest: dict[str, Turn] = {}
    normalized: list[Turn] = []
    for start_s, end_s, name in sorted(turns):
        speaker = normalize_name(name)
        changes["speaker names mended (spaces, Unicode form), turns"] += speaker != name
        start_s, cut_s = round(max(0.0, start_s), 6), round(min(end_s, duration_s), 6)
        if cut_s <= start_s:
            kind = OUTSIDE if start_s >= duration_s else "turns dropped: no length"
            changes[kind] += 1
            continue
        changes["turns cut at the end of the audio"] += 1 / SAMPLE_RATE < end_s - cut_s < math.inf
        turn = Turn(start_s, cut_s, speaker)
        before = latest.get(speaker)
        if before and turn.start_s < before.end_s:
            changes["turns merged into another of their speaker"] += 1
            latest[speaker] = before._replace(end_s=max(before.end_s, turn.end_s))
        else:
            normalized += [before] if before else []
            latest[speaker] = turn
    return sorted([*normalized, *latest.values()])


def normalize_regions(regions: Iterable[Region] | None, duration_s: float, changes: Counter[str]) -> list[Region]:
    """Cut regions to the audio, merge overlapping ones and sort; without regions, one covers all of the audio."""
    if regions is None:
        return [Region(0.0, duration_s)]
    normalized: list[Region] = []
    for start_s, end_s in sorted(regions):
        start_s, cut_s = round(max(0.0, start_s), 6), round(min(end_s, duration_s), 6)
        if cut_s <= start_s:
            changes["UEM regions dropped: outside the audio"] += 1
            continue
        changes["UEM regions cut at the end of the audio"] += 1 / SAMPLE_RATE < end_s - cut_s < math.inf
        if normalized and start_s < normalized[-1].end_s:
            changes["UEM regions merged"] += 1
            normalized[-1] = Region(normalized[-1].start_s, max(normalized[-1].end_s, cut_s))
        else:
            normalized.append(Region(start_s, cut_s))
    return normalized
