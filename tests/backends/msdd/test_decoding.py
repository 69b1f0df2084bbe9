"""From the decoder's output for pairs to turns, against figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from diarbench.backends.msdd.decoding import CHUNK, adaptive_threshold, contiguous, merge, speaker_activity, turns
from diarbench.datasets.io.rttm import Turn

SEGMENTS = np.array([[0.0, 0.5], [0.25, 0.75], [0.5, 1.0], [2.0, 2.5]])


def test_overlapping_segments_meet_half_way() -> None:
    assert contiguous(SEGMENTS).tolist() == [[0.0, 0.375], [0.375, 0.625], [0.625, 1.0], [2.0, 2.5]]


def test_the_most_active_speaker_speaks_and_a_second_one_above_the_threshold() -> None:
    activity = np.array([[0.9, 0.1], [0.9, 0.8], [0.2, 0.4], [0.1, 0.6]])
    assert turns(SEGMENTS, activity, 0.7) == [
        Turn(0.0, 0.625, "speaker_0"),
        Turn(0.375, 1.0, "speaker_1"),
        Turn(2.0, 2.5, "speaker_1"),
    ]


def test_the_threshold_of_overlap_rises_with_the_number_of_speakers() -> None:
    assert [adaptive_threshold(0.7, n) for n in (2, 3, 4, 5)] == pytest.approx([0.7, 0.8, 0.9, 1.0])
    three = np.array([[0.75, 0.75, 0.1]])
    assert len(turns(SEGMENTS[:1], three, 0.7)) == 1
    assert len(turns(SEGMENTS[:1], three, 0.6)) == 2


def test_five_speakers_never_overlap() -> None:
    assert len(turns(SEGMENTS[:1], np.full((1, 5), 1.0), 0.1)) == 1


def test_no_segments_are_no_turns() -> None:
    assert turns(np.zeros((0, 2)), np.zeros((0, 2)), 0.7) == []


def test_a_gap_between_segments_ends_a_turn() -> None:
    speaks = np.ones((3, 1), dtype=bool)
    assert merge(np.array([[0.0, 1.0], [1.0, 2.0], [2.5, 3.0]]), speaks) == [
        Turn(0.0, 2.0, "speaker_0"),
        Turn(2.5, 3.0, "speaker_0"),
    ]


def test_a_speaker_s_activity_is_the_mean_over_its_pairs() -> None:
    """The stand-in for the network says of a pair the first value of each profile, which is known."""
    clusters = np.array([0, 1, 2, 0])
    embeddings = np.array([1.0, 3.0, 5.0, 3.0]).reshape(4, 1, 1)

    def decode_pairs(sequences: np.ndarray, profiles: np.ndarray) -> np.ndarray:
        assert sequences.shape == (1, CHUNK, 1, 1) and not sequences[0, 4:].any()
        return np.broadcast_to(profiles[:, :, 0, :], (1, CHUNK, 2))

    activity = speaker_activity(embeddings, clusters, decode_pairs)
    assert activity == pytest.approx(np.tile([2.0, 3.0, 5.0], (4, 1)))


def test_a_profile_is_that_of_its_chunk_and_a_single_speaker_is_paired_with_nobody() -> None:
    embeddings = np.ones((CHUNK + 1, 1, 1)) * np.r_[np.full(CHUNK, 2.0), 4.0][:, None, None]

    def decode_pairs(sequences: np.ndarray, profiles: np.ndarray) -> np.ndarray:
        assert profiles[:, 0, 0].tolist() == [[2.0, 0.0], [4.0, 0.0]]
        return np.broadcast_to(profiles[:, :, 0, :], (2, CHUNK, 2))

    activity = speaker_activity(embeddings, np.zeros(CHUNK + 1, dtype=int), decode_pairs)
    assert activity[:, 0].tolist() == [2.0] * CHUNK + [4.0] and not activity[:, 1].any()
