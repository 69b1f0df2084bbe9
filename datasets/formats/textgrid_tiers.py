"""Praat TextGrids with one tier per speaker, as in AliMeeting (https://www.openslr.org/119/).

Format: one ``.TextGrid`` per recording. A tier's name is the speaker; each interval with a label is a turn, unless the
label marks silence (``sil``). ``--set tiers=alice,bob`` or ``tiers=*-words`` chooses the tiers of speakers where others
are levels of annotation, such as words and phones. Audio files have the same name, or the name with a suffix
(``R0015_M0151_MS002.wav`` for ``R0015_M0151.TextGrid``).
Splits: from folder names (``Train_Ali_far``, ``Eval_Ali``, ``Test_Ali``; Eval is dev); otherwise drawn.
Licence: AliMeeting's is CC BY-SA 4.0; otherwise the corpus's own.

The values are read here: praatio (6.2) loses the sign of a time, refuses ``5.7e-14``, which Praat writes, and is silent
about a file that has less than it declares.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from diarbench.datasets.conversion.corpus import Corpus
from diarbench.datasets.formats.tiers import Interval, find_tiered, read_tiers
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import files, read_bytes
from diarbench.datasets.io.rttm import Turn, seconds

LARGEST_BYTES = 50_000_000


def sniff(path: Path) -> bool:
    """Whether the path is a folder with a TextGrid at any depth."""
    return path.is_dir() and bool(files(path, {".textgrid"}))


def find(path: Path, tiers: str = "", dataset: str = "") -> Corpus:
    """Read the recordings that the TextGrids below the folder describe, see `find_tiered`."""
    return find_tiered(path, ".textgrid", read_textgrid, tiers, dataset)


def read_textgrid(path: Path, changes: Counter[str], tiers: str = "") -> list[Turn]:
    """Read the turns in a TextGrid's interval tiers, see `read_tiers`. Raises UserError with ``file:line``."""
    values = _Values(path)
    if not values.is_textgrid():
        raise UserError(f"{path}: not a TextGrid; save it as one in Praat")
    values.time(), values.time()
    intervals: dict[str, list[Interval]] = {}
    for _ in range(values.tiers()):
        kind = values.text()
        if kind not in ("IntervalTier", "TextTier"):
            raise UserError(f"{values.where}: no such kind of tier as {kind[:40]}; correct it in Praat")
        name = values.text()
        if name in intervals:
            raise UserError(f"{values.where}: there are two tiers named {name}; rename one in Praat")
        values.time(), values.time()
        size = values.count()
        if kind == "IntervalTier":
            intervals[name] = [values.interval() for _ in range(size)]
        else:
            changes["point tiers left out: points have no length"] += 1
            for _ in range(size):
                values.time(), values.text()
    if values.has_next():
        values.next()
        raise UserError(f"{values.where}: has more than it declares; correct the sizes, or save it again in Praat")
    return read_tiers(intervals, tiers, path, changes)


_VALUE = re.compile(r'"(?:[^"]|"")*"|!.*|(?<!\S)(?:[-+.]?[0-9]\S*|<absent>)')
"""A text, a comment, or what stands alone and begins like a number or says that there are no tiers."""


class _Values:
    """The values of a TextGrid in order.

    As Praat does, it passes over everything but texts and numbers that stand alone: the long form has words and signs
    between them, the short form has not.
    """

    def __init__(self, path: Path) -> None:
        """Raises UserError for a file that cannot be read as text."""
        self.path, self.where = path, str(path)
        content = read_bytes(path)
        if len(content) > LARGEST_BYTES:
            raise UserError(f"{path}: larger than {LARGEST_BYTES:,} bytes; divide the recording")
        is_utf16 = content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        try:
            text = content.decode("utf-16" if is_utf16 else "utf-8-sig")
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: neither UTF-8 nor UTF-16 text (byte {error.start}); save it as UTF-8") from error
        self._values = _values(text.replace("\r\n", "\n").replace("\r", "\n"))
        self._following = next(self._values, None)

    def has_next(self) -> bool:
        return self._following is not None

    def is_textgrid(self) -> bool:
        """Whether the first two values say so; they are passed over."""
        kinds = [self.next() for _ in range(2) if self.has_next()]
        return len(kinds) == 2 and kinds[0].startswith('"ooTextFile') and kinds[1] == '"TextGrid"'

    def next(self) -> str:
        """Raises UserError at the end of the file."""
        if self._following is None:
            raise UserError(f"{self.path}: truncated or damaged: has less than it declares; get the file again")
        line, value = self._following
        self._following = next(self._values, None)
        self.where = f"{self.path}:{line}"
        return value

    def text(self) -> str:
        """The next value. Raises UserError if it is a number."""
        value = self.next()
        if not value.startswith('"'):
            raise UserError(f"{self.where}: {value[:40]} where a text in quotes belongs; correct it in Praat")
        return value[1:-1].replace('""', '"')

    def time(self) -> float:
        """The next value, in seconds. Raises UserError if it is no number."""
        return seconds(self._number(), self.where)

    def count(self) -> int:
        """The next value. Raises UserError if it is no whole number."""
        value = self._number()
        if not re.fullmatch("[0-9]{1,9}", value):
            raise UserError(f"{self.where}: {value[:40]} where a number of tiers or intervals belongs; correct it")
        return int(value)

    def tiers(self) -> int:
        """How many tiers there are: the next value, or 0 if it is Praat's ``<absent>``. Raises UserError as `count`."""
        if self._following and self._following[1] == "<absent>":
            self.next()
            return 0
        return self.count()

    def interval(self) -> Interval:
        """The next three values: start, end and label."""
        start_s = self.time()
        where = self.where
        return Interval(where, start_s, self.time(), self.text())

    def _number(self) -> str:
        value = self.next()
        if value.startswith('"'):
            raise UserError(f"{self.where}: {value[:40]} where a number belongs; correct the numbers before it")
        return value


def _values(text: str) -> Iterator[tuple[int, str]]:
    """Each value with its line."""
    line, before = 1, 0
    for match in _VALUE.finditer(text):
        line += text.count("\n", before, match.start())
        before = match.start()
        if not match[0].startswith("!"):
            yield line, match[0]
