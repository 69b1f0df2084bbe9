"""What the sources share: which audio belongs to which reference, which subset a name speaks of, strict reading."""

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
    """What an exception of somebody else's says, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def subsets_from_names(names: Iterable[str]) -> dict[str, Subset | None]:
    """The subset that each name speaks of (``Train_Ali_far``, ``validation``); None where it speaks of none or several.

    ``eval`` is the dev set of a corpus that has a test set too, else it is the test set.
    """
    words = {name: set(re.split(r"[\W_\d]+", name.lower())) for name in names}
    has_test = any(found & {"test", "tst"} for found in words.values())
    known: dict[str, Subset] = {**_WORDS, **dict.fromkeys(("eval", "evaluation"), "dev" if has_test else "test")}
    subsets: dict[str, Subset | None] = {}
    for name, found in words.items():
        spoken_of = {known[word] for word in found if word in known}
        subsets[name] = spoken_of.pop() if len(spoken_of) == 1 else None
    return subsets


class AudioIndex:
    """The audio files below a folder, by stem; files that no reference asked for are reported."""

    def __init__(self, root: Path, changes: Counter[str]) -> None:
        """Raises UserError where two files have one stem, or there are none."""
        self.root, self.changes = root, changes
        self._by_stem: dict[str, Path] = {}
        self._taken: set[Path] = set()
        for path in files(root, AUDIO_SUFFIXES):
            other = self._by_stem.setdefault(nfc(path.stem), path)
            if other != path:
                raise UserError(f"{path}: has the same name as {other}; rename one, recordings are known by it")
        if not self._by_stem:
            raise UserError(f"{root}: no audio files here ({', '.join(sorted(AUDIO_SUFFIXES))})")

    def __contains__(self, name: str) -> bool:
        return nfc(name) in self._by_stem

    def take(self, name: str, where: object) -> Path | None:
        """The file of this stem, or the only one whose stem goes on after it (``R1_M2`` -> ``R1_M2_MS4``).

        None, logged and counted, where there is none. Raises UserError where several fit.
        """
        name = nfc(name)
        path = self._by_stem.get(name)
        if path is None:
            near = [p for stem, p in self._by_stem.items() if re.fullmatch(re.escape(name) + r"[_.\- ].+", stem)]
            if len(near) > 1:
                both = f"{near[0].name}, {near[1].name}"
                raise UserError(f"{where}: {name} fits several audio files ({both}); leave one, or name it so exactly")
            path = near[0] if near else None
        if path is None:
            log.warning("%s: %s has no audio file below %s", where, name, self.root)
            self.changes[NO_AUDIO] += 1
        else:
            self._taken.add(path)
        return path

    def report_unused(self) -> None:
        """Log and count the audio files that no reference asked for."""
        for path in self._by_stem.values():
            if path not in self._taken:
                log.warning("%s: no reference", path)
                self.changes[NO_REFERENCE] += 1


def rttm(path: Path, changes: Counter[str]) -> dict[str, list[Turn]]:
    """Turns by uri; turns of no length are logged, counted and dropped. Raises UserError at any other problem."""
    problems: list[Problem] = []
    turns = read_rttm(path, problems)
    for problem in problems:
        if problem.kind != "zero length":
            raise UserError(str(problem))
        log.warning("%s", problem)
        changes[NO_LENGTH] += 1
    return {nfc(uri): listed for uri, listed in turns.items()}


def uem(path: Path) -> dict[str, list[Region]]:
    """Regions by uri. Raises UserError as `read_uem` does."""
    return {nfc(uri): listed for uri, listed in read_uem(path).items()}


def only(by_uri: dict[str, Any], uri: str, path: Path) -> Any:
    """What a file that should speak of one recording says of it: under its name, or the only name there is.

    None where the file says nothing. Raises UserError where it speaks of several others.
    """
    if uri in by_uri or not by_uri:
        return by_uri.get(uri)
    if len(by_uri) > 1:
        raise UserError(f"{path}: speaks of {len(by_uri)} recordings, none of them {uri}; rename it there")
    return next(iter(by_uri.values()))


def turn(start: object, end: object, speaker: object, where: str, changes: Counter[str]) -> list[Turn]:
    """One turn, or none where it has no length, which is logged and counted. Raises UserError where it is no turn."""
    start_s, end_s, name = seconds(start, where), seconds(end, where), str(speaker or "").strip()
    if not name:
        raise UserError(f"{where}: a turn with no speaker; name one")
    if start_s < 0 or end_s < start_s:
        raise UserError(f"{where}: a turn from {start} to {end}: it needs 0 <= start < end")
    if end_s == start_s:
        log.warning("%s: a turn of no length at %s", where, start)
        changes[NO_LENGTH] += 1
        return []
    return [Turn(start_s, end_s, name)]
