"""Intervals and paired differences between systems."""

from __future__ import annotations

from diarbench.datasets.dataset import Subset
from diarbench.datasets.io.names import first_names, plural
from diarbench.datasets.io.records import Record

LEVEL = 0.95
"""Confidence level of every interval."""


FEWEST_UNITS = 6
"""With fewer recordings, or groups of them, there is no verdict: with five, p is at least 2 / 2**5 = 0.0625."""

WORTH_HAVING = 100
"""A test set of more than this many times the present recordings is no answer to what would decide."""

RECORDINGS = "recordings"

GROUPS = "groups"
"""Groups of recordings that share speakers or a session."""

SHARING = "recordings that share speakers"
"""Recordings where they are not independent of each other: what is found holds for these speakers."""


class Interval(Record):
    """A 95 % interval of a rate, as fractions; None with fewer than two units."""

    low: float | None
    high: float | None
    units: int
    unit: str = RECORDINGS
    """What is taken as independent: `RECORDINGS`; `GROUPS` or `SHARING` where they share speakers or a session.

    Version 0.1 also resampled ``blocks of 10 s``, which are not independent.
    """

    @property
    def counted(self) -> str:
        """``1 recording``, ``14 recordings that share speakers``, ``4 groups of recordings``."""
        more = "of recordings" if self.unit == GROUPS else self.unit.removeprefix(self.noun).lstrip()
        return f"{plural(self.units, self.noun.removesuffix('s'))} {more}".rstrip()

    @property
    def noun(self) -> str:
        """``recordings``, ``groups``."""
        return self.unit.partition(" ")[0]


class Difference(Record):
    """System B compared with system A on the same recordings; ``der`` is B minus A, so B is better below zero."""

    der: float
    interval: Interval
    p: float
    """Two-sided: of the paired permutation test, or with seeds or folds of a t test."""
    units_needed: int | None
    """Number of units with which a difference of this size would be significant with 80 % power.

    None where it is already significant, is zero, cannot be estimated, or where more seeds are needed first.
    """
    p_at_most: bool = False
    """Whether p is the smallest that the resampling can give: the true one may be smaller."""
    better_a: int | None = None
    """Units on which A has less error; None in results of version 0.1."""
    better_b: int | None = None
    """Units on which B has less error."""
    outliers: tuple[str, ...] = ()
    """The few recordings without which the verdict would be another one."""
    seeds: tuple[int, int] | None = None
    """Outputs of A and of B, one a seed; None where that is not known."""
    replicate: str = "seed"
    """What the outputs of a system differ in: ``seed``; ``repetition`` where a cross-validation was repeated."""
    folds: int | None = None
    """Number of folds, where the deviations of their trainings are part of the error."""
    needs_seeds: bool = False
    """Whether the seeds differ so much that no number of recordings would decide with as many seeds."""
    speech_s: float | None = None
    """Seconds of reference speech behind the difference."""
    of_these: Difference | None = None
    """Where groups are the units, the same by recordings: what holds for these speakers."""

    def reversed(self) -> Difference:
        """System A compared with system B."""
        low, high = self.interval.low, self.interval.high
        bounds = {"low": None if high is None else -high, "high": None if low is None else -low}
        return self.model_copy(
            update={
                "der": -self.der,
                "interval": self.interval.model_copy(update=bounds),
                "better_a": self.better_b,
                "better_b": self.better_a,
                "seeds": self.seeds and self.seeds[::-1],
                "of_these": self.of_these and self.of_these.reversed(),
            }
        )

    @property
    def has_verdict(self) -> bool:
        """Whether there are enough units for a verdict."""
        return self.interval.units >= FEWEST_UNITS and self.interval.unit in (RECORDINGS, GROUPS, SHARING)

    @property
    def is_shown(self) -> bool:
        """Whether there is a verdict by these units, p is below 0.05 and the interval excludes zero."""
        low, high = self.interval.low, self.interval.high
        is_beyond_zero = low is not None and high is not None and not low <= 0 <= high
        return self.has_verdict and self.p < 1 - LEVEL and is_beyond_zero

    @property
    def is_significant(self) -> bool:
        """Whether it is shown for other speakers than these, too."""
        return self.is_shown and self.interval.unit != SHARING

    @property
    def for_these(self) -> Difference | None:
        """What is shown for these speakers alone; None where it is shown for others too, or not at all."""
        if self.is_significant:
            return None
        return next((each for each in (self, self.of_these) if each and each.is_shown), None)

    @property
    def is_beyond_reach(self) -> bool:
        """Whether no number of units worth having would show the difference, as far as those at hand can tell."""
        return (
            self.has_verdict
            and self.units_needed is not None
            and self.units_needed > WORTH_HAVING * self.interval.units
        )

    @property
    def units_text(self) -> str:
        """``14 recordings``, or ``14 recordings, 3 folds`` where the trainings of folds differ."""
        return f"{self.interval.counted}, {self.folds} folds" if self.folds else self.interval.counted

    @property
    def p_text(self) -> str:
        """``p = 0.016``, ``p below 0.0001``, or ``p at most 0.0001`` at the floor of the resampling."""
        if self.p < 1e-4 and not self.p_at_most:
            return "p below 0.0001"
        return f"p {'at most' if self.p_at_most else '='} {self.p:.2g}"

    def verdict(self, a: str, b: str) -> str:
        """One sentence: which system is better or why that cannot be said, with the evidence and what would decide."""
        points = f"{abs(self.der) * 100:.2f} points of DER"
        evidence = f"{self.p_text}, {self.interval.counted}{self.counts(a, b)}{self._seeds}"
        better, worse = (b, a) if self.der < 0 else (a, b)
        found = f"{better} is better than {worse} by {points}"
        if self.is_significant:
            return f"{found} ({evidence}){self._outliers('not be shown')}."
        if these := self.for_these:
            evidence = f"{these.p_text}, {these.interval.counted}{these.counts(a, b)}{self._seeds}"
            found = f"{found} for these speakers ({evidence}){these._outliers('not be shown')}"
            return f"{found}; {self.for_others}{self._needed}."
        if not self.has_verdict:
            return f"No verdict: {points} between {a} and {b} ({evidence}); {self._too_few}."
        found = f"No significant difference: {points} between {a} and {b} ({evidence}{self._disagreement})"
        return f"{found}{self._outliers('be significant')}{self._needed}."

    @property
    def for_others(self) -> str:
        """What is known about other speakers where the difference is shown for these alone."""
        if self.interval.unit == GROUPS:
            return f"for other speakers it is not shown ({self.p_text}, {self.interval.counted})"
        return f"fewer than {FEWEST_UNITS} groups without common speakers say nothing about others"

    def counts(self, a: str, b: str) -> str:
        """How many units favour each system: ``, 12 favour A, 4 favour B``; empty where it is not known."""
        if self.better_a is None or self.better_b is None:
            return ""
        verbs = ["favours" if count == 1 else "favour" for count in (self.better_a, self.better_b)]
        return f", {self.better_a} {verbs[0]} {a}, {self.better_b} {verbs[1]} {b}"

    @property
    def _seeds(self) -> str:
        if self.seeds is None:
            return ""
        counts = [f"{count} {self.replicate}{'s' if count > 1 else ''}" for count in self.seeds]
        each = f"one {self.replicate} each" if self.seeds == (1, 1) else f"{counts[0]} each"
        folds = f", over {self.folds} folds, whose trainings differ" if self.folds else ""
        return f", {each if counts[0] == counts[1] else ' and '.join(counts)}{folds}"

    @property
    def _too_few(self) -> str:
        if self.interval.noun == "blocks":
            return "blocks of the same recordings are not independent, so they cannot show which system is better"
        return f"at least {FEWEST_UNITS} {self.interval.noun} are needed for one"

    def _outliers(self, otherwise: str) -> str:
        if not self.outliers:
            return ""
        few = first_names(self.outliers)
        return f"; without {few} it would {otherwise}"

    @property
    def _needed(self) -> str:
        if self.needs_seeds and self.folds:
            return "; the trainings of the folds differ too much: more seeds or repetitions are needed"
        if self.needs_seeds:
            return (
                f"; the {self.replicate}s differ too much for any number of recordings: "
                f"more {self.replicate}s are needed"
            )
        if self.units_needed is None:
            return ""
        if self.is_beyond_reach:
            return f"; no number of {self.interval.noun} worth having would show it"
        amount = ""
        if self.speech_s is not None:
            amount = f" ({_duration(self.speech_s * self.units_needed / self.interval.units)} of speech)"
        return f"; about {self.units_needed} {self.interval.noun}{amount} would be needed to show it (80 % power)"

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


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds >= 5400 else f"{seconds / 60:.1f} minutes"


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
    """Two systems of a comparison on the same recordings, each with all its seeds."""

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
