"""Praat TextGrids with one tier per speaker, as in AliMeeting (https://www.openslr.org/119/).

Format: one ``.TextGrid`` per recording. A tier's name is the speaker; each interval with a label is a turn, unless the
label marks silence (``sil``). ``--set tiers=alice,bob`` or ``tiers=*-words`` chooses the tiers of speakers where others
are levels of annotation, such as words and phones. Audio files have the same name, or the name with a suffix
(``R0015_M0151_MS002.wav`` for ``R0015_M0151.TextGrid``).
Splits: from folder names (``Train_Ali_far``, ``Eval_Ali``, ``Test_Ali``; Eval is dev); otherwise drawn.
Licence: AliMeeting's is CC BY-SA 4.0; otherwise the corpus's own.

praatio reads the files.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from pathlib import Path

from diarbench.datasets.conversion.corpus import Corpus
from diarbench.datasets.formats.matching import one_line
from diarbench.datasets.formats.tiers import Interval, find_tiered, read_tiers
from diarbench.datasets.io.errors import UserError, require
from diarbench.datasets.io.files import files, read_bytes
from diarbench.datasets.io.rttm import Turn

LARGEST_BYTES = 50_000_000


def sniff(path: Path) -> bool:
    """Whether the path is a folder with a TextGrid at any depth."""
    return path.is_dir() and bool(files(path, {".textgrid"}))


def find(path: Path, tiers: str = "", dataset: str = "") -> Corpus:
    """Read the recordings that the TextGrids below the folder describe, see `find_tiered`."""
    return find_tiered(path, ".textgrid", read_textgrid, tiers, dataset)


def read_textgrid(path: Path, changes: Counter[str], tiers: str = "") -> list[Turn]:
    """Read the turns in a TextGrid's interval tiers, see `read_tiers`. Raises UserError if it is not a TextGrid."""
    textgrid = require("praatio.textgrid", "reading a TextGrid")
    _check_complete(path)
    try:
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False, reportingMode="error")
        intervals = {
            tier.name: [Interval(entry.start, entry.end, entry.label) for entry in tier.entries]
            for tier in grid.tiers
            if tier.tierType == "IntervalTier"
        }
    except Exception as error:  # praatio raises many kinds of errors for a damaged file
        raise UserError(f"{path}: not a readable TextGrid ({one_line(error)})") from error
    changes["point tiers left out: points have no length"] += len(grid.tiers) - len(intervals)
    return read_tiers(intervals, tiers, path, changes)


def _check_complete(path: Path) -> None:
    """Raises UserError where a file is no TextGrid, or has less than it declares, about which praatio is silent.

    As in Praat, only numbers and texts that stand alone count: a tier is its class, name, start, end, the number of
    its intervals, and for each its start, end and label; a point has no end.
    """
    content = read_bytes(path)
    if len(content) > LARGEST_BYTES:
        raise UserError(f"{path}: larger than {LARGEST_BYTES:,} bytes; divide the recording")
    try:
        text = content.decode("utf-16" if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: neither UTF-8 nor UTF-16 text (byte {error.start}); save it as UTF-8") from error
    values = iter(re.findall(r'"(?:[^"]|"")*"|(?<!\S)-?\d[\d.eE+-]*(?!\S)', text))
    if not next(values, "").startswith('"ooTextFile') or next(values, "") != '"TextGrid"':
        raise UserError(f"{path}: not a TextGrid; save it as one in Praat")
    try:
        tiers = int([next(values) for _ in range(3)][2])
        for _ in range(tiers):
            kind, _, _, _, size = [next(values) for _ in range(5)]
            for _ in range(int(size) * (3 if kind == '"IntervalTier"' else 2)):
                next(values)
    except (RuntimeError, StopIteration, ValueError) as error:
        raise UserError(f"{path}: truncated or damaged: has less than it declares; get the file again") from error
