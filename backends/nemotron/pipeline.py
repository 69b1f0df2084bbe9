"""Diarization of complete recordings with Nemotron-3-Diarization, with memory that does not grow with their length."""

from __future__ import annotations

import soundfile
import torch

from diarbench.backends.base import Inference
from diarbench.backends.nemo.decoding import Latency, SortformerDecoder
from diarbench.backends.nemotron.features import FileFeatures
from diarbench.backends.nemotron.network import NemotronNetwork
from diarbench.datasets.dataset import Recording


class NemotronDiarizer(SortformerDecoder):
    """Nemotron-3-Diarization with the post-processing of Sortformer, at frames of 10 ms."""

    def __init__(self, network: NemotronNetwork, device: str) -> None:
        self.network = network.to(device).eval()
        self.device = device
        self.frame_s, self.outputs = network.frame_s, network.max_speakers
        chunk = Latency(*(round(frames * network.chunk_frame_s, 3) for frames in network.chunk))
        self.notes: tuple[str, ...] = (chunk.text,) if network.settings.streaming_mode else ()

    @torch.inference_mode()
    def infer(self, recording: Recording) -> Inference:
        """``activity`` (frames, speakers), float32, in [0, 1]."""
        chunks = [torch.zeros(0, self.network.max_speakers, device=self.device)]
        with soundfile.SoundFile(str(recording.audio)) as file:
            features = FileFeatures(self.network.extractor, file)
            for logits in self.network.steps(lambda *part: features(*part).to(self.device), features.frames):
                chunks.append(logits[0].sigmoid().float())
        return Inference(activity=torch.cat(chunks).cpu().numpy())
