"""Choose hyper-parameters: the trial with the lowest DER on dev, where dev shows that it beats the defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from diarbench.backends.evidence import LEVEL, weigh
from diarbench.reports.results.run import Trial
from diarbench.reports.results.statistics import FEWEST_UNITS, Choice

LEVEL_WITH_FEW = 0.975
"""The level with fewer than FEWEST_UNITS: the lowest of many trials is then often lowest by chance."""


def choose(trials: Sequence[Trial], speech_s: Mapping[str, float]) -> Choice:
    """The trial to use; ``speech_s`` has the reference speech of each dev recording. Trial 0 has the defaults.

    Raises ValueError where no trial was scored.
    """
    rated = [trial for trial in trials if trial.der is not None]
    defaults, lowest = trials[0], min(rated, key=lambda trial: trial.der or 0.0)
    if defaults.der is None:
        return Choice(chosen=lowest.number, lowest=lowest.number, reason="the defaults could not be decoded")
    if lowest is defaults:
        return Choice(chosen=0, lowest=0, reason="the defaults are kept: no trial was better on dev")
    gain_s = {uri: defaults.error_s[uri] - lowest.error_s[uri] for uri in speech_s}
    level = LEVEL if len(speech_s) >= FEWEST_UNITS else LEVEL_WITH_FEW
    kept = "the defaults are kept"
    return weigh(lowest.number, f"trial {lowest.number}", "the defaults", kept, gain_s, speech_s, level)
