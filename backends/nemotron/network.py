"""Nemotron-3-Diarization as a Network, with the losses of Sortformer, which transformers does not have.

Park et al., "Sortformer: Seamless integration of speaker diarization and ASR by bridging timestamps and tokens" (2024);
Medennikov et al., "Streaming Sortformer: Speaker cache-based online speaker diarization with arrival-time ordering"
(2025).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import (
    Nemotron3DiarizationConfig,
    Nemotron3DiarizationForAudioFrameClassification,
    Nemotron3DiarizationProcessor,
    NemotronAsrStreamingFeatureExtractor,
)
from transformers.models.nemotron3_diarization.modeling_nemotron3_diarization import Nemotron3DiarizationSpeakerCache

from diarbench.backends import losses
from diarbench.backends.base import Losses
from diarbench.backends.checkpoints import check_stored, load_checkpoint, load_safetensors
from diarbench.backends.nemotron.configuration import (
    CONFIG,
    PRESETS,
    STREAMING_MODES,
    Architecture,
    Chunk,
    architecture_of,
    read_snapshot,
)
from diarbench.backends.nemotron.features import mel_features
from diarbench.backends.objective import Objective
from diarbench.datasets.io.audio import SAMPLE_RATE
from diarbench.datasets.io.errors import UserError


class NemotronNetwork(torch.nn.Module):
    """transformers' Nemotron-3-Diarization, offline or as a stream.

    Both forms process the features in chunks, with a cache of speakers and a queue of the latest frames; the lengths
    differ. A network is trained as it is run: windows longer than a chunk go through the cache.
    """

    def __init__(self, architecture: Architecture) -> None:
        """Random weights, drawn from torch's generator. Raises UserError where the numbers do not fit each other."""
        super().__init__()
        self.settings = architecture
        self.model = Nemotron3DiarizationForAudioFrameClassification(_configuration(architecture, "--init"))
        self.model.classifier.out_proj.register_forward_hook(losses.in_32_bits)
        with torch.no_grad():  # a log mel is about -11, and only what differs from that is of use
            projection = self.model.model.audio_tower.embedder.projection.weight
            projection -= projection.mean(dim=1, keepdim=True)
        self.extractor = NemotronAsrStreamingFeatureExtractor(**architecture.features.model_dump())
        self.max_speakers = architecture.model.head_config.num_speakers
        self.frame_s = self.extractor.hop_length / SAMPLE_RATE
        self.first_frame_s = self.frame_s / 2
        self.objective = Objective()

    @classmethod
    def from_file(cls, path: Path, mode: str | None = None) -> NemotronNetwork:
        """Load weights: a snapshot's ``.safetensors``, tensors of a preset's size alone, or a checkpoint of diarbench.

        ``mode`` is a streaming mode, in place of a checkpoint's own. Raises UserError where the file is of another
        network.
        """
        if path.suffix == ".ckpt":
            return cls.from_checkpoint(load_checkpoint(path, "nemotron"), path, mode)
        tensors, _ = load_safetensors(path)
        architecture = read_snapshot(path.parent) if (path.parent / CONFIG).is_file() else _preset_of(path, tensors)
        return cls._from_tensors(architecture.model_copy(update={"streaming_mode": mode}), tensors, path)

    @classmethod
    def from_checkpoint(
        cls, checkpoint: Mapping[str, Any], source: Path | str = "checkpoint", mode: str | None = None
    ) -> NemotronNetwork:
        """The network in one of diarbench's checkpoints. ``mode`` and errors as in `from_file`."""
        architecture, weights = architecture_of(checkpoint.get("architecture"), source), checkpoint.get("weights")
        if not isinstance(weights, dict) or not all(
            isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in weights.items()
        ):
            raise UserError(f"{source}: its weights are not tensors by name")
        tensors = {name.removeprefix("model."): tensor for name, tensor in weights.items()}
        if mode:
            architecture = architecture.model_copy(update={"streaming_mode": mode})
        return cls._from_tensors(architecture, tensors, source)

    @classmethod
    def _from_tensors(
        cls, architecture: Architecture, tensors: Mapping[str, Any], source: Path | str
    ) -> NemotronNetwork:
        configuration = _configuration(architecture, source)
        with torch.device("meta"):  # the sizes alone, so that a file cannot ask for more memory than it has weights
            expected = Nemotron3DiarizationForAudioFrameClassification(configuration).state_dict()
        for name in sorted({*expected, *tensors}):
            if name not in tensors or name not in expected or tensors[name].shape != expected[name].shape:
                raise UserError(f"{source}: its tensors are not those of its configuration (first difference: {name})")
        check_stored((tensor.shape for tensor in expected.values()), tensors, source)
        network = cls(architecture)
        network.model.load_state_dict(tensors)
        return network

    @property
    def chunk(self) -> Chunk:
        """The chunk of the network's form."""
        own = self.settings.model
        mode = self.settings.streaming_mode
        return STREAMING_MODES[mode] if mode else Chunk(own.chunk_length, own.chunk_right_context)

    @property
    def chunk_frame_s(self) -> float:
        """Duration of a frame of the encoder, of which chunks consist."""
        return self.frame_s * self.settings.model.audio_config.subsampling_factor

    def architecture(self) -> dict[str, Any]:
        return self.settings.model_dump()

    def processor(self) -> Nemotron3DiarizationProcessor:
        """The processor of transformers that belongs to the network."""
        factor, mode = self.settings.model.audio_config.subsampling_factor, self.settings.streaming_mode
        return Nemotron3DiarizationProcessor(self.extractor, factor, streaming_mode=mode or "low_latency")

    def num_frames(self, samples: int) -> int:
        return samples // self.extractor.hop_length

    def activity(self, waveforms: torch.Tensor) -> torch.Tensor:
        """Sigmoids, speakers in order of arrival."""
        return self.logits(waveforms).sigmoid()

    def logits(self, waveforms: torch.Tensor) -> torch.Tensor:
        """Logits (batch, frames, speakers) of waveforms (batch, samples)."""
        features = mel_features(self.extractor, waveforms)
        return torch.cat(list(self.steps(lambda begin, end: features[:, begin:end], features.shape[1])), dim=1)

    def steps(self, features: Callable[[int, int], torch.Tensor], frames: int) -> Iterator[torch.Tensor]:
        """Logits (batch, frames, speakers) of one chunk after another; they add up to ``frames``.

        ``features`` returns the features (batch, frames, mels) of any part. The chunks are those of transformers' own
        call in the offline form, and of a session of its processor in a streaming form.
        """
        config: Any = self.model.config
        factor = self.settings.model.audio_config.subsampling_factor
        streaming = self.settings.streaming_mode is not None
        own = (
            {}
            if streaming
            else {
                "fifo_length": config.fifo_length,
                "speaker_cache_update_period": config.speaker_cache_update_period,
            }
        )
        cache = Nemotron3DiarizationSpeakerCache(config.streaming_config, **own)
        length, right = (frames_80ms * factor for frames_80ms in self.chunk)
        left = 0 if streaming else config.chunk_left_context * factor
        begin = 0
        while begin < frames:
            end = min(begin + length, frames)
            if streaming and end + right >= frames:
                end = frames  # the stream has ended: nothing is left to look ahead to
            first, last = max(0, begin - left), min(end + right, frames)
            yield self.model(
                features(first, last),
                speaker_cache=cache,
                num_lookback_frames=(begin - first) // factor,
                num_lookahead_frames=-((end - last) // factor),
            ).logits
            begin = end

    def loss(self, waveforms: torch.Tensor, targets: torch.Tensor) -> Losses:
        """Cross entropy against the speakers in order of arrival and in the order that fits best, weighted.

        Plus the affinity loss, of the frames half-way up the encoder.
        """
        if not self._affinity:
            return self._losses(self.logits(waveforms), targets)
        layers = self.model.model.audio_tower.layers
        middle = layers[len(layers) // 2 - 1]
        with losses.first_outputs([middle]) as outputs:  # of the first chunk
            own = self._losses(self.logits(waveforms), targets)
        factor = self.settings.model.audio_config.subsampling_factor
        targets = targets[:, factor // 2 :: factor]  # the middle of each of the encoder's frames
        frames = outputs[middle][:, : targets.shape[1]].to(targets.dtype)  # later chunks begin with frames of the cache
        return own._replace(
            total=own.total + self._affinity * losses.affinity_loss(frames, targets[:, : frames.shape[1]])
        )

    @property
    def _affinity(self) -> float:
        """Weight of the affinity loss. It is 0 in a stream: the first chunk there is shorter than a turn."""
        return 0.0 if self.settings.streaming_mode else self.objective.affinity

    def measure(self, waveforms: torch.Tensor, targets: torch.Tensor) -> tuple[Losses, torch.Tensor]:
        """See Network."""
        logits = self.logits(waveforms)
        return self._losses(logits, targets), logits.sigmoid()

    def _losses(self, logits: torch.Tensor, targets: torch.Tensor) -> Losses:
        probabilities = losses.logit_marginals(logits.to(targets.dtype))  # losses are not computed in 16 bits
        ats_weight, pil_weight = self.loss_weights()
        in_best_order = losses.in_best_order(probabilities.each, targets)
        segmentation = ats_weight * losses.binary_cross_entropy(
            probabilities.each, losses.in_order_of_arrival(targets)
        ) + pil_weight * losses.binary_cross_entropy(probabilities.each, in_best_order)
        vad = losses.voice_activity_loss(probabilities, targets)
        total = losses.weighted(segmentation, vad, self.objective)
        if self.objective.phantom:
            total = total + self.objective.phantom * losses.phantom_speaker_loss(probabilities.each, in_best_order)
        return Losses(segmentation, vad.detach(), total)

    def loss_weights(self) -> tuple[float, float]:
        """ATS and PIL weight, scaled to add up to 1: the recipe's, else half each, as NVIDIA trains Sortformer."""
        return self.objective.arrival_and_permutation_weights(0.5, 0.5)

    def train_on(self, objective: Objective) -> NemotronNetwork:
        """Set the objective of `loss`. Raises UserError where it leaves no loss."""
        self.objective = objective
        self.loss_weights()
        return self

    @property
    def loss_description(self) -> str:
        ats_weight, pil_weight = self.loss_weights()
        words = (
            f"binary cross entropy per speaker, {ats_weight:.0%} sorted by arrival and {pil_weight:.0%} by best "
            f"permutation{losses.describe_phantom(self.objective)}"
            + (f", affinity of weight {self._affinity:g}" if self._affinity else "")
        )
        unused = {
            "a fresh head": self.objective.head == "fresh",
            "Dice": bool(self.objective.dice),
            "affinity": bool(self.objective.affinity and self.settings.streaming_mode),
            "outputs": self.objective.outputs is not None,
        }
        return losses.describe_objective(words, self.objective, "Nemotron-3-Diarization", unused)


def _configuration(architecture: Architecture, source: Path | str) -> Nemotron3DiarizationConfig:
    """transformers' configuration. Raises UserError where its own checks refuse the numbers."""
    try:
        return Nemotron3DiarizationConfig(**architecture.model.model_dump())
    except Exception as error:  # transformers wraps its ValueErrors in kinds of huggingface_hub
        reason = " ".join(str(error.__cause__ or error).split())[:300]
        raise UserError(f"{source}: not a configuration of Nemotron-3-Diarization: {reason}") from error


def _preset_of(path: Path, tensors: Mapping[str, Any]) -> Architecture:
    """The preset for a file of tensors without a ``config.json``: the one of the same encoder width and outputs.

    Raises UserError where no preset has these.
    """
    names = ("model.audio_tower.layer_norm.weight", "classifier.out_proj.bias")
    if not all(name in tensors for name in names):
        raise UserError(f"{path}: not the tensors of Nemotron-3-Diarization")
    sizes = tuple(len(tensors[name]) for name in names)
    for architecture in PRESETS.values():
        model = architecture.model
        if sizes == (model.audio_config.hidden_size, model.head_config.num_speakers):
            return architecture
    raise UserError(f"{path}: no preset has this size; pass the snapshot's folder, which has its {CONFIG}")
