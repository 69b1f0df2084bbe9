"""Kaldi data directories.

Format: ``wav.scp`` (recording, path; commands that end in a pipe are rejected), ``segments`` (utterance, recording,
start and end in seconds; an end of -1 means the end of the recording) and ``utt2spk``. Without ``segments``, turns are
read from an ``rttm`` file, or each utterance is one recording. ``reco2dur`` is ignored: durations are measured.
Splits: from the names of the directories (``train``, ``dev``, ``test``) in a common folder; otherwise drawn.
Licence: the corpus's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from diarbench.datasets.conversion.corpus import Corpus, SourceRecording
from diarbench.datasets.formats.matching import (
    NO_REFERENCE,
    annotated,
    log,
    make_turns,
    read_references,
    report_unread,
    subset_name,
    subsets_from_names,
)
from diarbench.datasets.io.audio import Clip
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import nfc
from diarbench.datasets.io.names import plural
from diarbench.datasets.io.rttm import LONGEST_S, RttmRecording, Turn, read_lines

REST = float("inf")
"""The end of a turn that lasts until the end of the recording."""


def sniff(path: Path) -> bool:
    """Whether the path has a wav.scp, or contains folders that do."""
    return bool(_directories(path))


def find(path: Path) -> Corpus:
    """Read the recordings in wav.scp that have turns."""
    changes: Counter[str] = Counter()
    return Corpus(path.name, _read_recordings(path, changes), source=str(path), changes=changes)


def _directories(path: Path) -> list[Path]:
    return [path] if (path / "wav.scp").is_file() else sorted(scp.parent for scp in path.glob("*/wav.scp"))


def _read_recordings(path: Path, changes: Counter[str]) -> Iterator[SourceRecording]:
    directories = _directories(path)
    subsets = subsets_from_names(directory.name for directory in directories)
    read: list[Path] = []
    for directory in directories:
        turns = _turns(directory, changes)
        seen: dict[str, str] = {}
        for where, (recording, audio) in _table(directory / "wav.scp", 2):
            if (first := seen.setdefault(nfc(recording), where)) != where:
                raise UserError(f"{where}: {recording} is listed twice (first in {first}); remove one line")
            if audio.endswith("|"):
                raise UserError(f"{where}: commands are not run; write the audio to a file and put its path here")
            if nfc(recording) in turns:
                subset = subsets[directory.name] if len(directories) > 1 else None
                path_of_audio = _audio_path(directory, audio)
                read.append(path_of_audio)
                source = SourceRecording(
                    nfc(recording),
                    (Clip(path_of_audio),),
                    [],
                    subset=subset,
                    subset_name=subset_name(directory.name, subset),
                )
                yield annotated(source, turns.pop(nfc(recording)), None, changes)
            else:
                log.warning("%s: %s has no turns", where, recording)
                changes[NO_REFERENCE] += 1
        if turns:
            raise UserError(f"{directory}: {next(iter(turns))} has turns but is not in wav.scp")
        has_segments = (directory / "segments").is_file()
        read += [directory / "wav.scp", directory / ("segments" if has_segments else "rttm")]
    report_unread(path, read, changes, audio=True)


def _audio_path(directory: Path, path: str) -> Path:
    """A path relative to the current directory, from which Kaldi recipes run; otherwise relative to ``directory``."""
    return Path(path) if Path(path).is_file() else directory / path


def _turns(directory: Path, changes: Counter[str]) -> dict[str, RttmRecording]:
    if not (directory / "segments").is_file() and (directory / "rttm").is_file():
        return read_references(directory / "rttm", changes)
    speakers: dict[str, str] = {}
    for where, (utterance, speaker) in _table(directory / "utt2spk", 2):
        if speakers.setdefault(utterance, speaker) != speaker:
            raise UserError(f"{where}: {utterance} has another speaker, {speakers[utterance]}, above; remove one line")
    if not (directory / "segments").is_file():
        whole = {utterance: [Turn(0.0, REST, speaker)] for utterance, speaker in speakers.items()}
        return {nfc(utterance): RttmRecording(str(directory), turns) for utterance, turns in whole.items()}
    references: dict[str, RttmRecording] = {}
    for where, (utterance, recording, start, end) in _table(directory / "segments", 4):
        if utterance not in speakers:
            raise UserError(f"{where}: {utterance} is not in {directory / 'utt2spk'}")
        listed = references.setdefault(nfc(recording), RttmRecording(where)).turns
        if end == "-1":
            turns = make_turns(start, LONGEST_S, speakers[utterance], where, changes)
            listed += [turn._replace(end_s=REST) for turn in turns]
        else:
            listed += make_turns(start, end, speakers[utterance], where, changes)
    return references


def _table(path: Path, fields: int) -> Iterator[tuple[str, list[str]]]:
    """Read a table with this number of fields; the last may contain spaces. Raises UserError for other lines."""
    for where, line in read_lines(path):
        if line.strip():
            values = line.strip().split(maxsplit=fields - 1)
            if len(values) != fields:
                raise UserError(f"{where}: {plural(len(values), 'field')} where {path.name} has {fields}")
            yield where, values
