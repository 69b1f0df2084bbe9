"""Files of turns beside audio of the same name: tables, JSON, subtitles, STM and CTM.

Format: by suffix, and for tables and JSON by content.

- ``.csv``, ``.tsv``, ``.txt``: a table with the columns ``start``, ``end`` (or ``duration``), ``speaker`` and, if there
  are several, ``recording`` and ``channel``. Without a header, they are start, end and speaker, as Audacity's labels.
  A first line ``sep=;``, as for Excel, names the separator.
- ``.json``: objects with the same names, in a list or under ``turns``, ``segments`` or ``diarization``; written by
  ``bench diarize``, WhisperX and pyannoteAI. A file with two lists, or with a key repeated in an object, is refused.
- ``.srt``, ``.vtt``: subtitles (SubRip, W3C's WebVTT); each begins with ``NAME: `` or ``<v NAME>``. On a later line of
  a subtitle ``<v NAME>`` is a speaker. ``NAME: `` there may be text (``First: do it``): it is a speaker if this line
  and the subtitle's first begin with a dash, or if a subtitle of the file begins with the name, and never after a
  ``<v NAME>``. What is read as text is logged and counted.
- ``.stm``: recording, channel, speaker, start, end, text; segments that are ignored in scoring are not scored here.
- ``.ctm``: recording, channel, start, duration, word, confidence, type, speaker; each word is a turn.

Times are in seconds, or ``HH:MM:SS.mmm``.
Splits: from the names of folders, or of files that name their recordings; otherwise drawn.
Licence: the corpus's own.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from diarbench.datasets.conversion.corpus import Corpus
from diarbench.datasets.conversion.normalize import normalize_regions
from diarbench.datasets.formats.matching import Reference, log, make_turns, pair_with_audio
from diarbench.datasets.io.audio import AUDIO_SUFFIXES
from diarbench.datasets.io.containers import CONTAINER_SUFFIXES
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.exclusions import outside
from diarbench.datasets.io.files import files, nfc, read_json
from diarbench.datasets.io.names import plural, visible
from diarbench.datasets.io.rttm import Region, read_lines, seconds

NOT_READ = "files not read: no turns recognised in them"

NO_TEXT = "subtitles left out: no text"

NAMES_AS_TEXT = "names on later lines of a subtitle, read as text"

SUBTITLE_TIMES = "HH:MM:SS,mmm --> HH:MM:SS,mmm"

COLUMNS = {
    "start": ("start", "start_s", "start_time", "begin", "onset"),
    "end": ("end", "end_s", "end_time", "stop"),
    "duration": ("duration", "duration_s", "dur"),
    "speaker": ("speaker", "speaker_id", "speaker_name", "spk", "label"),
    "channel": ("channel", "chan"),
    "recording": ("recording", "recording_id", "uri", "file", "filename", "file_name", "audio"),
}
"""The names by which a value is known; those of columns and keys are compared in lower case."""

LISTS = ("turns", "segments", "diarization")
"""The keys under which JSON has its turns."""


class Row(NamedTuple):
    """A turn as a file has it; the recording is empty if the file does not tell it."""

    where: str
    recording: str
    start: object
    end: object
    speaker: object
    channel: str = ""


class Ignored(NamedTuple):
    """A stretch of a recording that is not scored."""

    where: str
    recording: str
    start: object
    end: object


Rows = Iterator[Row | Ignored]


def sniff(path: Path) -> bool:
    """Whether the path is a folder with a file of turns at any depth."""
    return any(map(has_turns, files(path, READERS)))


def find(path: Path, dataset: str = "") -> Corpus:
    """Read the recordings that the files of turns below the folder describe; ``dataset`` as in `AudioIndex`."""
    changes: Counter[str] = Counter()
    references = []
    for file in files(path, READERS):
        if has_turns(file):
            references.append(file)
        else:
            log.warning("%s: not read, because no turns (start, end, speaker) were recognised in it", file)
            changes[NOT_READ] += 1
    recordings = pair_with_audio(path, references, lambda file: read_turn_file(file, changes), changes, dataset)
    return Corpus(path.name, recordings, source=str(path), changes=changes)


def read_turn_file(path: Path, changes: Counter[str]) -> dict[str, Reference]:
    """The references in a file by recording.

    Raises UserError for a turn without a speaker, an invalid time, and two recordings that would have one name.
    """
    references: dict[str, Reference] = {}
    ignored: dict[str, list[Region]] = {}
    channels: dict[str, list[str]] = {}
    told: dict[str, str] = {}
    for row in READERS[path.suffix.lower()](path, changes):
        recording = _name(row.recording)
        if (first := told.setdefault(recording, nfc(row.recording))) != nfc(row.recording):
            raise UserError(f"{row.where}: {row.recording} would be {recording}, as is {first}; rename one of them")
        reference = references.setdefault(recording, Reference([]))
        start, end = _clock(row.start, row.where), _clock(row.end, row.where)
        if isinstance(row, Row):
            turns = make_turns(start, end, row.speaker, row.where, changes)
            reference.turns.extend(turns)
            channels.setdefault(recording, []).extend(row.channel for _ in turns)
        else:
            zones = make_turns(start, end, "not scored", row.where, changes)
            ignored.setdefault(recording, []).extend(Region(*zone[:2]) for zone in zones)
    for recording, regions in ignored.items():
        merged = normalize_regions(regions, float("inf"), Counter())
        references[recording] = references[recording]._replace(regions=outside([Region(0.0, float("inf"))], merged))
    for recording, names in channels.items():
        references[recording] = references[recording]._replace(channels=names if any(names) else ())
    return references or {"": Reference([])}


def _name(recording: str) -> str:
    """The name of a recording, which may be told as the path of its audio."""
    path = Path(recording)
    return nfc(path.stem if path.suffix.lower() in AUDIO_SUFFIXES | CONTAINER_SUFFIXES else recording)


_CLOCK = re.compile(r"(?:([0-9]{1,5}):([0-5]?[0-9])|([0-9]{1,7})):([0-5]?[0-9](?:[.,][0-9]+)?)")
"""``HH:MM:SS,mmm`` or ``MM:SS.mmm``: what has a larger unit before it is under 60."""


def _clock(time: object, where: str) -> object:
    """A time with colons as seconds; another value is left for `make_turns` to judge. Raises UserError."""
    if not isinstance(time, str) or ":" not in time:
        return time
    match = _CLOCK.fullmatch(time.strip())
    if not match:
        raise UserError(f"{where}: {time[:40]!r} is not a time; expected seconds or HH:MM:SS.mmm, minutes under 60")
    hours, minutes_of_hour, minutes, rest = match.groups()
    return 3600 * int(hours or 0) + 60 * int(minutes_of_hour or minutes) + float(rest.replace(",", "."))


def has_turns(path: Path) -> bool:
    """Whether a table or JSON has turns; the suffixes of the others say so."""
    try:
        if path.suffix.lower() == ".json":
            return bool(_lists_of_turns(read_json(path, unique_keys=False)))  # repeated keys are refused when read
        return path.suffix.lower() not in TABLES or _columns(next(_table(path), ("", []))[1]) is not None
    except UserError:
        return False


def _table_rows(path: Path, changes: Counter[str]) -> Rows:
    columns: dict[str, int] | None = None
    width = 0
    for where, values in _table(path):
        if columns is None:
            columns, width = _columns(values), len(values)
            if columns is None:
                raise UserError(f"{where}: no columns start, end and speaker, one of each; add a header")
            if not _is_time(values[columns["start"]]):
                continue
            width = len(columns)  # without a header, nobody knows what a fourth value is
        if len(values) < width or any(value.strip() for value in values[width:]):
            names = ", ".join(sorted(columns, key=lambda name: columns[name]))
            text = f"{plural(len(values), 'value')} where a row has {width}, with the columns {names}"
            raise UserError(f"{where}: {text}; decimals need a point, and text with a separator needs quotes")
        yield _row(where, {name: values[position].strip() for name, position in columns.items()})


_SEPARATOR = re.compile(r"sep=([\t;,|])", re.IGNORECASE)
"""The first line of a table that names its separator, as Excel reads it."""


def _table(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The rows of a table that are not blank, without Audacity's lines of frequencies (``\\``)."""
    lines = [line for _, line in read_lines(path)]
    if named := _SEPARATOR.fullmatch(lines[0]):
        lines[0] = ""
    separator = named[1] if named else _separator(next((line for line in lines if line.strip()), ""))
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=separator, strict=True)
    line = 1  # at which the row begins
    try:
        for values in reader:
            if any(value.strip() for value in values) and values[0] != "\\":
                yield f"{path}:{line}", values
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{path}:{line}: not a row of a table ({error}); correct it, or a quote without an end"
        ) from error


def _separator(first: str) -> str:
    """The separator by which a table's first line has columns of turns; without one, that which it has most often."""
    separators = sorted("\t;,", key=first.count, reverse=True)
    fit = (each for each in separators if any(map(_columns, csv.reader([first], delimiter=each))))
    return next(fit, separators[0])


def _columns(first: list[str]) -> dict[str, int] | None:
    """The position of each value, by the header or, if the first row is a turn already, by order.

    None if neither, or if two columns have the same name.
    """
    if len(first) >= 3 and _is_time(first[0]) and _is_time(first[1]):
        return {"start": 0, "end": 1, "speaker": 2}
    header = [re.sub(r"[^a-z]+", "_", value.lower()).strip("_") for value in first]  # "Start (s)" is start_s
    columns = {name: header.index(known[0]) for name, words in COLUMNS.items() if (known := _known(words, header))}
    if any(
        header.count(header[position]) > 1 or visible(first[position]) != first[position]
        for position in columns.values()
    ):
        return None
    return columns if {"start", "speaker"} <= columns.keys() and {"end", "duration"} & columns.keys() else None


def _known(words: Iterable[str], names: Iterable[str]) -> list[str]:
    return [word for word in words if word in names]


def _is_time(value: str) -> bool:
    return re.fullmatch(r"\s*[-+]?[0-9:]*[0-9]([.,][0-9]*)?(e[-+]?[0-9]+)?\s*", value, re.IGNORECASE) is not None


def _row(where: str, values: Mapping[str, Any]) -> Row:
    """A turn from values by the names in `COLUMNS`."""
    end = values.get("end")
    if end is None:
        start_s, duration_s = (seconds(_clock(values.get(name), where), where) for name in ("start", "duration"))
        end = round(start_s + duration_s, 6)
    recording, channel = ("" if values.get(name) is None else str(values[name]) for name in ("recording", "channel"))
    return Row(where, recording, values.get("start"), end, values.get("speaker"), channel)


def _json_rows(path: Path, changes: Counter[str]) -> Rows:
    content = read_json(path)
    uri = content.get("uri") if isinstance(content, dict) else None
    lists = _lists_of_turns(content)
    if not lists:
        raise UserError(f"{path}: no list of turns with start, end and speaker")
    if len(lists) > 1:
        raise UserError(f"{path}: several lists of turns ({', '.join(lists)}); keep one of them")
    (items,) = lists.values()
    for number, item in enumerate(items, start=1):
        where = f"{path}: turn {number}"
        if not isinstance(item, dict):
            raise UserError(f"{where}: not an object with start, end and speaker")
        known = {name: item[key[0]] for name, words in COLUMNS.items() if (key := _known(words, item))}
        yield _row(where, {"recording": uri, **known})


def _lists_of_turns(content: Any) -> dict[str, list[Any]]:
    """The lists in JSON that are empty or have a turn, by key. A transcript without speakers is not one of them."""
    places = {"": content}
    if isinstance(content, dict):
        job = content.get("output")  # of pyannoteAI
        inner = job if isinstance(job, dict) else {}
        places = {key: content.get(key) for key in LISTS} | {f"output.{key}": inner.get(key) for key in LISTS}
    return {
        key: each for key, each in places.items() if isinstance(each, list) and (not each or any(map(_is_turn, each)))
    }


def _is_turn(item: Any) -> bool:
    return isinstance(item, dict) and all(_known(COLUMNS[name], item) for name in ("start", "speaker"))


_VOICE = re.compile(r"<v(?:\.\S*)?\s+([^>]+)>")
_NAME = re.compile(r"^\s*(-\s*)?\[?([^\s:<>\]][^:<>\]]*)\]?:(?=\s|$)")
"""``NAME:``, ``- NAME:`` or ``[NAME]:`` at the beginning of a line; the groups are the dash and the name."""


_ARROW = re.compile(r"\s*(\S+?)\s*-->\s*(\S+)(?:\s.*)?")
"""The times of a subtitle; settings of its place may follow."""

_OTHER_ARROW = re.compile(r"\s*[0-9]+:[0-9:.,]+\s*[-=\u2013\u2014]*>\s*[0-9]+:")
"""The beginning of times with another arrow, as editors make of ``-->``."""

_NOT_SUBTITLES = re.compile(r"(WEBVTT|NOTE|STYLE|REGION)(\s.*)?")
"""The first line of a block of WebVTT that is no subtitle."""


class _Subtitle(NamedTuple):
    start: str
    end: str
    lines: list[tuple[str, str]]
    """Each with its ``file:line``; the first has a speaker."""


def _subtitle_rows(path: Path, changes: Counter[str]) -> Rows:
    subtitles = list(_subtitles(path))
    changes[NO_TEXT] += sum(not subtitle.lines for subtitle in subtitles)
    spoken = [subtitle for subtitle in subtitles if subtitle.lines]
    first_names = {name for subtitle in spoken for name in _speakers(subtitle.lines[0][1]).names}
    for start, end, lines in spoken:
        is_tagged = False
        is_dialogue = _speakers(lines[0][1]).has_dash
        for number, (where, line) in enumerate(lines):
            names, has_tag, has_dash = _speakers(line)
            is_tagged = is_tagged or has_tag
            is_known = first_names.issuperset(names) or (is_dialogue and has_dash)
            if number == 0 or has_tag or (is_known and not is_tagged):
                yield from (Row(where, "", start, end, name) for name in names)
            elif names:
                log.warning("%s: %s: read as text, not as a speaker", where, names[0])
                changes[NAMES_AS_TEXT] += 1


def _subtitles(path: Path) -> Iterator[_Subtitle]:
    """The subtitles of a file. Each ends with an empty line, and may have a name or number above its times.

    A line of spaces is part of a subtitle, as in W3C's WebVTT; YouTube begins subtitles with one.
    Raises UserError for a line outside of every subtitle, and where the first line of one has no speaker.
    """
    subtitle: _Subtitle | None = None
    is_skipped = False
    untimed: list[tuple[str, str]] = []
    """The lines of a block up to its times."""
    for where, line in [*read_lines(path), (str(path), "")]:
        if "-->" in line:
            if len(untimed) > 1 or (untimed and _speakers(untimed[0][1]).names):
                raise _no_times(untimed)
            if subtitle:
                yield subtitle
            subtitle, untimed, is_skipped = _Subtitle(*_subtitle_span(where, line), []), [], False
        elif not line or (not line.strip() and not subtitle):
            if len(untimed) > 1 or (untimed and not untimed[0][1].strip().isdecimal()):
                raise _no_times(untimed)
            if subtitle:
                yield subtitle
            subtitle, untimed, is_skipped = None, [], False
        elif subtitle and line.strip():
            if _OTHER_ARROW.match(line):  # as text, it would give what follows the times of this subtitle
                _subtitle_span(where, line)
            if not subtitle.lines and not _speakers(line).names:
                raise UserError(f"{where}: no speaker; expected 'NAME: text' or '<v NAME>text'")
            subtitle.lines.append((where, line))
        elif not subtitle and not is_skipped:
            is_skipped = not untimed and _NOT_SUBTITLES.fullmatch(line) is not None
            untimed += [] if is_skipped else [(where, line)]


_STYLES = re.compile(r"</?(?:[ibuc]|font)\b[^>]*>|\{\\[^}]*\}")
"""Tags of italics and colours, and of the place on the screen (``{\\an8}``)."""


class _Speakers(NamedTuple):
    """Whom a line of a subtitle names, and how."""

    names: list[str]
    has_tag: bool
    has_dash: bool


def _speakers(line: str) -> _Speakers:
    plain = _STYLES.sub("", line)
    if tagged := _VOICE.findall(plain):
        return _Speakers([name.strip() for name in tagged], has_tag=True, has_dash=False)
    named = _NAME.match(plain)
    return _Speakers([named[2].strip()] if named else [], has_tag=False, has_dash=bool(named and named[1]))


def _subtitle_span(where: str, line: str) -> tuple[str, str]:
    """Raises UserError where a line with an arrow does not have two times, each with minutes at least."""
    match = _ARROW.fullmatch(line)
    if not match or not all(_CLOCK.fullmatch(time) for time in match.groups()):
        raise UserError(f"{where}: {line.strip()[:60]!r} is not {SUBTITLE_TIMES}; correct it")
    return match[1], match[2]


def _no_times(block: list[tuple[str, str]]) -> UserError:
    """The error about lines that would be lost, which names the line that should have the times."""
    where, line = block[block[0][1].strip().isdecimal()]
    text = f"{line.strip()[:60]!r} where the times of a subtitle belong, {SUBTITLE_TIMES}"
    return UserError(f"{where}: {text}; correct it, or remove an empty line above it")


_STM_LABEL = re.compile(r"<[^<>,]+(,[^<>,]*)+>")
"""``<o,f0,male>``: the conditions of a segment, which stand before its text if a file has them."""


def _stm_rows(path: Path, changes: Counter[str]) -> Rows:
    for where, line in _fields(path):
        if len(line) < 5:
            text = "recording, channel, speaker, start, end and text"
            raise UserError(f"{where}: {plural(len(line), 'field')} where STM has {text}")
        recording, channel, speaker, start, end = line[:5]
        if len(line) > 6 and _is_time(line[5]) and _STM_LABEL.fullmatch(line[6]):
            text = f"{start}, {end} and {line[5]} before {line[6][:40]}, where STM has a start and an end"
            raise UserError(f"{where}: {text}; take the space out of the name")
        if "ignore_time_segment_in_scoring" in (word.lower() for word in line[5:]):
            yield Ignored(where, recording, start, end)
        elif speaker == "inter_segment_gap":
            changes["STM segments left out: gaps between turns"] += 1
        else:
            yield Row(where, recording, start, end, speaker, channel)


SPOKEN = frozenset({"lex", "frag", "fp", "un-lex", "for-lex", "acronym"})
"""The types of CTM tokens that are speech."""


def _ctm_rows(path: Path, changes: Counter[str]) -> Rows:
    for where, line in _fields(path):
        if len(line) != 8:
            text = "recording, channel, start, duration, word, confidence, type and speaker"
            raise UserError(f"{where}: {plural(len(line), 'field')} where CTM with speakers has {text}")
        if line[6].lower() in SPOKEN:
            names = ("recording", "channel", "start", "duration")
            yield _row(where, {**dict(zip(names, line, strict=False)), "speaker": line[7]})
        else:
            changes["CTM tokens left out: no speech"] += 1


def _fields(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The fields of each line that is no comment.

    Raises UserError for a line within which some programs end one: what follows would be taken for words.
    """
    for where, line in read_lines(path):
        if line.strip() and not line.startswith(";;"):
            if len(line.splitlines()) > 1:
                raise UserError(f"{where}: has a separator of lines within; end each line with a line feed")
            yield where, line.split()


TABLES = (".csv", ".tsv", ".txt")

READERS: dict[str, Callable[[Path, Counter[str]], Rows]] = {
    **dict.fromkeys(TABLES, _table_rows),
    ".json": _json_rows,
    ".srt": _subtitle_rows,
    ".vtt": _subtitle_rows,
    ".stm": _stm_rows,
    ".ctm": _ctm_rows,
}
"""The reader of each suffix: a function from a file, and counts of what it leaves out, to turns."""
