"""Diarization of complete recordings with Sortformer: infer frame probabilities, then decode them into turns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psutil
import soundfile
import torch
from optuna.distributions import BaseDistribution, FloatDistribution
from pyannote.core import Annotation

from diarbench.backends.base import Diarizer, Inference
from diarbench.backends.nemo.network import SortformerNetwork
from diarbench.backends.nemo.postprocessing import post_process
from diarbench.backends.nemo.streaming import latency, stream
from diarbench.datasets.dataset import Recording, to_annotation
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.rttm import Turn


class SortformerDiarizer:
    """Sortformer with NeMo's post-processing, offline or streaming according to the network's configuration.

    In the offline form each frame attends to the whole recording, and memory grows with the square of its length. In
    the streaming form memory is constant. One form never replaces the other, since their output differs.
    """

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

    def __init__(self, network: SortformerNetwork, device: str) -> None:
        self.network = network.to(device).eval()
        self.device = device
        self.notes: tuple[str, ...] = (latency(network.model).text,) if network.streaming else ()

    def with_frozen(self, hyperparameters: Mapping[str, Any]) -> SortformerDiarizer:
        """See Diarizer; inference depends on no hyper-parameter."""
        return self

    @torch.inference_mode()
    def infer(self, recording: Recording) -> Inference:
        """``activity`` (frames, speakers), float32, in [0, 1].

        Raises UserError for a recording whose attention would not fit in memory in the offline form.
        """
        if self.network.streaming:
            activity = torch.from_numpy(stream(self.network.model, recording.audio))
        else:
            activity = self._offline_activity(recording)
        return Inference(activity=self.network.decoded_activity(activity).float().cpu().numpy())

    def _offline_activity(self, recording: Recording) -> torch.Tensor:
        frames = recording.duration_s / self.network.frame_s
        heads = self.network.model._cfg.encoder.n_heads
        # One layer at a time in float32: attention scores, their relative-position part, and the softmax.
        required, free = 3 * 4 * heads * frames**2, psutil.virtual_memory().available
        if self.device == "cpu" and required > free:
            raise UserError(
                f"{recording.audio}: {recording.duration_s / 60:.0f} minutes need {required / 1e9:.0f} GB in "
                f"Sortformer's offline form, {free / 1e9:.0f} GB are free; fine-tune a network in streaming form "
                "(--init nemo=small-streaming, or a streaming .nemo), or split the recording"
            )
        audio, _ = soundfile.read(str(recording.audio), dtype="float32")
        return self.network.activity(torch.from_numpy(audio)[None].to(self.device))[0]

    def decode(self, recording: Recording, inference: Inference, hyperparameters: Mapping[str, Any]) -> Annotation:
        """See Diarizer; turns are cut at the end of the recording."""
        turns = []
        for speaker, probability in enumerate(inference["activity"].T):
            for start, end in post_process(probability, self.network.frame_s, **hyperparameters):
                if start < recording.duration_s:
                    turns.append(Turn(start, min(end, recording.duration_s), f"speaker_{speaker}"))
        return to_annotation(recording.uri, turns)

    def oracles(
        self, recording: Recording, inference: Inference, hyperparameters: Mapping[str, Any]
    ) -> Mapping[str, Annotation]:
        """Empty: Sortformer is a single network without replaceable parts."""
        return {}
