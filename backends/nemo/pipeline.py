"""Diarization of complete recordings with Sortformer: infer frame probabilities, then decode them into turns."""

from __future__ import annotations

import psutil
import soundfile
import torch

from diarbench.backends.base import Inference
from diarbench.backends.nemo.decoding import SortformerDecoder
from diarbench.backends.nemo.network import SortformerNetwork
from diarbench.backends.nemo.streaming import latency, stream
from diarbench.datasets.dataset import Recording
from diarbench.datasets.io.errors import UserError


class SortformerDiarizer(SortformerDecoder):
    """Sortformer with NeMo's post-processing, offline or streaming according to the network's configuration.

    In the offline form each frame attends to the whole recording, and memory grows with the square of its length. In
    the streaming form memory is constant. One form never replaces the other, since their output differs.
    """

    def __init__(self, network: SortformerNetwork, device: str) -> None:
        self.network = network.to(device).eval()
        self.device = device
        self.frame_s, self.outputs = network.frame_s, network.max_speakers
        self.notes: tuple[str, ...] = (latency(network.model).text,) if network.streaming else ()

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
