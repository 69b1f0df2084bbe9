"""Format names and figures the same way in every report."""

from __future__ import annotations

import re

from diarbench.datasets.io.names import plural as plural
from diarbench.datasets.io.names import visible
from diarbench.reports.results.scores import Condition
from diarbench.reports.results.statistics import Interval

NONE = "-"


WIDEST_RATE, WIDEST_DIFFERENCE = 2.0, 1.0
"""An end of an interval beyond these fractions bounds nothing and is not written as a figure.

A rate has no upper bound where resampled units may have hardly any reference speech.
"""


def three_digits(value: float | None) -> str:
    """A figure for people: three digits, or a whole number."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:.3g}"


def percent(rate: float | None) -> str:
    """A rate in per cent: one decimal below 100 %."""
    if rate is None:
        return NONE
    return f"{100 * rate:.0f}" if abs(rate) >= 0.9995 else f"{100 * rate:.1f}"


def points(rate: float | None) -> str:
    """A difference of rates in percentage points, with its sign."""
    return NONE if rate is None else f"{100 * rate:+.1f}" if abs(rate) < 0.9995 else f"{100 * rate:+.0f}"


def span(interval: Interval | None) -> str:
    """The interval of a rate in per cent: ``1.2 to 3.4``, or ``47.1 or more``."""
    if interval is None or interval.low is None or interval.high is None:
        return NONE
    if interval.high > WIDEST_RATE:
        return f"{percent(interval.low)} or more"
    return f"{percent(interval.low)} to {percent(interval.high)}"


def difference_span(interval: Interval | None) -> str:
    """The interval of a difference in points: ``-1.2 to 3.4``, ``3.4 or less``, ``-1.2 or more``, ``no bounds``."""
    if interval is None or interval.low is None or interval.high is None:
        return NONE
    is_open_below, is_open_above = interval.low < -WIDEST_DIFFERENCE, interval.high > WIDEST_DIFFERENCE
    if is_open_below and is_open_above:
        return "no bounds"
    if is_open_below:
        return f"{percent(interval.high)} or less"
    if is_open_above:
        return f"{percent(interval.low)} or more"
    return f"{percent(interval.low)} to {percent(interval.high)}"


def convention(condition: Condition) -> str:
    """A condition's name and its protocol in words; the name once where the words begin with it."""
    text = condition.text if condition.text.startswith(condition.name) else f"{condition.name}: {condition.text}"
    return visible(text)


def bounds(least: int, most: int | None) -> str:
    """A bound on the speakers of a recording: ``exactly 2 speakers``, ``2 to 4 speakers``; empty without one."""
    if most is None:
        return f"at least {least} speakers" if least > 1 else ""
    return f"exactly {plural(most, 'speaker')}" if least == most else f"{least} to {most} speakers"


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
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def shortened(name: str, width: int) -> str:
    """At most ``width`` characters: an ellipsis replaces the middle, since long names often differ at the end."""
    if len(name) <= width:
        return name
    end = (width - 1) // 2
    return f"{name[: width - 1 - end]}…{name[len(name) - end :]}"


def short_words(text: str, width: int) -> str:
    """The text with each word shortened to the width."""
    return re.sub(r"\S+", lambda word: shortened(word[0], width), text)


def name_parts(column: str) -> list[str]:
    """Where a column's name may be broken: ``loss/val/vad`` after each slash, ``FalseAlarm`` between its words."""
    return re.split(r"(?<=/)|(?<=[a-z])(?=[A-Z])", column)
