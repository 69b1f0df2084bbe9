"""How sure a figure is: bootstrap intervals, paired tests, and what a test set cannot tell.

A test set is a sample of recordings, so what is resampled is recordings (Bisani and Ney 2004, "Bootstrap estimates for
confidence intervals in ASR performance evaluation"). Where there are few, it is blocks of time instead, and the result
says so: such an interval speaks of more minutes of these recordings, not of other recordings. Spread over seeds is
another question: a system's seconds are the mean of its seeds', and the reports tell the seeds' range apart. All
resampling is seeded: the same seconds give the same interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from diarbench.benchmarks.scoring import ScoringProtocol, score
from diarbench.benchmarks.windows import errors_by_window
from diarbench.datasets.rttm import Region, Turn
from diarbench.reports.records import LEVEL, Difference, ErrorSeconds, Interval

Floats = NDArray[np.float64]

RESAMPLES = 10_000
FEW_RECORDINGS = 10
"""With fewer, blocks of time are resampled."""
BLOCK_S = 10.0
POWER = 0.8
EXACT_UNITS = 16
"""Up to so many, the permutation test goes through all sign patterns."""
FEWEST_UNITS = 6
"""A permutation test of five cannot give a p under 2 / 2**5 = 0.0625."""


class Units(NamedTuple):
    """The parts of a test set that are resampled, with each system's seconds in them, in the same order."""

    unit: str
    errors: list[list[ErrorSeconds]]


def units_of(
    reference: Mapping[str, Sequence[Turn]],
    hypotheses: Sequence[Mapping[str, Sequence[Turn]]],
    scored: Mapping[str, Sequence[Region]],
    protocol: ScoringProtocol,
) -> Units:
    """Score systems by recording, or by block of time where the recordings are few."""
    if len(scored) >= FEW_RECORDINGS:
        found = [score(reference, hypothesis, scored, [protocol])[protocol.name] for hypothesis in hypotheses]
        return Units("recordings", [list(by_uri.values()) for by_uri in found])
    by_system = [
        [errors for *_, errors in errors_by_window(reference, hypothesis, scored, protocol, BLOCK_S)]
        for hypothesis in hypotheses
    ]
    # A block that is not scored, or is silent for reference and systems alike, is no evidence.
    used = [i for i, parts in enumerate(zip(*by_system, strict=True)) if any(part != ErrorSeconds() for part in parts)]
    return Units(f"blocks of {BLOCK_S:g} s", [[errors[i] for i in used] for errors in by_system])


def interval(errors: Sequence[ErrorSeconds], unit: str = "recordings") -> Interval:
    """Bootstrap interval of the pooled DER of some recordings."""
    wrong, total = _wrong(errors), _total(errors)
    return _interval(wrong, total, unit)


def compare(a: Sequence[ErrorSeconds], b: Sequence[ErrorSeconds], unit: str = "recordings") -> Difference:
    """Paired comparison of two systems' seconds on the same recordings, in the same order.

    Raises ValueError where the two were not scored on the same reference speech, or on none.
    """
    total = _total(a)
    if len(a) != len(b) or not np.allclose(total, _total(b), rtol=0, atol=1e-6):
        raise ValueError("the two systems were not scored on the same reference: their recordings or seconds differ")
    if not total.sum() > 0:
        raise ValueError("no reference speech is scored: there is no rate to compare")
    gained = _wrong(b) - _wrong(a)
    found = _interval(gained, total, unit)
    der = float(gained.sum() / total.sum())
    difference = Difference(der=der, interval=found, p=_permutation_p(gained), units_needed=None)
    error = _standard_error(gained, total)
    if difference.settled or der == 0 or not error > 0:
        return difference
    times_more = ((norm.ppf((1 + LEVEL) / 2) + norm.ppf(POWER)) * error / der) ** 2
    needed = max(math.ceil(times_more * len(a)), FEWEST_UNITS, len(a) + 1)
    return difference.model_copy(update={"units_needed": needed})


def _wrong(errors: Sequence[ErrorSeconds]) -> Floats:
    return np.array([e.miss + e.false_alarm + e.confusion for e in errors])


def _total(errors: Sequence[ErrorSeconds]) -> Floats:
    return np.array([e.total for e in errors])


def _interval(wrong: Floats, total: Floats, unit: str) -> Interval:
    """Expanded percentile interval of ``sum(wrong) / sum(total)``.

    After Hesterberg 2015, "What teachers should know about the bootstrap": plain percentiles are too narrow where units
    are few, by about as much as the normal distribution is narrower than Student's t.
    """
    n = wrong.size
    if n < 2 or not total.sum() > 0:
        return Interval(low=None, high=None, units=n, unit=unit)
    rng = np.random.default_rng(0)
    rates: list[Floats] = []
    for size in _chunks(RESAMPLES, n):
        drawn = rng.integers(0, n, size=(size, n))
        resampled = total[drawn].sum(axis=1)
        rates.append(wrong[drawn].sum(axis=1)[resampled > 0] / resampled[resampled > 0])
    tail = float(norm.cdf(-math.sqrt(n / (n - 1)) * t.ppf((1 + LEVEL) / 2, n - 1)))
    low, high = np.quantile(np.concatenate(rates), [tail, 1 - tail])
    return Interval(low=float(low), high=float(high), units=n, unit=unit)


def _standard_error(wrong: Floats, total: Floats) -> float:
    """Of ``sum(wrong) / sum(total)``, linearised."""
    n = wrong.size
    if n < 2:
        return math.nan
    residual = wrong - wrong.sum() / total.sum() * total
    return float(np.sqrt(n / (n - 1) * (residual**2).sum()) / total.sum())


def _permutation_p(gained: Floats) -> float:
    """Were the two systems alike, each recording's difference could as well have the other sign.

    All sign patterns where that can be done, else `RESAMPLES` at random and the one seen.
    """
    n = gained.size
    seen = abs(gained.sum()) * (1 - 1e-9)
    if n <= EXACT_UNITS:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float(np.mean(np.abs(signs @ gained) >= seen))
    rng = np.random.default_rng(0)
    as_large = sum(
        int((np.abs((1 - 2 * rng.integers(0, 2, size=(size, n), dtype=np.int8)) @ gained) >= seen).sum())
        for size in _chunks(RESAMPLES, n)
    )
    return (as_large + 1) / (RESAMPLES + 1)


def _chunks(rows: int, columns: int) -> list[int]:
    """Parts of ``rows`` that keep a table of so many columns to some 4 million cells."""
    part = max(4_000_000 // columns, 1)
    return [min(part, rows - done) for done in range(0, rows, part)]
