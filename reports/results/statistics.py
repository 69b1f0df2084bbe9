"""Intervals and paired differences between systems."""

from __future__ import annotations

from diarbench.datasets.dataset import Subset
from diarbench.datasets.io.records import Record

LEVEL = 0.95
"""Confidence level of every interval."""


class Interval(Record):
    """A 95 % bootstrap interval of a rate, as fractions; None with fewer than two units to resample."""

    low: float | None
    high: float | None
    units: int
    unit: str
    """What was resampled: ``recordings``, or ``blocks of 10 s``."""


class Difference(Record):
    """System B compared with system A on the same recordings; ``der`` is B minus A, so B is better below zero."""

    der: float
    interval: Interval
    p: float
    """Two-sided p-value of the paired permutation test."""
    units_needed: int | None
    """Number of units with which a difference of this size would be significant with 80 % power.

    None where it is already significant, is zero, or cannot be estimated.
    """

    def reversed(self) -> Difference:
        """System A compared with system B."""
        low, high = self.interval.low, self.interval.high
        bounds = {"low": None if high is None else -high, "high": None if low is None else -low}
        return self.model_copy(update={"der": -self.der, "interval": self.interval.model_copy(update=bounds)})

    @property
    def is_significant(self) -> bool:
        """Whether p is below 0.05 and the interval excludes zero."""
        low, high = self.interval.low, self.interval.high
        return self.p < 1 - LEVEL and low is not None and high is not None and not low <= 0 <= high

    def verdict(self, a: str, b: str) -> str:
        """One sentence; it warns where the test set is too small."""
        evidence = f"p = {self.p:.2g}, {self.interval.units} {self.interval.unit}"
        points = f"{abs(self.der) * 100:.2f} points of DER"
        if self.is_significant:
            better, worse = (b, a) if self.der < 0 else (a, b)
            is_small = self.interval.unit != "recordings"
            warning = "; too few recordings to generalise to others" if is_small else ""
            return f"{better} is better than {worse} by {points} ({evidence}){warning}."
        sentence = f"No significant difference: {points} between {a} and {b} ({evidence}{self._disagreement})"
        if self.units_needed is None:
            return f"{sentence}."
        return f"{sentence}; about {self.units_needed} {self.interval.unit} would be needed to show it (80 % power)."

    @property
    def _disagreement(self) -> str:
        """Which of interval and test alone finds the difference significant; empty where neither does."""
        low, high = self.interval.low, self.interval.high
        if low is None or high is None:
            return ""
        if self.p < 1 - LEVEL:
            return f"; significant by the test alone: the {LEVEL:.0%} interval includes zero"
        if not low <= 0 <= high:
            return f"; significant by the {LEVEL:.0%} interval alone: the test's p is not below {1 - LEVEL:.2g}"
        return ""


class Choice(Record):
    """What was chosen on dev, and the evidence: the candidate with the lowest DER compared with the start.

    Candidates are trials or epochs; number 0 is the start: the default hyper-parameters, or the pretrained network.
    """

    chosen: int
    """The number of what is used; 0 where the start is kept."""
    lowest: int
    """The first candidate with the lowest figure on dev."""
    gain: float = 0.0
    """DER of the start minus DER of the lowest candidate, as a fraction."""
    at_least: float | None = None
    """The lower confidence bound of the gain, by recordings; None where it cannot be estimated."""
    level: float | None = None
    """The one-sided confidence level of the bound."""
    recordings: int | None = None
    """Dev recordings behind the bound."""
    reason: str
    """Why this was chosen, or why the start was kept, in one sentence."""

    @property
    def kept_start(self) -> bool:
        return self.chosen == 0


class Contrast(Record):
    """Two systems of a comparison on the same recordings, each with all its seeds pooled."""

    dataset: str
    subset: Subset
    condition: str
    a: str
    """``backend stage``; includes the recipe where recipes differ."""
    b: str
    difference: Difference
    verdict: str
    """The sentence of `Difference.verdict`."""
    explains: dict[str, dict[str, float]]
    """The share of the difference in DER (b minus a) from each slicing and part, as fractions."""
