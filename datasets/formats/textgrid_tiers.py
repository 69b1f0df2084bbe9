"""Praat TextGrid with a tier a speaker, as AliMeeting ships it (https://www.openslr.org/119/).

Format: a ``.TextGrid`` a recording, each interval with a label being a turn of the speaker that its tier is named for;
audio of the same name, or of that name and a suffix (``R0015_M0151_MS002.wav`` for ``R0015_M0151.TextGrid``).
Splits: from folders named for them (``Train_Ali_far``, ``Eval_Ali``, ``Test_Ali``: Eval is the dev set); else drawn.
Licence: AliMeeting's is CC BY-SA 4.0; else the corpus's own.

Read by praatio.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from diarbench.datasets.conversion.corpus import Corpus, SourceRecording
from diarbench.datasets.formats.matching import AudioIndex, one_line, subsets_from_names, turn
from diarbench.datasets.io.audio import Clip
from diarbench.datasets.io.errors import UserError, require
from diarbench.datasets.io.files import files, nfc
from diarbench.datasets.io.rttm import Turn


def sniff(path: Path) -> bool:
    """A folder that holds TextGrids somewhere."""
    return path.is_dir() and bool(files(path, {".textgrid"}))


def find(path: Path) -> Corpus:
    """The recordings that a TextGrid below the folder annotates."""
    changes: Counter[str] = Counter()
    return Corpus(path.name, _find(path, changes), source=str(path), changes=changes)


def _find(root: Path, changes: Counter[str]) -> Iterator[SourceRecording]:
    audio = AudioIndex(root, changes)
    grids = files(root, {".textgrid"})
    subsets = subsets_from_names(str(path.relative_to(root).parent) for path in grids)
    for path in grids:
        clip = audio.take(path.stem, path)
        if clip:
            subset = subsets[str(path.relative_to(root).parent)]
            yield SourceRecording(nfc(path.stem), (Clip(clip),), read_textgrid(path, changes), None, subset)
    audio.report_unused()


def read_textgrid(path: Path, changes: Counter[str]) -> list[Turn]:
    """The turns of a TextGrid's interval tiers. Raises UserError where it is none."""
    textgrid = require("praatio.textgrid", "reading a TextGrid")
    try:
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False, reportingMode="error")
        entries = [
            (tier.name, entry) for tier in grid.tiers for entry in tier.entries if tier.tierType == "IntervalTier"
        ]
    except Exception as error:  # praatio raises whatever its parsing stumbles on
        raise UserError(f"{path}: not a TextGrid that can be read ({one_line(error)})") from error
    turns = []
    for name, entry in entries:
        if entry.label.strip():
            turns += turn(entry.start, entry.end, name, str(path), changes)
    return turns
