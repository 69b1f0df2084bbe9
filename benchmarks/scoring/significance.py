"""Intervals, paired tests, and the test set size that a difference needs.

A test set is a sample of recordings, so recordings are the units: pieces of one recording are not independent of each
other. Nor are recordings that share speakers or a session: these are groups, and the groups are the units, whatever the
figures (Cameron and Miller 2015, "A practitioner's guide to cluster-robust inference"). With recordings as the units
the figures are about other recordings of these speakers: a difference has both, and with fewer than six groups these
alone. ``benchmarks/throughput/test_group_statistics.py`` measures how this holds its level.

p is that of a permutation test. Units of unequal size count as fewer in intervals: there are
``(sum of speech)**2 / (sum of speech**2)`` effective units (Kish 1965, "Survey sampling"). From ten on, intervals are
bootstrap intervals (Bisani and Ney 2004, "Bootstrap estimates for confidence intervals in ASR performance evaluation").
With fewer they are Student's t intervals of the ratio: its variance is the jackknife's, which leaves out one unit at a
time, and its degrees of freedom are the effective units less one. All resampling is seeded, so the same seconds give
the same interval.

In a cross-validation each fold trains its own network, and all recordings of the fold share the deviation of this
network. Where it was pretrained, the effect of training on each recording is known. If this effect varies more between
folds than between units, the excess is added to the variance. This holds the level, with and without such deviations
(``benchmarks/throughput/test_fold_statistics.py``).

With several seeds of both systems, seeds are a sample too. Units and seeds are then two crossed random factors, and
their variances add up: min F' of Clark 1973, "The language-as-fixed-effect fallacy". With one seed the test is about
these two networks, and the verdict says so. Seeds of a cross-validation share what is peculiar to the training data of
each fold, so that the larger of the two variances is added; repetitions divide the recordings anew and do not share it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
import scipy  # loads its submodules when they are used
from numpy.typing import NDArray

from diarbench.reports.results.scores import ErrorSeconds
from diarbench.reports.results.statistics import (
    FEWEST_UNITS,
    GROUPS,
    LEVEL,
    RECORDINGS,
    SHARING,
    Difference,
    Interval,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

RESAMPLES = 10_000

BOOTSTRAP_FROM = 10
"""With fewer effective units the bootstrap's interval is too narrow, and Student's t interval is given."""

POWER = 0.8

MOST_UNITS = 10**12
"""The largest number of units needed that is searched for; more is reported as about this number."""

EXACT_UNITS = 16
"""The permutation test enumerates all sign patterns up to this number of units."""

FEW = 3
"""At most this many units, and at most a tenth of them, count as the few that decide a verdict."""


def interval(errors: Sequence[ErrorSeconds], groups: Sequence[int] = ()) -> Interval:
    """The 95 % interval of the pooled DER.

    ``groups`` has the number of each recording's group: of those that share speakers or a session.
    """
    error_s, speech_s = _error_s(errors), _speech_s(errors)
    units, unit = _units(groups)
    bounds = _interval(_by_unit(error_s, units), _by_unit(speech_s, units))
    low = None if bounds.low is None else max(bounds.low, 0.0)
    return bounds.model_copy(update={"low": low, "unit": unit})


def compare(
    a: Sequence[ErrorSeconds],
    b: Sequence[ErrorSeconds],
    recordings: Sequence[str] = (),
    groups: Sequence[int] = (),
) -> Difference:
    """Paired comparison of one output of each system on the same recordings, in the same order.

    ``recordings`` are their names, and ``groups`` the numbers of their groups: of those that share speakers or a
    session. Raises ValueError if the systems were not scored on the same reference speech, or if there is none.
    """
    return compare_seeds([a], [b], recordings, groups).model_copy(update={"seeds": None})


def compare_seeds(
    a: Sequence[Sequence[ErrorSeconds]],
    b: Sequence[Sequence[ErrorSeconds]],
    recordings: Sequence[str] = (),
    groups: Sequence[int] = (),
    folds: Sequence[int] = (),
    training_s: Sequence[float] | None = None,
) -> Difference:
    """Paired comparison of two systems with one or several seeds each; ``a[seed][recording]``. Raises as `compare`.

    ``folds`` are the recordings' folds in a cross-validation, where all outputs have the same and no group is in two,
    and ``training_s`` what training changed in the difference of each recording, in seconds; None where that is not
    known.
    """
    speech_s = _speech_s(a[0])
    if not all(len(seed) == len(a[0]) and np.allclose(speech_s, _speech_s(seed), 0, 1e-6) for seed in (*a, *b)):
        raise ValueError("the two systems were not scored on the same reference: their recordings or seconds differ")
    if not speech_s.sum() > 0:
        raise ValueError("no reference speech is scored, so there is no error rate to compare")
    errors_a, errors_b = (np.array([_error_s(seed) for seed in system]) for system in (a, b))
    units, unit = _units(groups)
    training = None if training_s is None else np.array(training_s)
    difference = _difference(errors_a, errors_b, speech_s, recordings, units, unit, folds, training)
    if unit != GROUPS:
        return difference
    by_recording = _difference(errors_a, errors_b, speech_s, recordings, None, SHARING, folds, training)
    return difference.model_copy(update={"of_these": by_recording})


def _difference(
    errors_a: Floats,
    errors_b: Floats,
    speech_s: Floats,
    recordings: Sequence[str],
    units: Ints | None,
    unit: str,
    folds: Sequence[int],
    training_s: Floats | None,
) -> Difference:
    """The difference by units; errors (seeds, recordings) in seconds."""
    seeds = len(errors_a), len(errors_b)
    speech_s, errors_a, errors_b = (_by_unit(seconds, units) for seconds in (speech_s, errors_a, errors_b))
    differences_s = errors_b.mean(axis=0) - errors_a.mean(axis=0)
    n, der = differences_s.size, float(differences_s.sum() / speech_s.sum())
    with_variances = _with_seeds(differences_s, errors_a, errors_b, speech_s) if min(seeds) > 1 else None
    by_fold = None
    if folds:
        changed_s = differences_s if training_s is None else _by_unit(training_s, units)
        folds = folds if units is None else [folds[at] for at in np.unique(units, return_index=True)[1]]
        seed_variance = with_variances[2] if with_variances else 0.0
        by_fold = _with_folds(differences_s, changed_s, speech_s, folds, seed_variance)
    with_variances = by_fold or with_variances
    p_at_most, other_variance = False, 0.0
    if with_variances:
        bounds, p, other_variance = with_variances
    else:
        bounds, p = _interval(differences_s, speech_s), permutation_p(differences_s)
        p_at_most = n > EXACT_UNITS and p <= 1 / (RESAMPLES + 1)
    difference = Difference(
        der=der,
        interval=bounds.model_copy(update={"unit": unit}),
        p=p,
        units_needed=None,
        p_at_most=p_at_most,
        better_a=int((differences_s > 1e-9).sum()),
        better_b=int((differences_s < -1e-9).sum()),
        seeds=seeds,
        folds=len(set(folds)) if by_fold else None,
        speech_s=float(speech_s.sum()),
    )
    is_confirmed = bool(_shown(differences_s, speech_s)) == difference.is_shown  # by a t test over units
    if recordings and difference.has_verdict and is_confirmed and not other_variance:
        unit_of = dict(zip(recordings, range(n) if units is None else units, strict=True))
        few = tuple(name for each in deciding(differences_s, speech_s) for name in recordings if unit_of[name] == each)
        difference = difference.model_copy(update={"outliers": few})
    variance, freedom = _variance(differences_s, speech_s)
    if difference.is_shown or abs(der) < 1e-9 or not variance > 0:
        return difference
    # The variance over seeds and trainings stays, however many units there are.
    needed = _needed(der, n, variance, freedom, other_variance)
    if needed is None:
        return difference.model_copy(update={"needs_seeds": True})
    return difference.model_copy(update={"units_needed": max(needed, FEWEST_UNITS, n + 1)})


def _needed(der: float, n: int, variance: float, freedom: float, other_variance: float) -> int | None:
    """The number of units like these ``n`` with which a t test shows the difference with the power `POWER`.

    None where ``other_variance``, which more units do not lower, is too large for any number.
    """

    def is_enough(units: int) -> bool:
        degrees = (freedom + 1) / n * units - 1
        quantiles = scipy.special.stdtrit(degrees, [(1 + LEVEL) / 2, POWER]).sum() if degrees > 0 else math.inf
        return bool(der**2 >= quantiles**2 * (variance * n / units + other_variance))

    if der**2 <= scipy.special.ndtri([(1 + LEVEL) / 2, POWER]).sum() ** 2 * other_variance:
        return None
    high = n
    while high < MOST_UNITS and not is_enough(high):
        high *= 2
    return 1 + bisect_left(range(1, high), True, key=is_enough)


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


def deciding(differences_s: Floats, speech_s: Floats) -> list[int]:
    """The few units without which a t test would give another verdict; empty where there are none.

    Where the difference is shown, those that contribute most to it; otherwise those that contribute most against the
    system that most units favour.
    """
    n = differences_s.size
    shown = _shown(differences_s, speech_s)
    favoured = shown or np.sign((differences_s > 0).sum() - (differences_s < 0).sum())
    order = np.argsort(-differences_s * favoured if shown else differences_s * favoured, kind="stable")
    for count in range(1, min(FEW, n // 10) + 1):
        left = np.delete(np.arange(n), order[:count])
        if _shown(differences_s[left], speech_s[left]) == (0 if shown else favoured):
            return [int(k) for k in order[:count]] if favoured else []
    return []


def _shown(differences_s: Floats, speech_s: Floats) -> int:
    """The sign of a difference that a t test finds significant; 0 where it finds none."""
    der, (variance, freedom) = differences_s.sum() / speech_s.sum(), _variance(differences_s, speech_s)
    margin = scipy.special.stdtrit(freedom, (1 + LEVEL) / 2) * math.sqrt(variance)
    return int(np.sign(der)) if abs(der) > margin else 0


def _with_seeds(
    differences_s: Floats, errors_a: Floats, errors_b: Floats, speech_s: Floats
) -> tuple[Interval, float, float]:
    """Interval and p of a difference over units and seeds, and its variance over seeds (Clark's min F')."""
    n, der = differences_s.size, float(differences_s.sum() / speech_s.sum())
    ders = [errors.sum(axis=1) / speech_s.sum() for errors in (errors_a, errors_b)]
    of_seeds = [(float(d.var(ddof=1)) / d.size, float(d.size - 1)) for d in ders]
    bounds, p = _t_test(der, n, _variance(differences_s, speech_s), *of_seeds)
    return bounds, p, sum(variance for variance, _ in of_seeds)


def _with_folds(
    differences_s: Floats, changed_s: Floats, speech_s: Floats, folds: Sequence[int], seed_variance: float
) -> tuple[Interval, float, float] | None:
    """Interval and p of a difference over units and folds, and its variance over the folds' trainings.

    ``changed_s`` are the seconds of the differences that come from training. None where they do not vary more between
    folds than their units and the seeds explain.
    """
    n, der = differences_s.size, float(differences_s.sum() / speech_s.sum())
    present, labels = np.unique(np.asarray(folds), return_inverse=True)
    fold_changed_s, fold_speech_s = np.zeros(present.size), np.zeros(present.size)
    np.add.at(fold_changed_s, labels, changed_s)
    np.add.at(fold_speech_s, labels, speech_s)
    of_folds, freedom = _variance(fold_changed_s, fold_speech_s)
    excess = of_folds - _variance(changed_s, speech_s)[0]
    if not excess > seed_variance:
        return None
    bounds, p = _t_test(der, n, _variance(differences_s, speech_s), (excess, freedom))
    return bounds, p, excess


def _t_test(der: float, n: int, *parts: tuple[float, float]) -> tuple[Interval, float]:
    """Interval and p of a t test of a difference.

    ``parts`` are independent variances with their degrees of freedom. The variance is their sum, and its degrees of
    freedom are Satterthwaite's. If a part is NaN, there is no interval and p is 1.
    """
    variance = sum(part for part, _ in parts)
    if math.isnan(variance):
        return Interval(low=None, high=None, units=n), 1.0
    if variance == 0:
        return Interval(low=der, high=der, units=n), float(der == 0)
    freedom = variance**2 / sum(part**2 / freedom for part, freedom in parts)
    margin = float(scipy.special.stdtrit(freedom, (1 + LEVEL) / 2)) * math.sqrt(variance)
    p = 2 * float(scipy.special.stdtr(freedom, -abs(der) / math.sqrt(variance)))
    return Interval(low=der - margin, high=der + margin, units=n), p


def _variance(error_s: Floats, speech_s: Floats) -> tuple[float, float]:
    """Jackknife variance of ``sum(error_s) / sum(speech_s)`` over its units, and its degrees of freedom.

    NaN where it cannot be estimated: with one unit, or where all speech is in one.
    """
    n, left_s = error_s.size, speech_s.sum() - speech_s
    if n < 2 or not left_s.min() > 0:
        return math.nan, math.nan
    without = (error_s.sum() - error_s) / left_s - error_s.sum() / speech_s.sum()
    return float((n - 1) / n * (without**2).sum()), max(_effective(speech_s) - 1, 1.0)


def _effective(speech_s: Floats) -> float:
    """The number of units of equal speech that these units are worth."""
    return float(speech_s.sum() ** 2 / (speech_s**2).sum())


def _units(groups: Sequence[int]) -> tuple[Ints | None, str]:
    """What is a unit, and the unit of each recording where groups of recordings are the units; None otherwise.

    Groups are the units where recordings are known to share speakers or a session, and there are enough of them.
    """
    numbers, units = np.unique(np.asarray(groups, dtype=int), return_inverse=True)
    if numbers.size == len(groups):
        return None, RECORDINGS
    return (units, GROUPS) if numbers.size >= FEWEST_UNITS else (None, SHARING)


def _by_unit(seconds: Floats, units: Ints | None) -> Floats:
    """Seconds of recordings, summed by unit along the last axis."""
    if units is None:
        return seconds
    return np.apply_along_axis(lambda each: np.bincount(units, each), -1, seconds)


def _error_s(errors: Sequence[ErrorSeconds]) -> Floats:
    return np.array([e.error_s for e in errors])


def _speech_s(errors: Sequence[ErrorSeconds]) -> Floats:
    return np.array([e.total for e in errors])


def _interval(error_s: Floats, speech_s: Floats) -> Interval:
    """Interval of ``sum(error_s) / sum(speech_s)``: an expanded percentile interval, or with few units a t one.

    Expanded after Hesterberg 2015, "What teachers should know about the bootstrap": with few units, plain percentiles
    are too narrow by about as much as the normal distribution is narrower than Student's t.
    """
    n = error_s.size
    if n < 2 or not speech_s.sum() > 0:
        return Interval(low=None, high=None, units=n)
    if _effective(speech_s) < BOOTSTRAP_FROM:
        return _t_test(float(error_s.sum() / speech_s.sum()), n, _variance(error_s, speech_s))[0]
    rng = np.random.default_rng(0)
    rates: list[Floats] = []
    for size in _chunks(RESAMPLES, n):
        drawn = rng.integers(0, n, size=(size, n))
        resampled = speech_s[drawn].sum(axis=1)
        rates.append(error_s[drawn].sum(axis=1)[resampled > 0] / resampled[resampled > 0])
    quantile = float(scipy.special.stdtrit(n - 1, (1 + LEVEL) / 2))
    tail = float(scipy.special.ndtr(-math.sqrt(n / (n - 1)) * quantile))
    low, high = np.quantile(np.concatenate(rates), [tail, 1 - tail])
    return Interval(low=float(low), high=float(high), units=n)


def _chunks(rows: int, columns: int) -> list[int]:
    """Split ``rows`` into parts such that a table of ``columns`` columns has at most about 4 million cells."""
    part = max(4_000_000 // columns, 1)
    return [min(part, rows - done) for done in range(0, rows, part)]
