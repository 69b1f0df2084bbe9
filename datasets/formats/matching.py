"""Shared by the format readers: pairing audio with references, subsets from names, and strict reading of turns."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from diarbench.datasets.dataset import Subset
from diarbench.datasets.io.audio import AUDIO_SUFFIXES
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import files, nfc
from diarbench.datasets.io.rttm import Problem, Region, Turn, read_rttm, read_uem, seconds

log = logging.getLogger(__name__)

NO_REFERENCE = "recordings left out: no reference"

NO_AUDIO = "references left out: no audio"

NO_LENGTH = "turns dropped: no length"

_WORDS: dict[str, Subset] = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("dev", "development", "val", "valid", "validation"), "dev"),
    **dict.fromkeys(("test", "tst"), "test"),
}


def one_line(error: Exception) -> str:
    """The type and message of a library's exception in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def subsets_from_names(names: Iterable[str]) -> dict[str, Subset | None]:
    """The subset that each name contains (``Train_Ali_far``, ``validation``); None if it contains none or several.

    ``eval`` is dev if another name contains ``test``; otherwise it is test.
    """
    words = {name: set(re.split(r"[\W_\d]+", name.lower())) for name in names}
    has_test = any(in_name & {"test", "tst"} for in_name in words.values())
    known: dict[str, Subset] = {**_WORDS, **dict.fromkeys(("eval", "evaluation"), "dev" if has_test else "test")}
    subsets: dict[str, Subset | None] = {}
    for name, in_name in words.items():
        matches = {known[word] for word in in_name if word in known}
        subsets[name] = matches.pop() if len(matches) == 1 else None
    return subsets


class AudioIndex:
    """The audio files below a folder by stem; it reports the files that have no reference."""

    def __init__(self, root: Path, changes: Counter[str]) -> None:
        """Raises UserError if two files have the same stem, or there are no files."""
        self.root, self.changes = root, changes
        self._by_stem: dict[str, Path] = {}
        self._taken: set[Path] = set()
        for path in files(root, AUDIO_SUFFIXES):
            other = self._by_stem.setdefault(nfc(path.stem), path)
            if other != path:
                raise UserError(f"{path}: has the same name as {other}; rename one of them")
        if not self._by_stem:
            raise UserError(f"{root}: contains no audio files ({', '.join(sorted(AUDIO_SUFFIXES))})")

    def __contains__(self, name: str) -> bool:
        return nfc(name) in self._by_stem

    def take(self, name: str, where: object) -> Path | None:
        """The file with this stem, or the only one whose stem starts with it (``R1_M2`` -> ``R1_M2_MS4``).

        A missing file is logged and counted, and None is returned. Raises UserError if several files match.
        """
        name = nfc(name)
        path = self._by_stem.get(name)
        if path is None:
            longer = [p for stem, p in self._by_stem.items() if re.fullmatch(re.escape(name) + r"[_.\- ].+", stem)]
            if len(longer) > 1:
                both = f"{longer[0].name}, {longer[1].name}"
                raise UserError(f"{where}: {name} matches several audio files ({both}); keep one, or rename it {name}")
            path = longer[0] if longer else None
        if path is None:
            log.warning("%s: %s has no audio file below %s", where, name, self.root)
            self.changes[NO_AUDIO] += 1
        else:
            self._taken.add(path)
        return path

    def report_unused(self) -> None:
        """Log and count the audio files that have no reference."""
        for path in self._by_stem.values():
            if path not in self._taken:
                log.warning("%s: no reference", path)
                self.changes[NO_REFERENCE] += 1


def read_turns(path: Path, changes: Counter[str]) -> dict[str, list[Turn]]:
    """Read the turns of an RTTM file by uri. Zero-length turns are logged, counted and dropped.

    Raises UserError for any other problem.
    """
    problems: list[Problem] = []
    turns = read_rttm(path, problems)
    for problem in problems:
        if problem.kind != "zero length":
            raise UserError(str(problem))
        log.warning("%s", problem)
        changes[NO_LENGTH] += 1
    return {nfc(uri): listed for uri, listed in turns.items()}


def read_regions(path: Path) -> dict[str, list[Region]]:
    """Read the regions of a UEM file by uri. Raises UserError as `read_uem` does."""
    return {nfc(uri): listed for uri, listed in read_uem(path).items()}


def select_recording(by_uri: dict[str, Any], uri: str, path: Path) -> Any:
    """The entry of one recording in a file: that of its uri, or the only entry.

    None if the file is empty. Raises UserError if it has several entries and none of this uri.
    """
    if uri in by_uri or not by_uri:
        return by_uri.get(uri)
    if len(by_uri) > 1:
        raise UserError(f"{path}: describes {len(by_uri)} recordings, none of them named {uri}; correct the name")
    return next(iter(by_uri.values()))


def make_turns(start: object, end: object, speaker: object, where: str, changes: Counter[str]) -> list[Turn]:
    """A list of one turn, or an empty list for a zero-length turn, which is logged and counted.

    Raises UserError if the times are invalid or the speaker is missing.
    """
    start_s, end_s, name = seconds(start, where), seconds(end, where), speaker_name(speaker)
    if not name:
        raise UserError(f"{where}: a turn without a speaker; add the name")
    if start_s < 0 or end_s < start_s:
        raise UserError(f"{where}: a turn from {start} to {end}; expected 0 <= start < end")
    if end_s == start_s:
        log.warning("%s: zero-length turn at %s", where, start)
        changes[NO_LENGTH] += 1
        return []
    return [Turn(start_s, end_s, name)]


def speaker_name(value: object) -> str:
    """A speaker's name in a table or JSON, where it may be a number, even 0; empty if it is missing."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else ""  # a column of integers in which some are missing (NaN)
    return str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
