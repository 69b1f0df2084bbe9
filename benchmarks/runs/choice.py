"""Choose hyper-parameters by what dev can show.

The trial with the lowest DER on dev replaces the defaults only where its gain over them is shown by the dev recordings:
where the lower confidence bound of the paired difference is above zero. Recordings are the units, as in the tests on
the test set: shorter pieces of one recording are not independent of each other. With few recordings the level is
higher, because the lowest of many trials then is often lowest by chance. ``docs/tuning.md`` has the measurements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import t

from diarbench.benchmarks.scoring.significance import FEWEST_UNITS, standard_error
from diarbench.reports.results.run import Choice, Trial

LEVEL = 0.8
"""One-sided confidence level of the lower bound."""

LEVEL_WITH_FEW = 0.975
"""The level with fewer than FEWEST_UNITS recordings."""


def choose(trials: Sequence[Trial], speech_s: Mapping[str, float]) -> Choice:
    """The trial to use; ``speech_s`` has the reference speech of each dev recording. Trial 0 has the defaults.

    Raises ValueError where no trial was scored.
    """
    rated = [trial for trial in trials if trial.der is not None]
    defaults, lowest = trials[0], min(rated, key=lambda trial: trial.der or 0.0)
    if defaults.der is None:
        return Choice(trial=lowest.number, lowest=lowest.number, reason="the defaults could not be decoded")
    if lowest is defaults:
        return Choice(trial=0, lowest=0, reason="kept at the defaults: no trial was better on dev")
    speech = np.array(list(speech_s.values()))
    gains_s = np.array([defaults.error_s[uri] - lowest.error_s[uri] for uri in speech_s])
    gain, recordings = float(gains_s.sum() / speech.sum()), len(speech)
    level = LEVEL if recordings >= FEWEST_UNITS else LEVEL_WITH_FEW
    found = f"trial {lowest.number} is {100 * gain:.1f} points better than the defaults on dev"
    kept = Choice(trial=0, lowest=lowest.number, gain=gain, level=level, recordings=recordings, reason="")
    if recordings == 1:
        reason = f"kept at the defaults: {found}, but a single recording cannot show that this holds for others"
        return kept.model_copy(update={"reason": reason})
    at_least = gain - float(t.ppf(level, recordings - 1)) * standard_error(gains_s, speech)
    bound = f"{100 * level:g} % lower bound {100 * at_least:+.1f} points, {recordings} recordings"
    if at_least <= 0:
        reason = f"kept at the defaults: {found}, which is not shown ({bound})"
        return kept.model_copy(update={"at_least": at_least, "reason": reason})
    return kept.model_copy(update={"trial": lowest.number, "at_least": at_least, "reason": f"{found} ({bound})"})
