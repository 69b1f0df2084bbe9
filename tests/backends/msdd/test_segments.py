"""Segments at several scales, and the labels of a pair of speakers on them, against figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from diarbench.backends.msdd.segments import Scale, cut, frames, label_pair, stretches

SCALES = (Scale(1.0, 0.5), Scale(0.5, 0.25))


def test_a_stretch_is_cut_at_each_scale_and_the_last_segment_ends_with_it() -> None:
    segments = cut([(2.0, 3.3)], SCALES)
    assert segments.times[0] == pytest.approx(np.array([[2.0, 3.0], [2.5, 3.3]]))
    assert segments.base == pytest.approx(np.array([[2.0, 2.5], [2.25, 2.75], [2.5, 3.0], [2.75, 3.25], [3.0, 3.3]]))


def test_each_base_segment_takes_the_longer_segment_with_the_nearest_centre() -> None:
    # Centres: 2.5 and 2.9 of the longer scale; 2.25, 2.5, 2.75, 3.0 and 3.15 of the base.
    assert cut([(2.0, 3.3)], SCALES).mapping.tolist() == [[0, 0, 1, 1, 1], [0, 1, 2, 3, 4]]


def test_a_stretch_shorter_than_every_scale_is_one_segment_and_one_of_50_ms_is_none() -> None:
    segments = cut([(0.0, 0.05), (1.0, 1.2)], SCALES)
    assert [times.tolist() for times in segments.times] == [[[1.0, 1.2]], [[1.0, 1.2]]]
    assert cut([], SCALES).mapping.shape == (2, 0)


def test_stretches_are_the_runs_of_active_frames() -> None:
    assert stretches(np.array([1, 1, 0, 0, 1, 0])) == [(0.0, 0.02), (0.04, 0.05)]
    assert stretches(np.zeros(3)) == []


def test_a_time_that_a_float_cannot_hold_is_its_own_frame() -> None:
    assert frames(np.array([0.29, 0.57, 1.15, 0.375])).tolist() == [29, 57, 115, 37]


def test_a_speaker_is_active_in_a_segment_where_active_for_more_than_half_of_it() -> None:
    activity = np.zeros((100, 2))
    activity[:50, 0] = 1
    activity[40:100, 1] = 1
    labels = label_pair(cut([(0.0, 1.0)], SCALES), activity)
    # Base segments: 0-50, 25-75 and 50-100 frames. In the second, speaker 0 is active for exactly half.
    assert labels.targets.tolist() == [[1, 0], [0, 1], [0, 1]]
    assert labels.clusters[1].tolist() == [0, 1, 1]
    # The longer segment, 0-100, has the label of the first base segment, as in NeMo.
    assert labels.clusters[0].tolist() == [0]
