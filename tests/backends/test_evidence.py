"""The evidence on dev, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from diarbench.backends.evidence import standard_error, weigh


def weighed(*gains, level=0.8):
    gain_s = {str(k): gain for k, gain in enumerate(gains)}
    return weigh(3, "epoch 3", "the start", "the start is kept", gain_s, dict.fromkeys(gain_s, 10.0), level)


def test_standard_error_of_a_ratio():
    # Recordings of equal length: the rates are 0.1, 0.2 and 0.3, so the mean's error is 0.1 / sqrt(3).
    assert standard_error(np.array([1.0, 2.0, 3.0]), np.full(3, 10.0)) == pytest.approx(0.1 / 3**0.5)
    assert math.isnan(standard_error(np.array([1.0]), np.array([10.0])))


def test_a_candidate_is_chosen_only_where_its_gain_is_shown():
    shown = weighed(1.0, 2.0, 3.0)
    # Student's t with two degrees of freedom is 1.0607 at 0.8.
    assert shown.chosen == 3 and shown.at_least == pytest.approx(0.2 - 1.0607 * 0.1 / 3**0.5, abs=1e-4)
    assert shown.reason == (
        "epoch 3 is 20.0 points better than the start on dev (80 % lower bound +13.9 points, 3 recordings)"
    )
    doubtful = weighed(1.0, 2.0, 3.0, level=0.975)
    assert doubtful.kept_start and doubtful.lowest == 3 and doubtful.at_least < 0
    assert doubtful.reason.startswith("the start is kept: epoch 3 is 20.0 points better than the start on dev, which")
    assert weighed(-1.0, 0.5).reason == "the start is kept: epoch 3 is not better on dev (-2.5 points)"
    assert "a single recording cannot show" in weighed(5.0).reason
