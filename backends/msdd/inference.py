"""MSDD on a recording or window without its reference: detect speech, embed and cluster its segments, decode."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np
import torch
from nemo.collections.asr.parts.utils.longform_clustering import LongFormSpeakerClustering

from diarbench.backends.msdd.decoding import MOST_SPEAKERS, contiguous, speaker_activity
from diarbench.backends.msdd.segments import Segments, cut
from diarbench.backends.msdd.speech import detector

CLUSTERING_THRESHOLD = 0.25
"""NeMo's ``max_rp_threshold``: the largest share of all segments that a segment may be connected to."""

VOLUME = 30
"""NeMo's ``sparse_search_volume``: how many numbers of connections are tried."""

_torch_seed = Lock()
"""NeMo's clustering sets torch's seed, so only one thread at a time may run it."""


def diarize_window(network: Any, waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Base segments (segments, 2) of a window, cut where they overlap, and activity (segments, speakers) in them."""
    segments = cut(detector()(waveform))
    if not len(segments.base):
        return np.zeros((0, 2)), np.zeros((0, 1))
    embeddings = network.embed_segments(waveform, segments)
    clusters = cluster(embeddings, segments, CLUSTERING_THRESHOLD, MOST_SPEAKERS)
    return contiguous(segments.base), decode(network, embeddings, segments, clusters)


def cluster(
    embeddings: Sequence[np.ndarray], segments: Segments, threshold: float, most: int, exactly: int | None = None
) -> np.ndarray:
    """The speaker of each base segment, from 0, by NeMo's spectral clustering over all scales."""
    with _torch_seed, torch.random.fork_rng(devices=[]), torch.inference_mode():
        labels = LongFormSpeakerClustering(cuda=False).forward_infer(
            embeddings_in_scales=torch.from_numpy(np.concatenate(embeddings)),
            timestamps_in_scales=torch.from_numpy(np.concatenate(segments.times)).float(),
            multiscale_segment_counts=torch.tensor([len(times) for times in segments.times]),
            multiscale_weights=torch.ones(1, len(segments.times)),
            oracle_num_speakers=exactly or -1,
            max_num_speakers=most,
            max_rp_threshold=threshold,
            sparse_search_volume=VOLUME,
        )
    return np.unique(labels.numpy(), return_inverse=True)[1]  # numbered without gaps


@torch.inference_mode()
def decode(network: Any, embeddings: Sequence[np.ndarray], segments: Segments, clusters: np.ndarray) -> np.ndarray:
    """Activity (base segments, speakers) of clustered speakers."""
    device = next(network.parameters()).device

    def decode_pairs(sequences: np.ndarray, profiles: np.ndarray) -> np.ndarray:
        inputs = (torch.from_numpy(array).float().to(device) for array in (sequences, profiles))
        activity: np.ndarray = network.decode_pairs(*inputs).float().cpu().numpy()
        return activity

    by_segment = np.stack([e[k] for e, k in zip(embeddings, segments.mapping, strict=True)], axis=1)
    training = network.training
    network.eval()
    activity = speaker_activity(by_segment, clusters, decode_pairs)
    network.train(training)
    return activity
