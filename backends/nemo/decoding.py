"""From Sortformer's frame probabilities to turns: the part of a diarizer that is the same for every Sortformer."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from optuna.distributions import BaseDistribution, FloatDistribution
from pyannote.core import Annotation

from diarbench.backends.base import Diarizer, Inference, SpeakerBounds
from diarbench.backends.nemo.bounds import check_bounds
from diarbench.backends.nemo.postprocessing import post_process
from diarbench.datasets.dataset import Recording, to_annotation
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.rttm import Turn


class SortformerDecoder:
    """NeMo's post-processing of ``activity`` (frames, speakers), and its hyper-parameters.

    The base of a diarizer whose inference depends on no hyper-parameter.
    """

    outputs: int
    """The most speakers that the network separates."""
    frame_s: float
    """Step between the frames of ``activity``."""
    defaults: Mapping[str, Any] = {
        "onset": 0.5,
        "offset": 0.5,
        "pad_onset_s": 0.0,
        "pad_offset_s": 0.0,
        "min_duration_on_s": 0.0,
        "min_duration_off_s": 0.0,
    }
    search_space: Mapping[str, BaseDistribution] = {
        "onset": FloatDistribution(0.05, 0.95),
        "offset": FloatDistribution(0.05, 0.95),
        "pad_onset_s": FloatDistribution(0.0, 0.3),
        "pad_offset_s": FloatDistribution(0.0, 0.3),
        "min_duration_on_s": FloatDistribution(0.0, 0.8),
        "min_duration_off_s": FloatDistribution(0.0, 0.8),
    }
    """Includes the values that NVIDIA published for its models. An offset above the onset acts as the onset."""
    upstream: Diarizer | None = None
    most_speakers: int | None = None

    def with_speakers(self, bounds: SpeakerBounds) -> Self:
        """See BoundsSpeakers: only the outputs with the most activity become speakers.

        Raises UserError as `check_bounds` does, and for more speakers than the network has outputs.
        """
        check_bounds(bounds)
        if bounds.least > self.outputs:
            raise UserError(f"{bounds.text}: this network separates at most {self.outputs}")
        bounded = copy.copy(self)
        bounded.most_speakers = bounds.most
        return bounded

    def with_frozen(self, hyperparameters: Mapping[str, Any]) -> Self:
        """See Diarizer; inference depends on no hyper-parameter."""
        return self

    def decode(self, recording: Recording, inference: Inference, hyperparameters: Mapping[str, Any]) -> Annotation:
        """See Diarizer; turns are cut at the end of the recording."""
        turns, activity = [], inference["activity"].T
        kept = sorted(np.argsort(-activity.sum(axis=1), kind="stable")[: self.most_speakers])
        for speaker in kept:
            for start, end in post_process(activity[speaker], self.frame_s, **hyperparameters):
                if start < (end := min(end, recording.duration_s)):
                    turns.append(Turn(start, end, f"speaker_{speaker}"))
        return to_annotation(recording.uri, turns)

    def oracles(
        self, recording: Recording, inference: Inference, hyperparameters: Mapping[str, Any]
    ) -> Mapping[str, Annotation]:
        """Empty: Sortformer is a single network without replaceable parts."""
        return {}


@dataclass(frozen=True)
class Latency:
    """Algorithmic latency of a stream's output, in seconds; computing time comes on top."""

    chunk_s: float
    right_context_s: float

    @property
    def total_s(self) -> float:
        """The latency of the first frame of a chunk, which is the largest."""
        return self.chunk_s + self.right_context_s

    @property
    def text(self) -> str:
        """A sentence for the report."""
        return (
            f"streaming form: recordings were processed {self.chunk_s:g} s at a time with {self.right_context_s:g} s "
            f"of right context; a live stream would have a latency of {self.right_context_s:g} to {self.total_s:g} s "
            "plus computing time"
        )
