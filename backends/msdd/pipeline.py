"""Diarization of complete recordings with MSDD: embed the segments of speech, then cluster and decode them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import soundfile
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from pyannote.core import Annotation

from diarbench.backends.base import Diarizer, Inference, SpeakerBounds
from diarbench.backends.msdd.decoding import MOST_SPEAKERS, check_bounds, turns
from diarbench.backends.msdd.inference import CLUSTERING_THRESHOLD, cluster, decode
from diarbench.backends.msdd.network import MsddNetwork
from diarbench.backends.msdd.segments import SCALES, Segments, cut
from diarbench.backends.msdd.speech import Stretches, detector
from diarbench.datasets.dataset import Recording, to_annotation

THRESHOLD, SPEAKERS, SIGMOID = "clustering.threshold", "clustering.max_speakers", "sigmoid_threshold"


class MsddDiarizer:
    """NeMo's ``NeuralDiarizer``: spectral clustering, and MSDD on chunks of 50 segments."""

    defaults: Mapping[str, Any] = {THRESHOLD: CLUSTERING_THRESHOLD, SPEAKERS: MOST_SPEAKERS, SIGMOID: 0.7}
    search_space: Mapping[str, BaseDistribution] = {
        THRESHOLD: FloatDistribution(0.05, 0.5),
        SPEAKERS: IntDistribution(2, MOST_SPEAKERS),
        SIGMOID: FloatDistribution(0.3, 1.0),
    }
    upstream: Diarizer | None = None

    def __init__(self, network: MsddNetwork, device: str) -> None:
        self.network = network.to(device).eval()
        self.bounds = SpeakerBounds()
        self.notes: tuple[str, ...] = (detector().description,)
        self._activity: WeakKeyDictionary[Inference, dict[tuple[float, int], np.ndarray]] = WeakKeyDictionary()

    def with_speakers(self, bounds: SpeakerBounds) -> MsddDiarizer:
        """See BoundsSpeakers. Raises as `check_bounds`."""
        check_bounds(bounds)
        bounded = copy.copy(self)
        bounded.bounds, bounded._activity = bounds, WeakKeyDictionary()
        return bounded

    def with_frozen(self, hyperparameters: Mapping[str, Any]) -> MsddDiarizer:
        """See Diarizer; inference depends on no hyper-parameter."""
        return self

    def infer(self, recording: Recording) -> Inference:
        """For each scale k, ``times_k`` (segments, 2) in seconds and ``embeddings_k`` (segments, size)."""
        waveform, _ = soundfile.read(str(recording.audio), dtype="float32")
        return self._embed(waveform, detector()(waveform))

    def _embed(self, waveform: np.ndarray, speech: Stretches) -> Inference:
        segments = cut(speech)
        embeddings = self.network.embed_segments(waveform, segments) if len(segments.base) else []
        return Inference(
            mapping=segments.mapping,
            **{f"times_{k}": times for k, times in enumerate(segments.times)},
            **{f"embeddings_{k}": values for k, values in enumerate(embeddings)},
        )

    def decode(self, recording: Recording, inference: Inference, hyperparameters: Mapping[str, Any]) -> Annotation:
        """See Diarizer; turns are cut at the end of the recording."""
        segments = Segments(tuple(inference[f"times_{k}"] for k in range(len(SCALES))), inference["mapping"])
        if not len(segments.base):
            return to_annotation(recording.uri, [])
        activity = self._activity_of(inference, segments, hyperparameters)
        found = turns(segments.base, activity, hyperparameters[SIGMOID])
        end_s = recording.duration_s
        inside = [turn._replace(end_s=min(turn.end_s, end_s)) for turn in found if turn.start_s < end_s]
        return to_annotation(recording.uri, inside)

    def _activity_of(self, inference: Inference, segments: Segments, hyperparameters: Mapping[str, Any]) -> np.ndarray:
        """The decoder's output, which depends on the clustering but not on the sigmoid threshold."""
        most = min(hyperparameters[SPEAKERS], self.bounds.most or MOST_SPEAKERS)
        key = hyperparameters[THRESHOLD], most
        known = self._activity.setdefault(inference, {})
        if key not in known:
            embeddings = [inference[f"embeddings_{k}"] for k in range(len(SCALES))]
            clusters = cluster(embeddings, segments, *key, exactly=self.bounds.exactly)
            known[key] = decode(self.network, embeddings, segments, clusters)
        return known[key]

    def oracles(
        self, recording: Recording, inference: Inference, hyperparameters: Mapping[str, Any]
    ) -> Mapping[str, Annotation]:
        """``oracle-speech`` replaces the detected speech by the reference's."""
        waveform, _ = soundfile.read(str(recording.audio), dtype="float32")
        speech = [(part.start, part.end) for part in recording.reference.get_timeline().support()]
        return {"oracle-speech": self.decode(recording, self._embed(waveform, speech), hyperparameters)}
