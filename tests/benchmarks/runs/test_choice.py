"""The rule that chooses hyper-parameters: by hand, and on measured errors where they are at hand."""

from __future__ import annotations

from statistics import fmean

import numpy as np
import pytest
from places import SHARED

from diarbench.benchmarks.runs.choice import choose
from diarbench.reports.results.run import Trial

ERRORS = SHARED / "tuning"
NETWORKS = ("pyannote-pretrained", "nemo-finetuned")
DEV_SIZES = (2, 3, 4, 7, 10)


def by_uri(seconds):
    return {str(k): value for k, value in enumerate(seconds)}


def trials_of(errors_s, speech_s):
    """Trials with the given seconds of error, ``(trials, recordings)``; None for a trial that failed."""
    return [
        Trial(number=k, values={}, der=None, seconds=0)
        if row is None
        else Trial(number=k, values={}, der=sum(row) / sum(speech_s), seconds=0, error_s=by_uri(row))
        for k, row in enumerate(errors_s)
    ]


def choice_of(errors_s, speech_s):
    return choose(trials_of(errors_s, speech_s), by_uri(speech_s))


def test_a_gain_that_all_recordings_share_is_chosen():
    choice = choice_of([[5.0] * 6, [4.0, 4.1, 3.9, 4.0, 4.1, 3.9], [6.0] * 6], [10.0] * 6)
    assert (choice.chosen, choice.lowest, choice.recordings, choice.level) == (1, 1, 6, 0.8)
    assert choice.gain == pytest.approx(0.1)
    # The gains have a standard deviation of 0.0894 s; Student's t with five degrees of freedom is 0.9195 at 0.8.
    assert choice.at_least == pytest.approx(0.1 - 0.9195 * 0.0894 / 6**0.5 / 10, abs=1e-5)
    assert choice.reason == (
        "trial 1 is 10.0 points better than the defaults on dev (80 % lower bound +9.7 points, 6 recordings)"
    )


def test_a_gain_of_one_recording_alone_is_not_chosen():
    choice = choice_of([[5.0] * 6, [0.0, 5.2, 5.2, 5.2, 5.2, 5.2]], [10.0] * 6)
    assert choice.kept_start and choice.lowest == 1 and choice.gain == pytest.approx(0.0667, abs=1e-4)
    assert choice.at_least < 0
    assert choice.reason.startswith(
        "the defaults are kept: trial 1 is 6.7 points better than the defaults on dev, which may be chance (80 %"
    )


def test_few_recordings_need_more_evidence():
    assert choice_of([[5.0] * 4, [4.0, 2.0, 4.5, 4.8]], [10.0] * 4).kept_start
    assert not choice_of([[5.0] * 4, [4.0, 3.9, 4.1, 3.8]], [10.0] * 4).kept_start
    alone = choice_of([[5.0], [1.0]], [10.0])
    assert alone.kept_start and alone.at_least is None
    assert "a single recording cannot show" in alone.reason


def test_trials_that_failed_and_defaults_that_are_the_lowest():
    assert choice_of([[5.0] * 6, None, [6.0] * 6], [10.0] * 6).reason == (
        "the defaults are kept: no trial was better on dev"
    )
    choice = choice_of([None, [6.0] * 6], [10.0] * 6)
    assert choice.chosen == 1 and choice.reason == "the defaults could not be decoded"


def gains(network, dev_size, rule, draws=400, trials=50):
    """Points of DER gained over the defaults on the recordings outside dev, for each draw of dev and of trials."""
    with np.load(ERRORS / f"{network}.npz") as file:
        error_s, speech_s = file["E"], file["T"]
    rng = np.random.default_rng(dev_size)
    for _ in range(draws):
        dev = rng.permutation(speech_s.size) < dev_size
        drawn = np.concatenate([[0], 1 + rng.permutation(len(error_s) - 1)[: trials - 1]])
        chosen = drawn[rule(error_s[drawn][:, dev], speech_s[dev])]
        yield 100 * (error_s[0, ~dev] - error_s[chosen, ~dev]).sum() / speech_s[~dev].sum()


def by_the_rule(error_s, speech_s):
    return choice_of(error_s, speech_s).chosen


def lowest_on_dev(error_s, speech_s):
    return int(error_s.sum(axis=1).argmin())


@pytest.mark.skipif(not ERRORS.is_dir(), reason="the measured errors are not at hand")
def test_the_rule_gains_and_rarely_harms_on_measured_errors():
    gained, harmed, kept = {}, {}, {}
    for place in [(network, size) for network in NETWORKS for size in DEV_SIZES]:
        rule, lowest = (list(gains(*place, choose_by)) for choose_by in (by_the_rule, lowest_on_dev))
        gained[place], harmed[place] = fmean(rule), fmean(gain < -1 for gain in rule)
        if place[1] >= 7 and fmean(lowest) > 0:
            kept[place] = fmean(rule) / fmean(lowest)
    assert fmean(gained.values()) >= 0.2
    assert max(harmed.values()) <= 0.12
    assert kept and min(kept.values()) >= 0.75
