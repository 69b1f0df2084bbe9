"""Bootstrap intervals, paired permutation tests, and the test set size that a difference needs.

A test set is a sample of recordings, so recordings are resampled (Bisani and Ney 2004, "Bootstrap estimates for
confidence intervals in ASR performance evaluation"). With few recordings, blocks of time are resampled instead, and the
result says so: such an interval applies to more minutes of the same recordings, not to other recordings. Variation over
seeds is separate: a system's seconds are the mean over its seeds, and the reports show the range over seeds elsewhere.
All resampling is seeded, so the same seconds give the same interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from diarbench.backends.evidence import standard_error
from diarbench.benchmarks.scoring.blocks import errors_by_window
from diarbench.benchmarks.scoring.der import ScoringProtocol, score
from diarbench.datasets.io.rttm import Region, Turn
from diarbench.reports.results.scores import ErrorSeconds
from diarbench.reports.results.statistics import LEVEL, Difference, Interval

Floats = NDArray[np.float64]

RESAMPLES = 10_000

FEW_RECORDINGS = 10
"""With fewer recordings, blocks of time are resampled."""

BLOCK_S = 10.0

POWER = 0.8

EXACT_UNITS = 16
"""The permutation test enumerates all sign patterns up to this number of units."""

FEWEST_UNITS = 6
"""With five units, p cannot be smaller than 2 / 2**5 = 0.0625."""


class Units(NamedTuple):
    """Resampled units of a test set; ``errors`` has one list per system, in the same order of units."""

    unit: str
    errors: list[list[ErrorSeconds]]


def units_of(
    reference: Mapping[str, Sequence[Turn]],
    hypotheses: Sequence[Mapping[str, Sequence[Turn]]],
    scored: Mapping[str, Sequence[Region]],
    protocol: ScoringProtocol,
) -> Units:
    """Score systems per recording, or per block of time if there are fewer than FEW_RECORDINGS."""
    if len(scored) >= FEW_RECORDINGS:
        by_recording = [score(reference, hypothesis, scored, [protocol])[protocol.name] for hypothesis in hypotheses]
        return Units("recordings", [list(errors.values()) for errors in by_recording])
    by_block = [
        [errors for *_, errors in errors_by_window(reference, hypothesis, scored, protocol, BLOCK_S)]
        for hypothesis in hypotheses
    ]
    # Blocks that are not scored, or have no speech in reference and hypotheses, are dropped.
    used = [i for i, parts in enumerate(zip(*by_block, strict=True)) if any(part != ErrorSeconds() for part in parts)]
    return Units(f"blocks of {BLOCK_S:g} s", [[errors[i] for i in used] for errors in by_block])


def interval(errors: Sequence[ErrorSeconds], unit: str = "recordings") -> Interval:
    """Bootstrap interval of the pooled DER."""
    return _interval(_error_s(errors), _speech_s(errors), unit)


def compare(a: Sequence[ErrorSeconds], b: Sequence[ErrorSeconds], unit: str = "recordings") -> Difference:
    """Paired comparison of two systems on the same recordings, in the same order.

    Raises ValueError if they were not scored on the same reference speech, or if there is none.
    """
    speech_s = _speech_s(a)
    if len(a) != len(b) or not np.allclose(speech_s, _speech_s(b), rtol=0, atol=1e-6):
        raise ValueError("the two systems were not scored on the same reference: their recordings or seconds differ")
    if not speech_s.sum() > 0:
        raise ValueError("no reference speech is scored, so there is no error rate to compare")
    differences_s = _error_s(b) - _error_s(a)
    der = float(differences_s.sum() / speech_s.sum())
    difference = Difference(
        der=der,
        interval=_interval(differences_s, speech_s, unit),
        p=permutation_p(differences_s),
        units_needed=None,
    )
    deviation = standard_error(differences_s, speech_s)
    if difference.is_significant or der == 0 or not deviation > 0:
        return difference
    size_factor = ((norm.ppf((1 + LEVEL) / 2) + norm.ppf(POWER)) * deviation / der) ** 2
    needed = max(math.ceil(size_factor * len(a)), FEWEST_UNITS, len(a) + 1)
    return difference.model_copy(update={"units_needed": needed})


def permutation_p(differences_s: Floats) -> float:
    """Two-sided p of a paired permutation test on the sum: if the systems are equal, each sign is arbitrary.

    All sign patterns up to EXACT_UNITS, otherwise RESAMPLES random ones plus the observed one. scipy's permutation_test
    gives the same exact p, but takes up to 40 times as long, several times the memory, and rejects a single unit.
    """
    n = differences_s.size
    observed = abs(differences_s.sum()) - 1e-12 * np.abs(differences_s).sum()  # so that rounding breaks no ties
    if n <= EXACT_UNITS:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float(np.mean(np.abs(signs @ differences_s) >= observed))
    rng = np.random.default_rng(0)
    as_large = sum(
        int((np.abs((1 - 2 * rng.integers(0, 2, size=(size, n), dtype=np.int8)) @ differences_s) >= observed).sum())
        for size in _chunks(RESAMPLES, n)
    )
    return (as_large + 1) / (RESAMPLES + 1)


def _error_s(errors: Sequence[ErrorSeconds]) -> Floats:
    return np.array([e.miss + e.false_alarm + e.confusion for e in errors])


def _speech_s(errors: Sequence[ErrorSeconds]) -> Floats:
    return np.array([e.total for e in errors])


def _interval(error_s: Floats, speech_s: Floats, unit: str) -> Interval:
    """Expanded percentile interval of ``sum(error_s) / sum(speech_s)``.

    After Hesterberg 2015, "What teachers should know about the bootstrap": with few units, plain percentiles are too
    narrow by about as much as the normal distribution is narrower than Student's t.
    """
    n = error_s.size
    if n < 2 or not speech_s.sum() > 0:
        return Interval(low=None, high=None, units=n, unit=unit)
    rng = np.random.default_rng(0)
    rates: list[Floats] = []
    for size in _chunks(RESAMPLES, n):
        drawn = rng.integers(0, n, size=(size, n))
        resampled = speech_s[drawn].sum(axis=1)
        rates.append(error_s[drawn].sum(axis=1)[resampled > 0] / resampled[resampled > 0])
    tail = float(norm.cdf(-math.sqrt(n / (n - 1)) * t.ppf((1 + LEVEL) / 2, n - 1)))
    low, high = np.quantile(np.concatenate(rates), [tail, 1 - tail])
    return Interval(low=float(low), high=float(high), units=n, unit=unit)


def _chunks(rows: int, columns: int) -> list[int]:
    """Split ``rows`` into parts such that a table of ``columns`` columns has at most about 4 million cells."""
    part = max(4_000_000 // columns, 1)
    return [min(part, rows - done) for done in range(0, rows, part)]
