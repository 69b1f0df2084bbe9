"""From segmentation and embeddings to turns, as pyannote.audio's SpeakerDiarization does it, and made to be repeated.

What no hyper-parameter changes is worked out once a recording: how many speak in each frame, which embeddings are
clean enough to be clustered, and a dendrogram for each linkage method, which thresholds and cluster sizes then cut.
What the pipeline does frame by frame is done on arrays. The turns are the pipeline's own, to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import cdist

from diarbench.datasets.io.rttm import Turn
from pyannote.audio.core.plda import PLDA
from pyannote.audio.pipelines.clustering import BaseClustering
from pyannote.audio.pipelines.utils.diarization import SpeakerDiarizationMixin
from pyannote.audio.utils.vbx import cluster_vbx
from pyannote.core import SlidingWindow, SlidingWindowFeature

LINKAGES = ("average", "centroid", "complete")

VBX = "vbx"

EUCLIDEAN = ("centroid", "median", "ward")
"""Linkages that are defined for Euclidean distances alone, so that embeddings get unit length first."""

SHORTEST_GAP_S = 1e-6
"""Below it pyannote.core takes two segments as touching."""

Ints = NDArray[np.int64]


class Decoder:
    """One recording's inference, to be decoded with any hyper-parameters.

    ``segmentation`` has the activity (chunks, frames, speakers) and ``active`` the same as 0 and 1; ``embeddings`` are
    (chunks, speakers, dimension); ``frames`` is the step of the network's output.
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
        counted = SpeakerDiarizationMixin.speaker_count(active, frames, warm_up=(0.0, 0.0))
        self.count: Ints = counted.data[:, 0].astype(np.int64)
        window = counted.sliding_window
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

    def turns(self, hyperparameters: Mapping[str, Any]) -> list[Turn]:
        """Who spoke when, in seconds within the recording, its last chunk's padding included."""
        if not self.count.any():
            return []
        return self.reconstruct(self.clusters(hyperparameters), hyperparameters["segmentation.min_duration_off"])

    def clusters(self, hyperparameters: Mapping[str, Any]) -> Ints:
        """The cluster of each chunk's speakers, (chunks, speakers), from 0; -2 for none."""
        method, threshold = hyperparameters["clustering.method"], hyperparameters["clustering.threshold"]
        if len(self.clean) < 2:
            return np.zeros(self.speaks.shape, np.int64)
        if method == VBX:
            return self._by_vbx(threshold, hyperparameters["clustering.Fa"], hyperparameters["clustering.Fb"])
        return self._assigned(self._cut(method, threshold, hyperparameters["clustering.min_cluster_size"]))

    def reconstruct(self, clusters: Ints, min_duration_off: float) -> list[Turn]:
        """Turns of the clusters: in each frame as many of the most active ones speak as were counted."""
        cluster = np.where(self.speaks, clusters, -2)
        activation = np.zeros((max(cluster.max() + 1, self.count.max()), len(self.count)), np.float32)
        for chunk, speaker in zip(*np.nonzero(cluster >= 0), strict=True):
            among = np.flatnonzero(cluster[chunk] == cluster[chunk, speaker])
            if speaker == among[0]:  # several of a chunk's speakers in one cluster count once, by the loudest
                found = self.activity[chunk, among].max(axis=0) if len(among) > 1 else self.activity[chunk, speaker]
                first = self.first_frame[chunk]
                activation[cluster[chunk, speaker], first : first + len(found)] += found

        # Frames alike their neighbour are decided with it. The pipeline breaks ties by the order in which an unstable
        # sort leaves a frame's clusters, so that the same sort must see the same frame.
        differs = (np.diff(activation, axis=1) != 0).any(axis=0) | (np.diff(self.count) != 0)
        firsts = np.flatnonzero(np.r_[True, differs])
        loudest = np.argsort(-np.ascontiguousarray(activation[:, firsts].T), axis=-1)
        speaking = np.zeros((len(firsts), len(activation)), bool)
        for place in range(self.count.max()):
            rows = np.flatnonzero(self.count[firsts] > place)
            speaking[rows, loudest[rows, place]] = True
        return self._turns(speaking, np.r_[firsts, len(self.count) - 1], min_duration_off)

    def _turns(self, speaking: NDArray[np.bool_], bounds: Ints, min_duration_off: float) -> list[Turn]:
        """Turns from who speaks (stretches, clusters) between the frames at some bounds."""
        silent = np.zeros((1, speaking.shape[1]), bool)
        change = np.diff(np.concatenate([silent, speaking, silent]), axis=0)
        found = {}
        for label in np.flatnonzero(change.any(axis=0)).tolist():
            at = self.centres[bounds[np.flatnonzero(change[:, label])]].reshape(-1, 2)
            start, end = at[at[:, 1] > at[:, 0]].T
            if min_duration_off > 0 and len(start):
                gaps = start[1:] - end[:-1]
                parted = (gaps >= min_duration_off) & (gaps > SHORTEST_GAP_S)
                start, end = start[np.r_[True, parted]], end[np.r_[parted, True]]
            if len(start):
                found[label] = zip(start.tolist(), end.tolist(), strict=True)
        # Named in the order in which pyannote.core sorts labels, that of their digits.
        return [
            Turn(start, end, f"SPEAKER_{number:02d}")
            for number, label in enumerate(sorted(found, key=str))
            for start, end in found[label]
        ]

    def _cut(self, method: str, threshold: float, min_cluster_size: int) -> Ints:
        """Clusters of the clean embeddings, numbered from 0; those that are too small join the nearest large one."""
        dendrogram, embeddings = self._dendrogram(method), self._of_length(method)
        smallest = min(min_cluster_size, max(1, round(0.1 * len(embeddings))))
        found = fcluster(dendrogram, threshold, criterion="distance")
        sizes = np.bincount(found)
        if sizes.max() < smallest:
            found = _one_large(dendrogram, threshold, smallest)
            sizes = np.bincount(found)
        large, small = np.flatnonzero(sizes >= smallest), np.flatnonzero((sizes > 0) & (sizes < smallest))
        nearest = np.arange(len(sizes))
        if len(small):
            distance = cdist(_centroids(embeddings, found, large), _centroids(embeddings, found, small), "cosine")
            nearest[small] = large[np.argmin(distance, axis=0)]
        return np.unique(nearest[found], return_inverse=True)[1]

    def _assigned(self, clean_clusters: Ints) -> Ints:
        """The nearest centroid of each speaker that speaks."""
        centroids = _centroids(self.clean, clean_clusters, np.arange(clean_clusters.max() + 1))
        clusters = np.full(self.speaks.shape, -2)
        clusters[self.speaks] = np.argmax(2 - cdist(self.embeddings[self.speaks], centroids, "cosine"), axis=1)
        return clusters

    def _by_vbx(self, threshold: float, evidence_scale: float, speaker_regularization: float) -> Ints:
        """Variational Bayes clustering of PLDA features (Landini et al., 2022), begun from a cut of the dendrogram."""
        assert self.plda is not None
        begun = np.unique(fcluster(self._dendrogram("centroid"), threshold, "distance"), return_inverse=True)[1]
        shares, priors = cluster_vbx(
            begun, self._plda_features, self.plda.phi, Fa=evidence_scale, Fb=speaker_regularization, maxIters=20
        )
        kept = shares[:, priors > 1e-7]
        centroids = kept.T @ self.clean / kept.sum(0, keepdims=True).T
        chunks, speakers, dimension = self.embeddings.shape
        similarity = 2 - cdist(self.embeddings.reshape(-1, dimension), centroids, "cosine").reshape(
            chunks, speakers, -1
        )
        similarity[~self.speaks] = similarity.min() - 1
        clusters: Ints = BaseClustering().constrained_argmax(similarity).astype(np.int64)
        return clusters

    @cached_property
    def _plda_features(self) -> np.ndarray:
        assert self.plda is not None
        return self.plda(self.clean)

    @cached_property
    def _unit(self) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.clean / np.linalg.norm(self.clean, axis=-1, keepdims=True)

    def _of_length(self, method: str) -> np.ndarray:
        return self._unit if method in EUCLIDEAN else self.clean

    def _dendrogram(self, method: str) -> np.ndarray:
        if method not in self._dendrograms:
            metric = "euclidean" if method in EUCLIDEAN else "cosine"
            self._dendrograms[method] = linkage(self._of_length(method), method=method, metric=metric)
        return self._dendrograms[method]


def _centroids(embeddings: np.ndarray, clusters: Ints, which: Ints) -> np.ndarray:
    """The mean embedding of some clusters, in their order."""
    order = np.argsort(clusters, kind="stable")
    low, high = (np.searchsorted(clusters[order], which, side=side) for side in ("left", "right"))
    return np.vstack([np.mean(embeddings[order[i:j]], axis=0) for i, j in zip(low, high, strict=True)])


def _one_large(dendrogram: np.ndarray, threshold: float, smallest: int) -> Ints:
    """The cut nearest to the threshold that leaves just one cluster of the smallest size or more."""
    by_merge = dendrogram.copy()
    by_merge[:, 2] = np.arange(len(by_merge))
    for merge in np.argsort(np.abs(dendrogram[:, 2] - threshold)):
        if dendrogram[merge, 3] >= smallest:
            found = fcluster(by_merge, merge, criterion="distance")
            if (np.bincount(found) >= smallest).sum() == 1:
                return found
    raise AssertionError("the last merge leaves one cluster of everything")
