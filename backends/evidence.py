"""Decide on dev whether a candidate replaces the start: a trial the defaults, an epoch the pretrained network.

The lowest of many figures on a small dev set is often lowest by chance. So a choice replaces its start (the default
hyper-parameters, the pretrained network) only where the lower confidence bound of the paired difference is above zero.
Recordings are the units, as in the tests on the test set: pieces of one recording are not independent of each other.
``docs/tuning.md`` has the measurements behind the levels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from diarbench.datasets.io.names import plural
from diarbench.reports.results.statistics import Choice

LEVEL = 0.8
"""One-sided confidence level of the lower bound."""


def standard_error(error_s: NDArray[np.float64], speech_s: NDArray[np.float64]) -> float:
    """Linearised standard error of ``sum(error_s) / sum(speech_s)`` over recordings; NaN with fewer than two."""
    n = error_s.size
    if n < 2:
        return math.nan
    residual = error_s - error_s.sum() / speech_s.sum() * speech_s
    return float(np.sqrt(n / (n - 1) * (residual**2).sum()) / speech_s.sum())


def weigh(
    candidate: int,
    found: str,
    start: str,
    kept: str,
    gain_s: Mapping[str, float],
    speech_s: Mapping[str, float],
    level: float = LEVEL,
) -> Choice:
    """Choose between a candidate and the start, number 0, by the seconds of error that it saves in each recording.

    ``found``, ``start`` and ``kept`` are the words of the reason, such as ``trial 12``, ``the defaults`` and ``the
    defaults are kept``.
    """
    from scipy.special import stdtrit

    gains, speech = np.array([gain_s[uri] for uri in speech_s]), np.array(list(speech_s.values()))
    gain, recordings = float(gains.sum() / speech.sum()), len(speech)
    choice = Choice(chosen=0, lowest=candidate, gain=gain, level=level, recordings=recordings, reason="")
    if gain <= 0:
        reason = f"{kept}: {found} is not better on dev ({100 * gain:+.1f} points)"
        return choice.model_copy(update={"reason": reason})
    better = f"{found} is {100 * gain:.1f} points better than {start} on dev"
    if recordings == 1:
        reason = f"{kept}: {better}, but a single recording cannot show that this holds for others"
        return choice.model_copy(update={"reason": reason})
    at_least = gain - float(stdtrit(recordings - 1, level)) * standard_error(gains, speech)
    digits = 1 if abs(at_least) >= 0.0005 else 3  # a bound above zero is not written as zero
    bound = f"{100 * level:g} % lower bound {100 * at_least:+.{digits}f} points, {plural(recordings, 'recording')}"
    if at_least <= 0:
        reason = f"{kept}: {better}, which may be chance ({bound})"
        return choice.model_copy(update={"at_least": at_least, "reason": reason})
    return choice.model_copy(update={"chosen": candidate, "at_least": at_least, "reason": f"{better} ({bound})"})
