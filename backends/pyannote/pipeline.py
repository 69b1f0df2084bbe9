"""pyannote.audio's SpeakerDiarization pipeline around a network, cut into `infer` and `decode`."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from diarbench.backends.base import Diarizer, Inference
from diarbench.backends.pyannote.checkpoints import SIGMOIDS
from diarbench.backends.pyannote.clustering import LINKAGES, VBX, Decoder
from diarbench.backends.pyannote.embedding import load_camplusplus
from diarbench.backends.pyannote.inference import embed, segment
from diarbench.backends.pyannote.network import PyannoteNetwork
from diarbench.backends.pyannote.plda import load_plda
from diarbench.datasets.dataset import Recording, to_annotation
from diarbench.datasets.io.rttm import Turn
from pyannote.audio.core.plda import PLDA
from pyannote.audio.pipelines import SpeakerDiarization
from pyannote.audio.pipelines.clustering import OracleClustering
from pyannote.audio.pipelines.utils.oracle import oracle_segmentation
from pyannote.audio.utils.signal import binarize
from pyannote.core import Annotation, SlidingWindow, SlidingWindowFeature

THRESHOLD = "segmentation.threshold"
"""From which a speaker's sigmoid is speech; a powerset has none."""


class PyannoteDiarizer:
    """Segmentation and embeddings are inferred; clustering and reconstruction are decoded."""

    notes: tuple[str, ...] = ()

    def __init__(self, network: PyannoteNetwork, device: str, plda: Path | None = None) -> None:
        self.plda = load_plda(plda) if plda else None
        self.pipeline = SpeakerDiarization(
            legacy=True,
            segmentation=network.model.eval(),
            embedding=load_camplusplus(),
            embedding_exclude_overlap=True,
            # The constructor insists on a PLDA, which agglomerative clustering never looks at.
            plda=PLDA.__new__(PLDA),
            clustering="AgglomerativeClustering",
            segmentation_batch_size=32,
            embedding_batch_size=32,
        )
        self.pipeline.to(torch.device(device))
        self.frames: SlidingWindow = self.pipeline._segmentation.model.receptive_field
        self.defaults: Mapping[str, Any] = {
            "segmentation.min_duration_off": 0.0,
            "clustering.method": "centroid",
            "clustering.min_cluster_size": 12,
            "clustering.threshold": 0.6,
        }
        self.search_space: Mapping[str, BaseDistribution] = {
            "segmentation.min_duration_off": FloatDistribution(0.0, 1.0),
            "clustering.method": CategoricalDistribution((*LINKAGES, VBX) if self.plda else LINKAGES),
            "clustering.min_cluster_size": IntDistribution(1, 30),
            "clustering.threshold": FloatDistribution(0.2, 1.4),
        }
        if self.plda:
            self.defaults |= {"clustering.Fa": 0.07, "clustering.Fb": 0.8}
            self.search_space |= {
                "clustering.Fa": FloatDistribution(0.01, 0.5),
                "clustering.Fb": FloatDistribution(0.01, 15.0),
            }
        self.upstream: Diarizer | None = None
        self.threshold: float | None = None
        if network.head == SIGMOIDS:
            first = ThresholdDiarizer(self)
            self.upstream, self.threshold = first, first.defaults[THRESHOLD]
            self.defaults |= first.defaults
        self._decoders: WeakKeyDictionary[Inference, Decoder] = WeakKeyDictionary()

    def with_frozen(self, hyperparameters: Mapping[str, Any]) -> PyannoteDiarizer:
        """See Diarizer: embeddings are those of what the threshold takes for speech, which must be chosen before."""
        if self.threshold is None:
            return self
        frozen = copy.copy(self)
        frozen.threshold = hyperparameters[THRESHOLD]
        frozen._decoders = WeakKeyDictionary()
        return frozen

    def infer(self, recording: Recording) -> Inference:
        """``segmentation`` (chunks, frames, speakers), its ``window`` (start, duration, step in seconds) and
        ``embeddings`` (chunks, speakers, 192).

        A recording shorter than the network's window is padded with silence.
        """
        found = self.segmentation(recording)
        active = self._active(_segmentation(found))
        return Inference(**found, embeddings=embed(self.pipeline, recording.audio, active.data))

    def segmentation(self, recording: Recording) -> Inference:
        """The part of `infer` that the segmentation network makes."""
        inference = self.pipeline._segmentation
        window = np.array([0.0, inference.duration, inference.step])
        return Inference(segmentation=segment(inference, recording.audio), window=window)

    def decode(self, recording: Recording, inference: Inference, hyperparameters: Mapping[str, Any]) -> Annotation:
        """See Diarizer; turns are cut at the end of the recording."""
        decoder = self._decoders.get(inference)
        if decoder is None:
            segmentation = _segmentation(inference)
            decoder = self._decoder(segmentation, inference["embeddings"])
            self._decoders[inference] = decoder
        return _cut(recording, decoder.turns(hyperparameters))

    def oracles(
        self, recording: Recording, inference: Inference, hyperparameters: Mapping[str, Any]
    ) -> Mapping[str, Annotation]:
        """``oracle-segmentation`` clusters the reference's own speech; ``oracle-clustering`` tells the network's
        local speakers apart as the reference does.
        """
        segmentation = _segmentation(inference)
        perfect = self._perfect(recording, segmentation)
        embeddings = embed(self.pipeline, recording.audio, perfect.data)
        by_reference = Decoder(perfect, perfect, embeddings, self.frames, self.plda).turns(hyperparameters)
        by_network = self.by_oracle(recording, segmentation, hyperparameters["segmentation.min_duration_off"])
        return {"oracle-segmentation": _cut(recording, by_reference), "oracle-clustering": by_network}

    def by_oracle(
        self, recording: Recording, segmentation: SlidingWindowFeature, min_duration_off: float
    ) -> Annotation:
        """The network's local speakers, clustered by the reference."""
        decoder = self._decoder(segmentation, None)
        turns = []
        if decoder.count.any():
            file = _reference(recording, segmentation)
            clusters, _, _ = OracleClustering()(segmentations=decoder.active, file=file, frames=self.frames)
            turns = decoder.reconstruct(clusters.astype(np.int64), min_duration_off)
        return _cut(recording, turns)

    def _decoder(self, segmentation: SlidingWindowFeature, embeddings: np.ndarray | None) -> Decoder:
        return Decoder(segmentation, self._active(segmentation), embeddings, self.frames, self.plda)

    def _active(self, segmentation: SlidingWindowFeature) -> SlidingWindowFeature:
        """A powerset's segmentation is 0 and 1 as it is."""
        if self.threshold is None:
            return segmentation
        active: SlidingWindowFeature = binarize(segmentation, onset=self.threshold, initial_state=False)
        return active

    def _perfect(self, recording: Recording, segmentation: SlidingWindowFeature) -> SlidingWindowFeature:
        """The segmentation of a network that makes no error."""
        perfect = oracle_segmentation(_reference(recording, segmentation), segmentation.sliding_window, self.frames)
        perfect.data = perfect.data[:, : segmentation.data.shape[1]]
        return perfect


class ThresholdDiarizer:
    """The first of the two steps in which pyannote's own guide tunes a network without a powerset: its threshold.

    Speakers are clustered by the reference, so that neither a clustering nor an embedding is needed.
    """

    upstream: Diarizer | None = None
    notes: tuple[str, ...] = ()

    def __init__(self, whole: PyannoteDiarizer) -> None:
        self.whole = whole
        self.defaults: Mapping[str, Any] = {THRESHOLD: 0.5}
        self.search_space: Mapping[str, BaseDistribution] = {THRESHOLD: FloatDistribution(0.1, 0.9)}

    def with_frozen(self, hyperparameters: Mapping[str, Any]) -> ThresholdDiarizer:
        """See Diarizer: nothing is tuned before this."""
        return self

    def infer(self, recording: Recording) -> Inference:
        """``segmentation`` and its ``window``, as for the whole pipeline."""
        return self.whole.segmentation(recording)

    def decode(self, recording: Recording, inference: Inference, hyperparameters: Mapping[str, Any]) -> Annotation:
        """See Diarizer; with the reference's clustering."""
        return self.whole.with_frozen(hyperparameters).by_oracle(recording, _segmentation(inference), 0.0)

    def oracles(
        self, recording: Recording, inference: Inference, hyperparameters: Mapping[str, Any]
    ) -> Mapping[str, Annotation]:
        """None: it is one itself."""
        return {}


def _reference(recording: Recording, segmentation: SlidingWindowFeature) -> dict[str, Any]:
    """The file that pyannote's oracles take, as long as the chunks, so that both have the same number of chunks."""
    window = segmentation.sliding_window
    duration = (len(segmentation.data) - 1) * window.step + window.duration
    return {"uri": recording.uri, "annotation": recording.reference, "duration": duration}


def _cut(recording: Recording, turns: list[Turn]) -> Annotation:
    """Turns inside the recording: the last chunk may reach beyond its end."""
    end = recording.duration_s
    inside = [turn._replace(end_s=min(turn.end_s, end)) for turn in turns if turn.start_s < end]
    return to_annotation(recording.uri, inside)


def _segmentation(inference: Inference) -> SlidingWindowFeature:
    start, duration, step = (float(value) for value in inference["window"])
    return SlidingWindowFeature(inference["segmentation"], SlidingWindow(start=start, duration=duration, step=step))
