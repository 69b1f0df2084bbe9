"""RTTM, UEM and list files: read strictly, with errors by file and line, and written atomically.

Formats: NIST Rich Transcription 2009 evaluation plan (RTTM, UEM). Times are kept to the microsecond, so that turns
that touch on paper touch in memory.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import read_text, write_atomic
from diarbench.datasets.io.names import check_relative_path, plural


class Turn(NamedTuple):
    """A stretch of one speaker's speech, in seconds from the start of the recording."""

    start_s: float
    end_s: float
    speaker: str


class Region(NamedTuple):
    """A stretch of a recording, in seconds."""

    start_s: float
    end_s: float


class Problem(NamedTuple):
    """Something wrong with a line or a file: a short kind to count by, ``file`` or ``file:line``, and what to do."""

    kind: str
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


LONGEST_S = 1e8
"""Three years. A later time is a mistake, or a time of day as seconds since 1970."""


TYPES = frozenset({"SEGMENT", "NO_RT_METADATA", "NON-SPEECH", "FILLER", "EDIT", "IP", "SU", "CB", "A/P", "SPKR-INFO"})
"""Lines of RTTM that are passed over."""

ZONES = ("NOSCORE", "NON-LEX", "LEXEME")
"""Lines of RTTM that say, together, what is not scored."""


class RttmLine(NamedTuple):
    """A line of an RTTM file that has a time."""

    where: str
    """``file:line``."""
    type: str
    """SPEAKER, or one of `ZONES`."""
    uri: str
    channel: str
    turn: Turn


@dataclass
class RttmRecording:
    """What an RTTM file says about a recording."""

    where: str
    """The first line that does."""
    turns: list[Turn] = field(default_factory=list)
    channels: list[str] = field(default_factory=list)
    """The channel of each turn."""
    zones: dict[str, list[Region]] = field(default_factory=lambda: {kind: [] for kind in ZONES})
    """Stretches of other kinds; see `exclusions.unscored`."""

    def extend(self, other: RttmRecording) -> None:
        """Add what another form of the recording's name has."""
        self.turns += other.turns
        self.channels += other.channels
        for kind in ZONES:
            self.zones[kind] += other.zones[kind]


def read_rttm(path: Path, problems: list[Problem] | None = None) -> dict[str, list[Turn]]:
    """Turns by recording (uri), in file order. Comments and other line types than SPEAKER are skipped.

    An invalid line is added to ``problems``; without such a list it raises UserError with ``file:line``.
    """
    recordings = read_recordings(path, problems)
    return {uri: recording.turns for uri, recording in recordings.items() if recording.turns}


def read_recordings(
    path: Path, problems: list[Problem] | None = None, skipped: list[Problem] | None = None
) -> dict[str, RttmRecording]:
    """What the file says about each recording (uri); see `scan_lines`."""
    recordings: dict[str, RttmRecording] = {}
    for line in scan_lines(path, problems, skipped):
        recording = recordings.get(line.uri) or recordings.setdefault(line.uri, RttmRecording(line.where))
        if line.type == "SPEAKER":
            recording.turns.append(line.turn)
            recording.channels.append(line.channel)
        else:
            recording.zones[line.type].append(Region(*line.turn[:2]))
    return recordings


def scan_rttm(
    path: Path, problems: list[Problem] | None = None, skipped: list[Problem] | None = None
) -> Iterator[tuple[str, str, Turn]]:
    """Yield ``file:line``, uri and turn of each turn; see `scan_lines`."""
    for line in scan_lines(path, problems, skipped):
        if line.type == "SPEAKER":
            yield line.where, line.uri, line.turn


def scan_lines(
    path: Path, problems: list[Problem] | None = None, skipped: list[Problem] | None = None
) -> Iterator[RttmLine]:
    """Yield the turns and `ZONES` of an RTTM file; lines that are no turns are added to ``skipped``.

    Types may be in lower case. An invalid line is added to ``problems``, and so is a file that has lines but no turns;
    without such a list it raises UserError with ``file:line``.
    """
    has_turns, first_other = False, ""
    for where, line in read_lines(path):
        fields = line.split()
        if not fields:
            continue
        kind = fields[0].upper()
        if kind == "SPEAKER":
            has_turns = True
            if len(fields) not in (9, 10) or _is_shifted(fields):
                count = plural(len(fields), "field")
                text = f"{count} where RTTM has {'9 or ' if len(fields) == 10 else ''}10 (a space in a name?)"
                _report(Problem("malformed line", where, text), problems)
                continue
            span = _span(fields[3], fields[4], where, problems, is_duration=True)
            if span and _has_safe_name(fields[1], where, problems):
                yield RttmLine(where, kind, fields[1], fields[2], Turn(*span, fields[7]))
            continue
        is_comment = fields[0][0] in ";#"
        if skipped is not None:
            name = "comment" if is_comment else f"{kind} line" if kind in TYPES or kind in ZONES else "unknown line"
            skipped.append(
                Problem(
                    name,
                    where,
                    f"{'an' if name == 'unknown line' else 'a'} {name}; some readers interpret every line as a turn",
                )
            )
        if kind in ZONES and not 5 <= len(fields) <= 10:
            text = f"{plural(len(fields), 'field')} where RTTM has 10 (a space in a name?)"
            _report(Problem("malformed line", where, text), problems)
        elif kind in ZONES:
            zone = _zone(fields[3], fields[4], where, problems)
            if zone and _has_safe_name(fields[1], where, problems):
                yield RttmLine(where, kind, fields[1], fields[2], Turn(*zone, ""))
        if not is_comment and kind != "NOSCORE":
            first_other = first_other or where
    if first_other and not has_turns:
        text = "neither this line nor another is a turn: SPEAKER URI 1 START DURATION <NA> <NA> NAME <NA> <NA>"
        _report(Problem("no turns", first_other, text), problems)


def rttm_text(uri: str, turns: Iterable[Turn]) -> str:
    """One recording's turns as RTTM, sorted, to the microsecond; where turns touch, they touch in the file too.

    Raises UserError for a name with a space in it, which would be read as two fields.
    """
    turns = sorted(turns)
    for name in {uri, *(turn.speaker for turn in turns)}:
        if len(name.split()) != 1:
            raise UserError(f"{name!r} cannot be a name in RTTM, whose fields end at spaces; rename it")
    return "".join(
        f"SPEAKER {uri} 1 {turn.start_s:.6f} {round(turn.end_s, 6) - round(turn.start_s, 6):.6f}"
        f" <NA> <NA> {turn.speaker} <NA> <NA>\n"
        for turn in turns
    )


def write_rttm(path: Path, uri: str, turns: Iterable[Turn]) -> None:
    """Write one recording's turns; see `rttm_text`."""
    write_atomic(path, rttm_text(uri, turns))


class UemRegions(NamedTuple):
    """What a UEM file says about a recording."""

    regions: list[Region]
    channels: list[str]
    """The channel of each region."""

    def extend(self, other: UemRegions) -> None:
        """Add what another form of the recording's name has."""
        self.regions.extend(other.regions)
        self.channels.extend(other.channels)


def read_uem(path: Path, problems: list[Problem] | None = None) -> dict[str, list[Region]]:
    """Scored regions by recording (uri). Invalid lines are reported as by `read_rttm`."""
    return {uri: listed.regions for uri, listed in _scan_uem(path, problems).items()}


def read_regions(path: Path) -> dict[str, UemRegions]:
    """Scored regions by recording (uri). Raises UserError for an invalid line, and where there is no region."""
    regions = _scan_uem(path, None)
    if not regions:
        raise UserError(f"{path}: has no region; add one, or remove the file so that all of a recording is scored")
    return regions


def _scan_uem(path: Path, problems: list[Problem] | None) -> dict[str, UemRegions]:
    regions: dict[str, UemRegions] = {}
    for where, line in read_lines(path):
        fields = line.split()
        if not fields or fields[0][0] in ";#":
            continue
        if len(fields) != 4:
            text = f"{plural(len(fields), 'field')} where UEM has 4 (uri, channel, start, end)"
            _report(Problem("malformed line", where, text), problems)
            continue
        span = _span(fields[2], fields[3], where, problems, is_duration=False)
        if span and _has_safe_name(fields[0], where, problems):
            regions.setdefault(fields[0], UemRegions([], [])).extend(UemRegions([Region(*span)], [fields[1]]))
    return regions


def uem_text(regions: Mapping[str, Iterable[Region]]) -> str:
    """Regions by recording as UEM, to the microsecond."""
    return "".join(f"{uri} 1 {r.start_s:.6f} {r.end_s:.6f}\n" for uri, listed in regions.items() for r in listed)


def write_uem(path: Path, regions: Mapping[str, Iterable[Region]]) -> None:
    """Write regions by recording; see `uem_text`."""
    write_atomic(path, uem_text(regions))


def read_uris(path: Path) -> list[str]:
    """The uris in a list file, one per line; blank lines are skipped."""
    return [line.strip() for _, line in read_lines(path) if line.strip()]


def read_lines(path: Path) -> Iterable[tuple[str, str]]:
    """The lines of a UTF-8 file, each with its ``file:line``. Raises UserError where it cannot be read as UTF-8."""
    try:
        # Not utf-8-sig, which reads a file that ends within a byte order mark as an empty one.
        text = read_text(path).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise UserError(f"{path}: cannot be read ({getattr(error, 'strerror', error)})") from error
    return ((f"{path}:{number}", line) for number, line in enumerate(text.split("\n"), start=1))


def seconds(field: object, where: str) -> float:
    """A time in seconds, rounded to the microsecond. Raises UserError that starts with ``where``.

    `float` also reads ``1_0``, digits of other scripts, ``nan`` and ``inf``, none of which is a time.
    """
    text = str(field)
    try:
        is_plain = text.isascii() and "_" not in text and not isinstance(field, bool)
        value = float(field) if is_plain else math.nan  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    shown = repr(field) if len(text) <= 40 else f"{text[:40]!r}..."
    if not math.isfinite(value):
        raise UserError(f"{where}: {shown} is not a time in seconds (use a point for decimals)")
    if abs(value) > LONGEST_S:
        raise UserError(f"{where}: {shown} s is later than three years; give seconds from the start of the recording")
    return round(value, 6) + 0.0  # not -0.0, where something rounds to it


def _span(
    start_field: str, other_field: str, where: str, problems: list[Problem] | None, *, is_duration: bool
) -> tuple[float, float] | None:
    """Start and end of a line in seconds; None where they are invalid, which is reported as a problem."""
    try:
        start, end = seconds(start_field, where), seconds(other_field, where)
    except UserError as error:
        kind = "comma decimal" if "," in start_field + other_field else "not a time"
        _report(Problem(kind, where, str(error).removeprefix(f"{where}: ")), problems)
        return None
    end = round(start + end, 6) if is_duration else end
    if start >= 0 and end > start:
        return start, end
    kind = "zero length" if start >= 0 and end == start else "negative time"
    text = (
        f"onset {start_field}, duration {other_field}: a turn needs onset >= 0 and duration > 0"
        if is_duration
        else f"region {start_field} to {other_field}: a region needs 0 <= start < end"
    )
    _report(Problem(kind, where, text), problems)
    return None


def _zone(start: str, duration: str, where: str, problems: list[Problem] | None) -> tuple[float, float] | None:
    """Start and end of a line that is no turn; None where it has no length.

    None too where its times are invalid, which is reported as a problem.
    """
    try:
        start_s = seconds(start.strip("*"), where)
        end_s = start_s if duration.upper() == "<NA>" else round(start_s + seconds(duration.strip("*"), where), 6)
    except UserError as error:
        _report(Problem("not a time", where, str(error).removeprefix(f"{where}: ")), problems)
        return None
    if start_s < 0 or end_s < start_s:
        text = f"onset {start}, duration {duration}: expected onset >= 0 and duration >= 0"
        _report(Problem("negative time", where, text), problems)
        return None
    return (start_s, end_s) if end_s > start_s else None


def _has_safe_name(uri: str, where: str, problems: list[Problem] | None) -> bool:
    """Whether a file may be named after the recording; if not, it is reported as a problem."""
    try:
        check_relative_path(uri)
    except ValueError as error:
        name = re.split(r"[/\\]", uri)[-1].removesuffix(".wav")
        _report(
            Problem("unsafe name", where, f"{error}; rename the recording{name and f', for example {name}'}"), problems
        )
        return False
    return True


_PLACEHOLDERS = frozenset({"<na>", "na", "n/a", "nan", "none", "null", "_", "-", "*", "?"})
"""What stands in RTTM for a value that is not known; NIST's is ``<NA>``."""


def _is_shifted(fields: Sequence[str]) -> bool:
    """Whether a SPEAKER line of ten fields has nine, and a space in the name of its speaker or recording."""
    if len(fields) < 10 or fields[5] == fields[8] == "<NA>":
        return False
    in_speaker = not _is_value(fields[8])  # the confidence
    in_recording = fields[7].lower() in _PLACEHOLDERS and _is_number(fields[5])
    return in_speaker or in_recording


def _is_value(field: str) -> bool:
    return field.lower() in _PLACEHOLDERS or _is_number(field)


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _report(problem: Problem, problems: list[Problem] | None) -> None:
    if problems is None:
        raise UserError(str(problem))
    problems.append(problem)
