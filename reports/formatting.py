"""Format names and figures the same way in every report."""

from __future__ import annotations

import unicodedata

from diarbench.reports.results.scores import Condition
from diarbench.reports.results.statistics import Interval

NONE = "-"

_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def visible(name: object) -> str:
    """A name on one line, with control characters and direction marks written as escapes (``\\n``, ``\\u202e``)."""
    return "".join(
        char.encode("unicode_escape").decode()
        if char in _BIDI_CONTROLS or unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")
        else char
        for char in str(name)
    )


def percent(rate: float | None) -> str:
    return number(rate if rate is None else 100 * rate, "{:.1f}")


def points(rate: float | None) -> str:
    """A difference of rates in percentage points, with its sign."""
    return number(rate if rate is None else 100 * rate, "{:+.1f}")


def span(interval: Interval | None) -> str:
    """``1.2 to 3.4`` for an interval of a rate, in per cent or points."""
    if interval is None or interval.low is None or interval.high is None:
        return NONE
    return f"{percent(interval.low)} to {percent(interval.high)}"


def convention(condition: Condition) -> str:
    """A condition's name and its protocol in words; the name once where the words begin with it."""
    text = condition.text if condition.text.startswith(condition.name) else f"{condition.name}: {condition.text}"
    return visible(text)


def number(value: float | None, pattern: str) -> str:
    return NONE if value is None else pattern.format(value)


def count(value: int | None) -> str:
    """A number of parameters or trials, such as ``1.5 M``."""
    if value is None or value < 1e6:
        return number(value, "{:,}")
    return f"{value / 1e6:.1f} M"


def memory(megabytes: float | None) -> str:
    if megabytes is None or megabytes < 1000:
        return number(megabytes, "{:.0f} MB")
    return f"{megabytes / 1000:.1f} GB"


def minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def plural(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
