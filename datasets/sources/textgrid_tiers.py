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

from diarbench.datasets.audio import Clip, need
from diarbench.datasets.convert import Corpus, Found
from diarbench.datasets.rttm import Turn
from diarbench.datasets.sources.pairing import AudioIndex, files, nfc, subsets_named, turn, why
from diarbench.reports.records import UserError


def sniff(path: Path) -> bool:
    """A folder that holds TextGrids somewhere."""
    return path.is_dir() and bool(files(path, {".textgrid"}))


def find(path: Path) -> Corpus:
    """The recordings that a TextGrid below the folder annotates."""
    changes: Counter[str] = Counter()
    return Corpus(path.name, _find(path, changes), source=str(path), changes=changes)


def _find(root: Path, changes: Counter[str]) -> Iterator[Found]:
    audio = AudioIndex(root, changes)
    grids = files(root, {".textgrid"})
    subsets = subsets_named(str(path.relative_to(root).parent) for path in grids)
    for path in grids:
        clip = audio.take(path.stem, path)
        if clip:
            subset = subsets[str(path.relative_to(root).parent)]
            yield Found(nfc(path.stem), (Clip(clip),), read_textgrid(path, changes), None, subset)
    audio.tell_unused()


def read_textgrid(path: Path, changes: Counter[str]) -> list[Turn]:
    """The turns of a TextGrid's interval tiers. Raises UserError where it is none."""
    textgrid = need("praatio.textgrid", "reading a TextGrid")
    try:
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False, reportingMode="error")
        entries = [
            (tier.name, entry) for tier in grid.tiers for entry in tier.entries if tier.tierType == "IntervalTier"
        ]
    except Exception as error:  # praatio raises whatever its parsing stumbles on
        raise UserError(f"{path}: not a TextGrid that can be read ({why(error)})") from error
    turns = []
    for name, entry in entries:
        if entry.label.strip():
            turns += turn(entry.start, entry.end, name, str(path), changes)
    return turns
