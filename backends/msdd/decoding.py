"""From the decoder's output for pairs of speakers to turns, as NeMo 2.7.3's ``NeuralDiarizer`` does it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np

from diarbench.backends.base import SpeakerBounds
from diarbench.datasets.io.rttm import Turn

CHUNK = 50
"""Base segments that are decoded at once; a speaker's profile is averaged over these."""

MOST_SPEAKERS = 8
"""NeMo's ``max_num_speakers``: the most that its clustering finds in a recording."""

OVERLAP_LIMIT = 5
"""From this number of speakers on, no overlap is looked for."""

MOST_OVERLAPPING = 2
"""The most speakers at a time."""

PairDecoder = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Takes embeddings (chunks, segments, scales, size) and the profiles of two speakers (chunks, scales, size, 2); returns
activity (chunks, segments, 2) in [0, 1]."""


def check_bounds(bounds: SpeakerBounds) -> None:
    """Raises UserError for a least number of speakers alone."""
    bounds.refuse_least("NeMo's clustering")


def speaker_activity(embeddings: np.ndarray, clusters: np.ndarray, decode_pairs: PairDecoder) -> np.ndarray:
    """Activity (base segments, speakers) of clustered speakers, the mean over the pairs that each belongs to.

    ``embeddings`` are those of each base segment and scale (base segments, scales, size), ``clusters`` the number of
    each base segment's speaker, from 0. A single speaker is paired with nobody, whose profile is zero.
    """
    steps, speakers = len(embeddings), int(clusters.max()) + 1
    chunks = -(-steps // CHUNK)
    padded = np.zeros((chunks * CHUNK, *embeddings.shape[1:]), dtype=np.float32)
    padded[:steps] = embeddings
    by_chunk = padded.reshape(chunks, CHUNK, *embeddings.shape[1:])
    label = np.full(chunks * CHUNK, -1)
    label[:steps] = clusters
    profiles = [_profiles(by_chunk, label.reshape(chunks, CHUNK) == speaker) for speaker in range(max(speakers, 2))]
    activity = np.zeros((steps, max(speakers, 2)), dtype=np.float32)
    for pair in combinations(range(len(profiles)), 2):
        decoded = decode_pairs(by_chunk, np.stack([profiles[speaker] for speaker in pair], axis=-1))
        activity[:, pair] += decoded.reshape(chunks * CHUNK, 2)[:steps]
    mean: np.ndarray = activity / (len(profiles) - 1)
    return mean


def _profiles(by_chunk: np.ndarray, own: np.ndarray) -> np.ndarray:
    """A speaker's mean embedding (chunks, scales, size) over the own segments of each chunk; zero without any."""
    count = own.sum(axis=1)[:, None, None]
    total = np.einsum("ct,ctsd->csd", own.astype(np.float32), by_chunk)
    return total / np.maximum(count, 1)


def adaptive_threshold(threshold: float, speakers: int) -> float:
    """The threshold of overlap, which rises from ``threshold`` for two speakers to 1 for `OVERLAP_LIMIT`."""
    return threshold - (speakers - 2) * (threshold - 1) / (OVERLAP_LIMIT - 2)


def turns(segments: np.ndarray, activity: np.ndarray, threshold: float) -> list[Turn]:
    """Turns from base segments (n, 2) in seconds and activity (n, speakers).

    In each segment the most active speaker speaks. Where two or more exceed the threshold, the second speaks too.
    Segments that overlap in time meet half-way; adjoining ones of a speaker are one turn.
    """
    if not len(segments):
        return []
    speakers = activity.shape[1]
    ranking = activity.argsort(axis=1)[:, ::-1]
    overlapped = (activity > adaptive_threshold(threshold, speakers)).sum(axis=1) > 1
    if speakers >= OVERLAP_LIMIT:
        overlapped[:] = False
    speaks = np.zeros(activity.shape, dtype=bool)
    for row, ranked, overlap in zip(speaks, ranking, overlapped, strict=True):
        row[ranked[: MOST_OVERLAPPING if overlap else 1]] = True
    return merge(contiguous(segments), speaks)


def contiguous(segments: np.ndarray) -> np.ndarray:
    """Segments (n, 2) that overlap their neighbours, cut so that they meet half-way."""
    cut = segments.copy()
    for k in range(len(cut) - 1):
        if cut[k, 1] > cut[k + 1, 0]:
            cut[k, 1] = cut[k + 1, 0] = (cut[k, 1] + cut[k + 1, 0]) / 2
    return cut


def merge(segments: np.ndarray, speaks: np.ndarray) -> list[Turn]:
    """A turn for each run of adjoining segments in which a speaker speaks; ``speaks`` is (segments, speakers)."""
    found = []
    for speaker in range(speaks.shape[1]):
        start = None
        for k in np.flatnonzero(speaks[:, speaker]):
            start = segments[k, 0] if start is None else start
            last = k + 1 == len(segments) or not speaks[k + 1, speaker] or segments[k, 1] != segments[k + 1, 0]
            if last:
                found.append(Turn(float(start), float(segments[k, 1]), f"speaker_{speaker}"))
                start = None
    return sorted(found)
