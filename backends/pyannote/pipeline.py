"""pyannote.audio's SpeakerDiarization pipeline with a network, split into `infer` and `decode`."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from optuna.distributions import BaseDistribution, FloatDistribution

from diarbench.backends.base import Diarizer, Inference, SpeakerBounds
from diarbench.backends.pyannote.checkpoints import SIGMOIDS
from diarbench.backends.pyannote.clustering import Decoder
from diarbench.backends.pyannote.inference import embed, segment
from diarbench.backends.pyannote.network import PyannoteNetwork
from diarbench.backends.pyannote.parts import FixedParts
from diarbench.backends.pyannote.published import CONFIG
from diarbench.datasets.dataset import Recording, to_annotation
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.rttm import Turn
from pyannote.audio.core.plda import PLDA
from pyannote.audio.pipelines import SpeakerDiarization
from pyannote.audio.pipelines.clustering import OracleClustering
from pyannote.audio.pipelines.utils.oracle import oracle_segmentation
from pyannote.audio.utils.signal import binarize
from pyannote.core import Annotation, SlidingWindow, SlidingWindowFeature

THRESHOLD = "segmentation.threshold"
"""The hyper-parameter of a sigmoid head: a speaker is active above this probability. A powerset head has none."""


class PyannoteDiarizer:
    """`infer` computes segmentation and embeddings; `decode` does clustering and reconstruction."""

    notes: tuple[str, ...] = ()

    def __init__(self, network: PyannoteNetwork, device: str, parts: FixedParts) -> None:
        self.parts = parts
        self.pipeline = SpeakerDiarization(
            legacy=True,
            segmentation=network.model.eval(),
            embedding=parts.embedder.model,
            embedding_exclude_overlap=parts.exclude_overlap,
            # The constructor requires a PLDA, but clustering is the decoder's.
            plda=PLDA.__new__(PLDA),
            clustering="AgglomerativeClustering",
            segmentation_batch_size=32,
            embedding_batch_size=32,
        )
        self.pipeline.to(torch.device(device))
        self.frames: SlidingWindow = self.pipeline._segmentation.model.receptive_field
        self.fingerprint = parts.fingerprint
        self.defaults: Mapping[str, Any] = dict(parts.defaults)
        self.search_space = parts.search_space
        self.upstream: Diarizer | None = None
        self.threshold: float | None = None
        if network.head == SIGMOIDS:
            first = ThresholdDiarizer(self, parts.defaults.get(THRESHOLD, 0.5))
            self.upstream, self.threshold = first, first.defaults[THRESHOLD]
            self.defaults |= first.defaults
        elif THRESHOLD in self.defaults:
            raise UserError(
                f"the pipeline's {CONFIG}: params.{THRESHOLD}: its segmentation network has a powerset, which has no "
                "threshold; remove it"
            )
        self.bounds = SpeakerBounds()
        self._decoders: WeakKeyDictionary[Inference, Decoder] = WeakKeyDictionary()

    def with_speakers(self, bounds: SpeakerBounds) -> PyannoteDiarizer:
        """See BoundsSpeakers: clusters are split or joined as by pyannote's ``min_speakers``, ``max_speakers``."""
        bounded = copy.copy(self)
        bounded.bounds = bounds
        return bounded

    def with_frozen(self, hyperparameters: Mapping[str, Any]) -> PyannoteDiarizer:
        """See Diarizer. The embeddings depend on the threshold, so it is tuned before everything else."""
        if self.threshold is None:
            return self
        frozen = copy.copy(self)
        frozen.threshold = hyperparameters[THRESHOLD]
        frozen._decoders = WeakKeyDictionary()
        return frozen

    def infer(self, recording: Recording) -> Inference:
        """``segmentation`` (chunks, frames, speakers), its ``window`` (start, duration, step in seconds) and
        ``embeddings`` (chunks, speakers, dimension).

        A recording shorter than the network's window is padded with silence.
        """
        inference = self.segmentation(recording)
        active = self._active(_segmentation(inference))
        return Inference(**inference, embeddings=self._embed(recording, active))

    def segmentation(self, recording: Recording) -> Inference:
        """The output of the segmentation network, a part of `infer`."""
        inference = self.pipeline._segmentation
        window = np.array([0.0, inference.duration, inference.step])
        return Inference(segmentation=segment(inference, recording.audio), window=window)

    def decode(self, recording: Recording, inference: Inference, hyperparameters: Mapping[str, Any]) -> Annotation:
        """See Diarizer; turns are cut at the end of the recording."""
        return _annotation(recording, self._decoder_of(inference).turns(hyperparameters, self.bounds))

    def decode_exclusive(
        self, recording: Recording, inference: Inference, hyperparameters: Mapping[str, Any]
    ) -> Annotation:
        """As `decode`, with at most one speaker at a time: pyannote's ``exclusive_speaker_diarization``."""
        return _annotation(recording, self._decoder_of(inference).exclusive_turns(hyperparameters, self.bounds))

    def oracles(
        self, recording: Recording, inference: Inference, hyperparameters: Mapping[str, Any]
    ) -> Mapping[str, Annotation]:
        """``oracle-segmentation`` replaces the network's segmentation by the reference's; ``oracle-clustering``
        clusters the network's local speakers by the reference.
        """
        segmentation = _segmentation(inference)
        perfect = self._perfect(recording, segmentation)
        embeddings = self._embed(recording, perfect)
        from_reference = Decoder(perfect, perfect, embeddings, self.frames, self.parts.plda).turns(
            hyperparameters, self.bounds
        )
        from_network = self.cluster_by_reference(
            recording, segmentation, hyperparameters["segmentation.min_duration_off"]
        )
        return {"oracle-segmentation": _annotation(recording, from_reference), "oracle-clustering": from_network}

    def cluster_by_reference(
        self, recording: Recording, segmentation: SlidingWindowFeature, min_duration_off: float
    ) -> Annotation:
        """Cluster the network's local speakers by the reference, and return the turns."""
        decoder = self._decoder(segmentation, None)
        turns = []
        if decoder.count.any():
            file = _reference(recording, segmentation)
            clusters, _, _ = OracleClustering()(segmentations=decoder.active, file=file, frames=self.frames)
            turns = decoder.reconstruct(clusters.astype(np.int64), min_duration_off)
        return _annotation(recording, turns)

    def _decoder_of(self, inference: Inference) -> Decoder:
        decoder = self._decoders.get(inference)
        if decoder is None:
            decoder = self._decoder(_segmentation(inference), inference["embeddings"])
            self._decoders[inference] = decoder
        return decoder

    def _embed(self, recording: Recording, active: SlidingWindowFeature) -> np.ndarray:
        segmentation, parts = self.pipeline._segmentation, self.parts
        return embed(segmentation, parts.embedder, recording.audio, active.data, parts.exclude_overlap)

    def _decoder(self, segmentation: SlidingWindowFeature, embeddings: np.ndarray | None) -> Decoder:
        return Decoder(segmentation, self._active(segmentation), embeddings, self.frames, self.parts.plda)

    def _active(self, segmentation: SlidingWindowFeature) -> SlidingWindowFeature:
        """The segmentation as 0 and 1; that of a powerset already is."""
        if self.threshold is None:
            return segmentation
        active: SlidingWindowFeature = binarize(segmentation, onset=self.threshold, initial_state=False)
        return active

    def _perfect(self, recording: Recording, segmentation: SlidingWindowFeature) -> SlidingWindowFeature:
        """The segmentation of a network without errors."""
        perfect = oracle_segmentation(_reference(recording, segmentation), segmentation.sliding_window, self.frames)
        perfect.data = perfect.data[:, : segmentation.data.shape[1]]
        return perfect


class ThresholdDiarizer:
    """The first step of tuning a network with a sigmoid head, as in pyannote's guide: only the threshold is tuned.

    Speakers are clustered by the reference, so no embeddings are needed.
    """

    upstream: Diarizer | None = None
    notes: tuple[str, ...] = ()

    def __init__(self, diarizer: PyannoteDiarizer, default: float) -> None:
        self.diarizer = diarizer
        self.defaults: Mapping[str, Any] = {THRESHOLD: default}
        self.search_space: Mapping[str, BaseDistribution] = {
            THRESHOLD: FloatDistribution(min(0.1, default), max(0.9, default))
        }

    def with_frozen(self, hyperparameters: Mapping[str, Any]) -> ThresholdDiarizer:
        """See Diarizer. Nothing is tuned before this step."""
        return self

    def infer(self, recording: Recording) -> Inference:
        """``segmentation`` and its ``window``, as in `PyannoteDiarizer.infer`."""
        return self.diarizer.segmentation(recording)

    def decode(self, recording: Recording, inference: Inference, hyperparameters: Mapping[str, Any]) -> Annotation:
        """See Diarizer. Speakers are clustered by the reference."""
        frozen = self.diarizer.with_frozen(hyperparameters)
        return frozen.cluster_by_reference(recording, _segmentation(inference), 0.0)

    def oracles(
        self, recording: Recording, inference: Inference, hyperparameters: Mapping[str, Any]
    ) -> Mapping[str, Annotation]:
        """No oracles: the clustering already is one."""
        return {}


def _reference(recording: Recording, segmentation: SlidingWindowFeature) -> dict[str, Any]:
    """The input of pyannote's oracles; its duration is that of all chunks, so that the number of chunks is the same."""
    window = segmentation.sliding_window
    duration = (len(segmentation.data) - 1) * window.step + window.duration
    return {"uri": recording.uri, "annotation": recording.reference, "duration": duration}


def _annotation(recording: Recording, turns: list[Turn]) -> Annotation:
    """The turns cut at the end of the recording, since the last chunk can extend beyond it."""
    end = recording.duration_s
    inside = [turn._replace(end_s=min(turn.end_s, end)) for turn in turns if turn.start_s < end]
    return to_annotation(recording.uri, inside)


def _segmentation(inference: Inference) -> SlidingWindowFeature:
    start, duration, step = (float(value) for value in inference["window"])
    return SlidingWindowFeature(inference["segmentation"], SlidingWindow(start=start, duration=duration, step=step))
