"""Fractions of a train subset have the requested duration, and smaller ones are contained in larger ones."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from diarbench.backends.training.windows import training_windows
from diarbench.datasets.dataset import Dataset, Recording, annotated_s
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.subsampling import with_mixed_in, with_train


def tenths_inside(recordings: tuple[Recording, ...]) -> set[tuple[str, int]]:
    """The tenths of a second inside the regions of each recording."""
    return {
        (recording.uri, tenth)
        for recording in recordings
        for start_s, end_s in recording.regions
        for tenth in range(round(10 * start_s), round(10 * end_s))
    }


@pytest.mark.parametrize("seed", [1, 2])
def test_a_larger_fraction_contains_a_smaller_one(ami_mini: Dataset, seed: int) -> None:
    """Ten recordings of 30 s."""
    parts = [with_train(ami_mini, fraction, seed).subset("train") for fraction in (0.05, 0.1, 0.25, 0.5, 1)]
    assert [annotated_s(part) for part in parts] == pytest.approx([15, 30, 75, 150, 300], abs=1e-3)
    assert [len(part) for part in parts] == [1, 1, 3, 5, 10]
    inside = [tenths_inside(part) for part in parts]
    assert all(a < b for a, b in pairwise(inside))


def test_the_fraction_depends_on_the_seed(ami_mini: Dataset) -> None:
    parts = [{r.uri for r in with_train(ami_mini, 0.5, seed).subset("train")} for seed in (1, 1, 2)]
    assert parts[0] == parts[1] != parts[2]


def test_windows_stay_inside_the_fraction_and_dev_and_test_are_unchanged(ami_mini: Dataset) -> None:
    part = with_train(ami_mini, 0.25, seed=1)
    windows = training_windows(part.subset("train"), 10, seed=1, epoch=1)
    assert len(windows) == 8  # 30 s, 30 s and 15 s, which is cut into two jittered slots
    inside = {(w.recording.uri, round(w.start / 1600 + k)) for w in windows for k in range(1, 99)}
    assert inside <= tenths_inside(part.subset("train"))
    assert part.subset("dev") == ami_mini.subset("dev") and part.subset("test") == ami_mini.subset("test")
    assert with_train(ami_mini, 1, seed=1) is ami_mini


def test_nothing_that_selects_or_tests_systems_is_mixed_in(ami_mini: Dataset) -> None:
    (of_test, *_) = ami_mini.subset("test")
    other = replace(ami_mini, recordings={"train": (*ami_mini.subset("train"), of_test)})
    with pytest.raises(UserError, match=rf"mix: .*{of_test.uri}.wav: is also in test of ami-mini"):
        with_mixed_in(ami_mini, [(other, 0.5)])
    (mixed,) = with_mixed_in(ami_mini, [(replace(other, recordings=ami_mini.recordings), 0.5)]).mixed_in
    assert (mixed.name, mixed.recordings, mixed.share) == ("ami-mini", ami_mini.subset("train"), 0.5)
