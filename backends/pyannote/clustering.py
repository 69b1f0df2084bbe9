"""Turns from segmentation and embeddings, as in pyannote.audio's SpeakerDiarization, but fast to repeat.

Everything that does not depend on hyper-parameters is computed once per recording: the number of speakers in each
frame, the embeddings that are clean enough for clustering, and a dendrogram per linkage method, which each trial cuts.
Array operations replace the loops over frames. The turns are identical to those of the pipeline.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import cdist

from diarbench.backends.base import UNBOUNDED, SpeakerBounds
from diarbench.datasets.io.rttm import Turn
from pyannote.audio.core.plda import PLDA
from pyannote.audio.pipelines.clustering import BaseClustering
from pyannote.audio.pipelines.utils.diarization import SpeakerDiarizationMixin
from pyannote.audio.utils.vbx import cluster_vbx
from pyannote.core import SlidingWindow, SlidingWindowFeature

LINKAGES = ("average", "centroid", "complete")

MIN_DURATION_OFF = "segmentation.min_duration_off"

VBX = "vbx"

EUCLIDEAN = ("centroid", "median", "ward")
"""Linkages defined only for Euclidean distances; embeddings are scaled to unit length for them."""

SHORTEST_GAP_S = 1e-6
"""pyannote.core merges segments with a smaller gap."""

Ints = NDArray[np.int64]
Spans = dict[int, list[tuple[float, float]]]
"""Start and end of turns in seconds, by cluster."""


class Decoder:
    """Decodes the inference of one recording with any hyper-parameters.

    ``segmentation`` is the activity (chunks, frames, speakers), ``active`` the same as 0 and 1; ``embeddings`` have the
    shape (chunks, speakers, dimension); ``frames`` describes the frames of the network's output.
    """

    def __init__(
        self,
        segmentation: SlidingWindowFeature,
        active: SlidingWindowFeature,
        embeddings: np.ndarray | None,
        frames: SlidingWindow,
        plda: PLDA | None = None,
    ) -> None:
        self.active, self.plda = active, plda
        count = SpeakerDiarizationMixin.speaker_count(active, frames, warm_up=(0.0, 0.0))
        self.count: Ints = count.data[:, 0].astype(np.int64)
        window = count.sliding_window
        starts = window.start + np.arange(len(self.count)) * window.step
        self.centres = 0.5 * (starts + (starts + window.duration))
        chunks = segmentation.sliding_window
        begins = chunks.start + np.arange(len(segmentation.data)) * chunks.step
        self.first_frame = [window.closest_frame(begin + 0.5 * window.duration) for begin in begins]
        self.speaks = active.data.sum(axis=1) > 0
        self.activity = np.ascontiguousarray(segmentation.data.transpose(0, 2, 1))  # (chunks, speakers, frames)
        if embeddings is not None:
            self.embeddings = embeddings
            self.clean, _, _ = BaseClustering().filter_embeddings(embeddings, segmentations=active)
        self._dendrograms: dict[str, np.ndarray] = {}

    def turns(self, hyperparameters: Mapping[str, Any], bounds: SpeakerBounds = UNBOUNDED) -> list[Turn]:
        """The turns, in seconds; the last chunk's padding is included."""
        if not self.count.any():
            return []
        return self.reconstruct(self.clusters(hyperparameters, bounds), hyperparameters[MIN_DURATION_OFF], bounds)

    def exclusive_turns(self, hyperparameters: Mapping[str, Any], bounds: SpeakerBounds = UNBOUNDED) -> list[Turn]:
        """The turns with only the most active speaker of each frame, named as in `turns`."""
        if not self.count.any():
            return []
        clusters, min_duration_off = self.clusters(hyperparameters, bounds), hyperparameters[MIN_DURATION_OFF]
        names = _names(self._spans(clusters, self._bounded_count(bounds), min_duration_off))
        return _turns(self._spans(clusters, np.minimum(self.count, 1), min_duration_off), names)

    def clusters(self, hyperparameters: Mapping[str, Any], bounds: SpeakerBounds = UNBOUNDED) -> Ints:
        """The cluster of each chunk's speakers, (chunks, speakers), from 0; -2 means no cluster.

        Without a method, clustering is by VBx.
        """
        method, threshold = hyperparameters.get("clustering.method", VBX), hyperparameters["clustering.threshold"]
        least, most = (min(len(self.clean), number or len(self.clean)) for number in (bounds.least, bounds.most))
        if len(self.clean) < 2 or (most == 1 and method != VBX):
            return np.zeros(self.speaks.shape, np.int64)
        if method == VBX:
            scales = hyperparameters["clustering.Fa"], hyperparameters["clustering.Fb"]
            return self._cluster_by_vbx(threshold, *scales, least, most)
        smallest = hyperparameters["clustering.min_cluster_size"]
        return self._assign(self._cut_dendrogram(method, threshold, smallest, least, most))

    def _bounded_count(self, bounds: SpeakerBounds) -> Ints:
        """The number of speakers in each frame, at most as many as in the recording."""
        return self.count if bounds.most is None else np.minimum(self.count, bounds.most)

    def reconstruct(self, clusters: Ints, min_duration_off: float, bounds: SpeakerBounds = UNBOUNDED) -> list[Turn]:
        """The turns of the clusters: in each frame the most active clusters speak, as many as the speaker count."""
        spans = self._spans(clusters, self._bounded_count(bounds), min_duration_off)
        return _turns(spans, _names(spans))

    def _spans(self, clusters: Ints, count: Ints, min_duration_off: float) -> Spans:
        """Start and end of the turns of each cluster, where ``count`` clusters speak in each frame."""
        cluster = np.where(self.speaks, clusters, -2)
        activation = np.zeros((max(cluster.max() + 1, count.max()), len(count)), np.float32)
        for chunk, speaker in zip(*np.nonzero(cluster >= 0), strict=True):
            members = np.flatnonzero(cluster[chunk] == cluster[chunk, speaker])
            if speaker == members[0]:  # speakers of a chunk in the same cluster count once, by their maximum
                activity = (
                    self.activity[chunk, members].max(axis=0) if len(members) > 1 else self.activity[chunk, speaker]
                )
                first = self.first_frame[chunk]
                activation[cluster[chunk, speaker], first : first + len(activity)] += activity

        # Equal neighbouring frames are decided together. The pipeline breaks ties by an unstable sort of a frame's
        # clusters, so the same sort is applied to the same frame here.
        differs = (np.diff(activation, axis=1) != 0).any(axis=0) | (np.diff(count) != 0)
        firsts = np.flatnonzero(np.r_[True, differs])
        order = np.argsort(-np.ascontiguousarray(activation[:, firsts].T), axis=-1)
        speaking = np.zeros((len(firsts), len(activation)), bool)
        for rank in range(count.max()):
            rows = np.flatnonzero(count[firsts] > rank)
            speaking[rows, order[rows, rank]] = True
        return self._join(speaking, np.r_[firsts, len(count) - 1], min_duration_off)

    def _join(self, speaking: NDArray[np.bool_], bounds: Ints, min_duration_off: float) -> Spans:
        """The turns of clusters that speak, (intervals, clusters), between the frames in ``bounds``."""
        silent = np.zeros((1, speaking.shape[1]), bool)
        change = np.diff(np.concatenate([silent, speaking, silent]), axis=0)
        spans: Spans = {}
        for label in np.flatnonzero(change.any(axis=0)).tolist():
            at = self.centres[bounds[np.flatnonzero(change[:, label])]].reshape(-1, 2)
            start, end = at[at[:, 1] > at[:, 0]].T
            if min_duration_off > 0 and len(start):
                gaps = start[1:] - end[:-1]
                separate = (gaps >= min_duration_off) & (gaps > SHORTEST_GAP_S)
                start, end = start[np.r_[True, separate]], end[np.r_[separate, True]]
            if len(start):
                spans[label] = list(zip(start.tolist(), end.tolist(), strict=True))
        return spans

    def _cut_dendrogram(self, method: str, threshold: float, min_cluster_size: int, least: int, most: int) -> Ints:
        """The clusters of the clean embeddings, from 0; small clusters are merged into the nearest large one.

        There are ``least`` to ``most`` clusters, where the dendrogram has such a cut.
        """
        dendrogram, embeddings = self._dendrogram(method), self._scaled(method)
        smallest = min(min_cluster_size, max(1, round(0.1 * len(embeddings))))
        clusters = fcluster(dendrogram, threshold, criterion="distance")
        sizes = np.bincount(clusters)
        number = int((sizes >= smallest).sum())
        if not least <= number <= most:
            clusters = _cut_into(dendrogram, threshold, smallest, least if number < least else most)
            sizes = np.bincount(clusters)
        large, small = np.flatnonzero(sizes >= smallest), np.flatnonzero((sizes > 0) & (sizes < smallest))
        nearest = np.arange(len(sizes))
        if len(small):
            distance = cdist(_centroids(embeddings, clusters, large), _centroids(embeddings, clusters, small), "cosine")
            nearest[small] = large[np.argmin(distance, axis=0)]
        return np.unique(nearest[clusters], return_inverse=True)[1]

    def _assign(self, clean_clusters: Ints) -> Ints:
        """Assign each active speaker of a chunk to the cluster with the nearest centroid."""
        centroids = _centroids(self.clean, clean_clusters, np.arange(clean_clusters.max() + 1))
        clusters = np.full(self.speaks.shape, -2)
        clusters[self.speaks] = np.argmax(2 - cdist(self.embeddings[self.speaks], centroids, "cosine"), axis=1)
        return clusters

    def _cluster_by_vbx(
        self, threshold: float, evidence_scale: float, speaker_regularization: float, least: int, most: int
    ) -> Ints:
        """VBx clustering of PLDA features (Landini et al., 2022), initialised by a cut of the dendrogram.

        Where VBx finds fewer speakers than ``least`` or more than ``most``, k-means finds that many, as in pyannote.
        """
        assert self.plda is not None
        initial = np.unique(fcluster(self._dendrogram("centroid"), threshold, "distance"), return_inverse=True)[1]
        responsibilities, priors = cluster_vbx(
            initial, self._plda_features, self.plda.phi, Fa=evidence_scale, Fb=speaker_regularization, maxIters=20
        )
        kept = responsibilities[:, priors > 1e-7]
        centroids = kept.T @ self.clean / kept.sum(0, keepdims=True).T
        if not least <= len(centroids) <= most:
            return self._assign(self._cluster_by_k_means(least if len(centroids) < least else most))
        chunks, speakers, dimension = self.embeddings.shape
        similarity = 2 - cdist(self.embeddings.reshape(-1, dimension), centroids, "cosine").reshape(
            chunks, speakers, -1
        )
        similarity[~self.speaks] = similarity.min() - 1
        clusters: Ints = BaseClustering().constrained_argmax(similarity).astype(np.int64)
        return clusters

    def _cluster_by_k_means(self, number: int) -> Ints:
        """The clusters of the clean embeddings, from 0."""
        from sklearn.cluster import KMeans

        k_means = KMeans(n_clusters=number, n_init=3, random_state=42, copy_x=False)
        clusters: Ints = k_means.fit_predict(self._unit_length.copy()).astype(np.int64)
        return clusters

    @cached_property
    def _plda_features(self) -> np.ndarray:
        assert self.plda is not None
        return self.plda(self.clean)

    @cached_property
    def _unit_length(self) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.clean / np.linalg.norm(self.clean, axis=-1, keepdims=True)

    def _scaled(self, method: str) -> np.ndarray:
        return self._unit_length if method in EUCLIDEAN else self.clean

    def _dendrogram(self, method: str) -> np.ndarray:
        if method not in self._dendrograms:
            metric = "euclidean" if method in EUCLIDEAN else "cosine"
            self._dendrograms[method] = linkage(self._scaled(method), method=method, metric=metric)
        return self._dendrograms[method]


def _names(spans: Spans) -> dict[int, str]:
    """The names of clusters; pyannote.core sorts labels as text, so speakers are numbered in this order."""
    return {label: f"SPEAKER_{number:02d}" for number, label in enumerate(sorted(spans, key=str))}


def _turns(spans: Spans, names: Mapping[int, str]) -> list[Turn]:
    return [Turn(start, end, names[label]) for label in sorted(spans, key=str) for start, end in spans[label]]


def _centroids(embeddings: np.ndarray, clusters: Ints, selected: Ints) -> np.ndarray:
    """The mean embeddings of the selected clusters."""
    order = np.argsort(clusters, kind="stable")
    low, high = (np.searchsorted(clusters[order], selected, side=side) for side in ("left", "right"))
    return np.vstack([np.mean(embeddings[order[i:j]], axis=0) for i, j in zip(low, high, strict=True)])


def _cut_into(dendrogram: np.ndarray, threshold: float, smallest: int, number: int) -> Ints:
    """The cut nearest to the threshold that has so many clusters of at least the smallest size.

    Where there is none, the cut with the nearest number, as in pyannote.
    """
    by_merge = dendrogram.copy()
    by_merge[:, 2] = np.arange(len(by_merge))
    nearest, off = fcluster(by_merge, len(by_merge), criterion="distance"), abs(number - 1)
    for merge in np.argsort(np.abs(dendrogram[:, 2] - threshold)):
        if dendrogram[merge, 3] >= smallest:
            clusters = fcluster(by_merge, merge, criterion="distance")
            large = int((np.bincount(clusters) >= smallest).sum())
            if large == number:
                return clusters
            if abs(large - number) < off:
                nearest, off = clusters, abs(large - number)
    return nearest
