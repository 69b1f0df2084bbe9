"""pyannote.audio's SpeakerDiarization pipeline around a network, cut into `infer` and `decode`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import soundfile
import torch

from diarbench.backends.base import Inference
from diarbench.backends.pyannote.embedding import load_camplusplus
from diarbench.backends.pyannote.network import PyannoteNetwork
from diarbench.datasets.layout import SAMPLE_RATE, Recording
from pyannote.audio.core.plda import PLDA
from pyannote.audio.pipelines import SpeakerDiarization
from pyannote.audio.pipelines.clustering import OracleClustering
from pyannote.audio.pipelines.utils.oracle import oracle_segmentation
from pyannote.core import Annotation, Segment, SlidingWindow, SlidingWindowFeature


class PyannoteDiarizer:
    """Segmentation and embeddings are inferred; clustering and reconstruction are decoded."""

    defaults: Mapping[str, Any] = {
        "segmentation.min_duration_off": 0.0,
        "clustering.method": "centroid",
        "clustering.min_cluster_size": 12,
        "clustering.threshold": 0.6,
    }

    def __init__(self, network: PyannoteNetwork, device: str) -> None:
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
        # In training the pipeline reads segmentation and embeddings from the file's own cache.
        self.pipeline.training = True

    def infer(self, recording: Recording) -> Inference:
        """``segmentation`` (chunks, frames, speakers), its ``window`` (start, duration, step in seconds) and
        ``embeddings`` (chunks, speakers, 192).

        A recording shorter than the network's window is padded with silence.
        """
        file = self._file(recording)
        with torch.inference_mode():
            segmentation = self.pipeline.get_segmentations(file)
            if not np.any(segmentation.data > 0):
                embeddings = np.zeros((*segmentation.data.shape[::2], self.pipeline._embedding.dimension), np.float32)
            else:
                embeddings = self.pipeline.get_embeddings(file, segmentation, exclude_overlap=True)
        window = segmentation.sliding_window
        return {
            "segmentation": segmentation.data,
            "window": np.array([window.start, window.duration, window.step]),
            "embeddings": embeddings,
        }

    def decode(self, recording: Recording, inference: Inference, hyperparameters: Mapping[str, Any]) -> Annotation:
        """See Diarizer; turns are cut at the end of the recording."""
        file = {
            "uri": recording.uri,
            self.pipeline.CACHED_SEGMENTATION: _segmentation(inference),
            "training_cache/embeddings": {"embeddings": inference["embeddings"]},
        }
        return self._apply(file, recording, hyperparameters)

    def oracles(
        self, recording: Recording, inference: Inference, hyperparameters: Mapping[str, Any]
    ) -> Mapping[str, Annotation]:
        """``oracle-segmentation`` clusters the reference's own speech; ``oracle-clustering`` tells the network's
        local speakers apart as the reference does.
        """
        segmentation = _segmentation(inference)
        chunks, frames, _ = segmentation.data.shape
        window = segmentation.sliding_window
        file = {
            **self._file(recording),
            "annotation": recording.reference,
            # As long as the chunks are, so that the oracle has as many.
            "duration": (chunks - 1) * window.step + window.duration,
        }
        perfect = oracle_segmentation(file, window, self.pipeline._segmentation.model.receptive_field)
        perfect.data = perfect.data[:, :frames]
        cached = self.pipeline.CACHED_SEGMENTATION
        with torch.inference_mode():
            by_reference = self._apply({**file, cached: perfect}, recording, hyperparameters)
        # Only the clustering is swapped: it takes no hyper-parameter, and no embedding.
        own = self.pipeline.clustering
        self.pipeline.clustering = OracleClustering()
        try:
            file["training_cache/embeddings"] = {"embeddings": inference["embeddings"]}
            names = [name for name in hyperparameters if not name.startswith("clustering.")]
            by_network = self._apply(
                {**file, cached: segmentation}, recording, {name: hyperparameters[name] for name in names}
            )
        finally:
            self.pipeline.clustering = own
        return {"oracle-segmentation": by_reference, "oracle-clustering": by_network}

    def _file(self, recording: Recording) -> dict[str, Any]:
        audio, _ = soundfile.read(str(recording.audio), dtype="float32")
        samples = round(self.pipeline._segmentation.duration * SAMPLE_RATE)
        waveform = torch.from_numpy(np.pad(audio, (0, max(0, samples - len(audio)))))[None]
        return {"uri": recording.uri, "waveform": waveform, "sample_rate": SAMPLE_RATE}

    def _apply(self, file: dict[str, Any], recording: Recording, hyperparameters: Mapping[str, Any]) -> Annotation:
        self.pipeline.instantiate(_nested(hyperparameters))
        annotation: Any = self.pipeline.apply(file)
        return annotation.crop(Segment(0, recording.duration_s))


def _segmentation(inference: Inference) -> SlidingWindowFeature:
    start, duration, step = (float(value) for value in inference["window"])
    return SlidingWindowFeature(inference["segmentation"], SlidingWindow(start=start, duration=duration, step=step))


def _nested(hyperparameters: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """``{"a.b": 1}`` as ``{"a": {"b": 1}}``, the form in which a pipeline takes its parameters."""
    nested: dict[str, dict[str, Any]] = {}
    for name, value in hyperparameters.items():
        group, _, key = name.partition(".")
        nested.setdefault(group, {})[key] = value
    return nested
