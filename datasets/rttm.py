"""RTTM, UEM and list files: read strictly, told by file and line, written whole.

Formats: NIST Rich Transcription 2009 evaluation plan (RTTM, UEM).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from diarbench.reports.records import UserError, write_whole


class Turn(NamedTuple):
    """A stretch of one speaker's speech, in seconds from the start of the recording."""

    start_s: float
    end_s: float
    speaker: str


class Region(NamedTuple):
    """A stretch of a recording, in seconds."""

    start_s: float
    end_s: float


def read_rttm(path: Path) -> dict[str, list[Turn]]:
    """Turns by recording (uri), in file order. Comments and non-SPEAKER lines are passed over.

    Raises UserError with ``file:line`` for a line that is neither read nor passed over.
    """
    turns: dict[str, list[Turn]] = {}
    for number, line in _lines(path):
        fields = line.split()
        if not fields or fields[0].startswith(";;") or fields[0] != "SPEAKER":
            continue
        if len(fields) not in (9, 10):
            raise UserError(f"{path}:{number}: {len(fields)} fields where RTTM has 10 (a space in a name?)")
        start, duration = _number(fields[3], path, number), _number(fields[4], path, number)
        if start < 0 or duration <= 0:
            raise UserError(
                f"{path}:{number}: onset {fields[3]}, duration {fields[4]}: a turn needs onset >= 0 and duration > 0"
            )
        turns.setdefault(fields[1], []).append(Turn(start, start + duration, fields[7]))
    return turns


def write_rttm(path: Path, uri: str, turns: Iterable[Turn]) -> None:
    """One recording's turns, sorted, to the millisecond's thousandth."""
    lines = (
        f"SPEAKER {uri} 1 {turn.start_s:.6f} {turn.end_s - turn.start_s:.6f} <NA> <NA> {turn.speaker} <NA> <NA>\n"
        for turn in sorted(turns)
    )
    write_whole(path, "".join(lines))


def read_uem(path: Path) -> dict[str, list[Region]]:
    """Scored regions by recording (uri). Raises UserError with ``file:line`` for a line that is not UEM."""
    regions: dict[str, list[Region]] = {}
    for number, line in _lines(path):
        fields = line.split()
        if not fields or fields[0].startswith(";;"):
            continue
        if len(fields) != 4:
            raise UserError(f"{path}:{number}: {len(fields)} fields where UEM has 4 (uri, channel, start, end)")
        start, end = _number(fields[2], path, number), _number(fields[3], path, number)
        if start < 0 or end <= start:
            raise UserError(f"{path}:{number}: region {fields[2]} to {fields[3]}: a region needs 0 <= start < end")
        regions.setdefault(fields[0], []).append(Region(start, end))
    return regions


def write_uem(path: Path, regions: Mapping[str, Iterable[Region]]) -> None:
    lines = (f"{uri} 1 {r.start_s:.6f} {r.end_s:.6f}\n" for uri, listed in regions.items() for r in listed)
    write_whole(path, "".join(lines))


def read_uris(path: Path) -> list[str]:
    """A list file: one uri a line, blank lines passed over."""
    return [line.strip() for _, line in _lines(path) if line.strip()]


def _lines(path: Path) -> Iterable[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    return enumerate(text.splitlines(), start=1)


def _number(field: str, path: Path, number: int) -> float:
    try:
        value = float(field)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{path}:{number}: {field!r} is not a time in seconds (use a point for decimals)")
    return value
