"""Kaldi data directories.

Format: ``wav.scp`` (recording, path; a command that ends in a pipe is not run), ``segments`` (utterance, recording,
start and end in seconds, end -1 for the rest) and ``utt2spk``; or, without ``segments``, an ``rttm`` file, or one
utterance a recording. ``reco2dur`` is not believed: lengths are measured.
Splits: a folder of such directories named for them (``train``, ``dev``, ``test``); else drawn.
Licence: the corpus's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from diarbench.datasets.conversion.corpus import Corpus, SourceRecording
from diarbench.datasets.formats.matching import NO_REFERENCE, log, rttm, subsets_from_names, turn
from diarbench.datasets.io.audio import Clip
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import nfc
from diarbench.datasets.io.rttm import Turn, read_lines, seconds

REST = float("inf")


def sniff(path: Path) -> bool:
    """A folder with a wav.scp, or one of such folders."""
    return bool(_directories(path))


def find(path: Path) -> Corpus:
    """The recordings of wav.scp that have turns."""
    changes: Counter[str] = Counter()
    return Corpus(path.name, _find(path, changes), source=str(path), changes=changes)


def _directories(path: Path) -> list[Path]:
    return [path] if (path / "wav.scp").is_file() else sorted(scp.parent for scp in path.glob("*/wav.scp"))


def _find(path: Path, changes: Counter[str]) -> Iterator[SourceRecording]:
    directories = _directories(path)
    subsets = subsets_from_names(directory.name for directory in directories)
    for directory in directories:
        turns = _turns(directory, changes)
        for where, (recording, place) in _table(directory / "wav.scp", 2):
            if place.endswith("|"):
                raise UserError(f"{where}: a command, which is not run; write its output to a file and name that")
            if nfc(recording) in turns:
                subset = subsets[directory.name] if len(directories) > 1 else None
                yield SourceRecording(
                    nfc(recording), (Clip(_place(directory, place)),), turns.pop(nfc(recording)), None, subset
                )
            else:
                log.warning("%s: %s has no turns", where, recording)
                changes[NO_REFERENCE] += 1
        if turns:
            raise UserError(f"{directory}: {next(iter(turns))} has turns but is not in wav.scp")


def _place(directory: Path, place: str) -> Path:
    """Relative to where Kaldi's recipe was run, which may be here, or to the directory."""
    return Path(place) if Path(place).is_file() else directory / place


def _turns(directory: Path, changes: Counter[str]) -> dict[str, list[Turn]]:
    if not (directory / "segments").is_file() and (directory / "rttm").is_file():
        return rttm(directory / "rttm", changes)
    speakers = {utterance: speaker for _, (utterance, speaker) in _table(directory / "utt2spk", 2)}
    if not (directory / "segments").is_file():
        return {nfc(utterance): [Turn(0.0, REST, speaker)] for utterance, speaker in speakers.items()}
    turns: dict[str, list[Turn]] = {}
    for where, (utterance, recording, start, end) in _table(directory / "segments", 4):
        if utterance not in speakers:
            raise UserError(f"{where}: {utterance} is not in {directory / 'utt2spk'}")
        listed = turns.setdefault(nfc(recording), [])
        if end == "-1":
            listed.append(Turn(seconds(start, where), REST, speakers[utterance]))
        else:
            listed += turn(start, end, speakers[utterance], where, changes)
    return turns


def _table(path: Path, fields: int) -> Iterator[tuple[str, list[str]]]:
    """Lines of so many fields, the last of which may hold spaces. Raises UserError for other lines."""
    for where, line in read_lines(path):
        if line.strip():
            values = line.strip().split(maxsplit=fields - 1)
            if len(values) != fields:
                raise UserError(f"{where}: {len(values)} fields where {path.name} has {fields}")
            yield where, values
