"""Names that become files and folders: recordings, datasets, runs, recipes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator

from diarbench.datasets.io.errors import UserError

LONGEST_BYTES = 240
"""Leaves room for a suffix below the 255 bytes that file systems allow."""

_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def check_name(name: str) -> str:
    """The name itself. Raises ValueError where it is not the name of one file in its folder."""
    if not name.strip(". "):
        raise ValueError(f"{name!r} cannot be a name: it is empty or only dots")
    if re.search(r"[/\\]", name) or any(map(is_control, name)):
        raise ValueError(f"{name[:80]!r} cannot be a name: it has a path separator or a control character")
    if len(name.encode("utf-8", "surrogatepass")) > LONGEST_BYTES:
        raise ValueError(f"{name[:40]!r}... cannot be a name: longer than {LONGEST_BYTES} bytes")
    return name


def shortened(name: str, bytes_: int) -> str:
    """The beginning of a name, of at most so many bytes; for names that are unique by what follows."""
    return name.encode()[:bytes_].decode(errors="ignore")


def require_name(name: str, cure: str, where: str = "") -> None:
    """Raises UserError where it is not the name of one file in its folder; the message ends with what to do."""
    try:
        check_name(name)
    except ValueError as error:
        raise UserError(f"{where}{error}; {cure}") from error


@lru_cache(maxsize=10_000)  # a recording's name stands on each line of its RTTM
def check_relative_path(path: str) -> str:
    """The path itself. Raises ValueError where it is absolute or could leave its folder."""
    if path.startswith("/"):
        raise ValueError(f"{path[:80]!r} cannot be a name: it is an absolute path")
    for part in path.split("/"):
        check_name(part)
    return path


def renamings(names: Iterable[str], wanted: Iterable[str]) -> dict[str, str]:
    """The wanted name of each name that differs from it, and from no other, in folder, suffix, case or Unicode form."""
    old, new = _by_plain_name(names), _by_plain_name(wanted)
    return {old[plain][0]: new[plain][0] for plain in old if len(old[plain]) == len(new.get(plain, ())) == 1}


def _by_plain_name(names: Iterable[str]) -> dict[str, list[str]]:
    """Names by what is left of them without folder, suffix, case and Unicode form."""
    by_plain: dict[str, list[str]] = {}
    for name in sorted(names):
        folded = re.split(r"[/\\]", unicodedata.normalize("NFKC", name).casefold())[-1]
        plain = re.sub(r"\.(wav|flac|mp3|mp4|m4a|ogg|opus|sph|aiff?|au|rttm)$", "", folded)
        by_plain.setdefault(plain, []).append(name)
    return by_plain


Name = Annotated[str, AfterValidator(check_name)]
"""The name of one file or folder."""

RelativePath = Annotated[str, AfterValidator(check_relative_path)]
"""Names separated by slashes: a path that stays in its folder."""


def is_control(char: str) -> bool:
    """Whether a terminal or a browser may act on a character instead of showing it."""
    return char in _BIDI_CONTROLS or unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")


def plural(number: int, noun: str) -> str:
    """A count and what is counted: ``1 file``, ``2 files``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


FIRST_NAMES = 5
"""Names that a message lists; the others are counted."""


def first_names(names: Sequence[str]) -> str:
    """The first few of many names, and how many more there are: ``a, b, c, d, e and 2 more``."""
    more = f" and {len(names) - FIRST_NAMES} more" if len(names) > FIRST_NAMES else ""
    return ", ".join(names[:FIRST_NAMES]) + more


def visible(text: object) -> str:
    """A text on one line, with control characters and direction marks written as escapes (``\\n``, ``\\u202e``)."""
    return "".join(char.encode("unicode_escape").decode() if is_control(char) else char for char in str(text))
