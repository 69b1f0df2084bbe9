"""Training and validation windows and their targets, computed by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diarbench.backends.training.windows import (
    ExcludedSpeech,
    Window,
    read,
    targets,
    training_windows,
    validation_windows,
)
from diarbench.datasets.dataset import Dataset, Recording
from diarbench.datasets.io.audio import SAMPLE_RATE
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.rttm import Region, Turn


def recording(turns: list[Turn], regions: list[Region], duration_s: float = 30.0) -> Recording:
    recording = Recording("r", "train", *(Path("r") for _ in range(3)))
    for name, value in (("turns", turns), ("regions", regions), ("duration_s", duration_s)):
        recording.__dict__[name] = value  # cached properties that would read files
    return recording


def test_the_windows_of_an_epoch_cover_each_region(ami_mini: Dataset) -> None:
    recordings = ami_mini.subset("train")
    windows = training_windows(recordings, 10, seed=1, epoch=1)
    annotated_s = sum(region.end_s - region.start_s for r in recordings for region in r.regions)
    assert len(windows) == pytest.approx(annotated_s / 10, abs=1)
    for item in recordings:
        starts = sorted(window.start / SAMPLE_RATE for window in windows if window.recording is item)
        assert len(starts) == 3
        assert 0 <= starts[0] <= 20 / 3 <= starts[1] <= 40 / 3 <= starts[2] <= 20


def test_windows_depend_on_seed_and_epoch(ami_mini: Dataset) -> None:
    def drawn(seed: int, epoch: int) -> list[tuple[str, int]]:
        return [(w.recording.uri, w.start) for w in training_windows(ami_mini.subset("train"), 10, seed, epoch)]

    assert drawn(1, 1) == drawn(1, 1)
    assert drawn(1, 1) != drawn(1, 2)
    assert drawn(1, 1) != drawn(2, 1)
    assert [uri for uri, _ in drawn(1, 1)] != sorted(uri for uri, _ in drawn(1, 1)), "not shuffled"


def test_regions_shorter_than_a_window_are_counted() -> None:
    with_short_regions = recording([], [Region(0, 4), Region(5, 25), Region(26, 29.5)])
    excluded = ExcludedSpeech()
    windows = training_windows([with_short_regions], 10, seed=1, epoch=1, excluded=excluded)
    assert len(windows) == 2
    assert excluded.short_regions_s == pytest.approx(7.5)


def test_validation_windows_are_consecutive_and_end_with_the_region() -> None:
    windows = validation_windows([recording([], [Region(1, 26)])], 10)
    assert [window.start / SAMPLE_RATE for window in windows] == [1, 11, 16]


def test_targets_by_hand() -> None:
    turns = [Turn(1.0, 2.0, "b"), Turn(1.5, 4.0, "a"), Turn(0.0, 0.6, "c"), Turn(9.0, 12.0, "b")]
    window = Window(recording(turns, []), SAMPLE_RATE)  # from 1 s to 5 s
    centres = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5])  # 1.0 to 4.5 s in the recording
    both, left_out = targets(window, 4 * SAMPLE_RATE, centres, None)
    assert both.T.tolist() == [[1, 1, 0, 0, 0, 0, 0, 0], [0, 1, 1, 1, 1, 1, 0, 0]]
    assert left_out == 0
    one, left_out = targets(window, 4 * SAMPLE_RATE, centres, 1)
    assert one.T.tolist() == [[0, 1, 1, 1, 1, 1, 0, 0]], "the more talkative stays"
    assert left_out == 2
    three, _ = targets(window, 4 * SAMPLE_RATE, centres, 3)
    assert three[:, 2].sum() == 0


def test_the_turns_of_an_interval_are_those_that_overlap_it() -> None:
    """Turns in any order, some within others; an end or a start that touches the interval does not overlap it."""
    random = np.random.default_rng(1)
    starts, lengths = random.integers(0, 200, 300) / 2, random.choice([0.5, 1, 2, 60], 300)
    turns = [Turn(start, start + length, "a") for start, length in zip(starts, lengths, strict=True)]
    long = recording(turns, [])
    for start, end in random.integers(0, 100, (200, 2)):
        expected = [turn for turn in turns if turn.start_s < end and turn.end_s > start]
        assert long.turns_between(float(start), float(end)) == expected
    assert recording([], []).turns_between(0, 1) == []


def test_a_window_has_the_recording_s_samples(ami_mini: Dataset) -> None:
    import soundfile

    first = ami_mini.subset("train")[0]
    samples, rate = soundfile.read(first.audio, dtype="float32")
    assert rate == SAMPLE_RATE
    np.testing.assert_array_equal(read(Window(first, 12345), 1000), samples[12345:13345])


def test_a_file_that_was_cut_short_is_named(tmp_path: Path) -> None:
    import soundfile

    path = tmp_path / "r.wav"
    soundfile.write(path, np.zeros(2 * SAMPLE_RATE), SAMPLE_RATE)
    window = Window(Recording("r", "train", path, path, path), SAMPLE_RATE)
    assert len(read(window, SAMPLE_RATE)) == SAMPLE_RATE
    cure = "restore it, and run the same command again"
    with pytest.raises(UserError, match=rf"r\.wav: ends at 2\.0 s, though a window lasts until 2\.5 s.*; {cure}"):
        read(window, SAMPLE_RATE * 3 // 2)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"r\.wav: .*though a window lasts until 2\.0 s"):
        read(window, SAMPLE_RATE)
    path.unlink()
    with pytest.raises(UserError, match=r"r\.wav: cannot be read"):
        read(window, SAMPLE_RATE)
