"""NeMo's multi-scale diarization decoder (MSDD) as a Network.

Park et al., "Multi-scale speaker diarization with dynamic scale weighting" (Interspeech 2022).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import combinations, groupby, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from nemo.collections.asr.models.msdd_models import EncDecDiarLabelModel
from omegaconf import OmegaConf

from diarbench.backends import losses
from diarbench.backends.base import Losses
from diarbench.backends.checkpoints import check_checkpoint, check_stored, is_checkpoint, load_tensors
from diarbench.backends.msdd.configuration import (
    CAMPLUSPLUS,
    PUBLISHED_DECODER,
    holds_msdd,
    nemo_config,
    of_nemo_file,
    safe_architecture,
    safe_speaker,
)
from diarbench.backends.msdd.decoding import MOST_SPEAKERS
from diarbench.backends.msdd.inference import diarize_window
from diarbench.backends.msdd.segments import (
    FRAMES_PER_S,
    SCALES,
    PairLabels,
    Segments,
    cut,
    frames,
    label_pair,
    stretches,
)
from diarbench.backends.msdd.speaker import CamPlusPlusSpeaker, NemoSpeaker, SpeakerNetwork
from diarbench.backends.nemo.checkpoints import WEIGHTS, read_config
from diarbench.backends.objective import Objective
from diarbench.datasets.io.archives import read_tar_member
from diarbench.datasets.io.audio import SAMPLE_RATE
from diarbench.datasets.io.errors import UserError

SPEAKER = "msdd._speaker_model."
"""Under this name the model holds its speaker network."""


class Example(NamedTuple):
    """A pair of speakers in a window of a batch."""

    window: int
    segments: Segments
    labels: PairLabels


class MsddNetwork(torch.nn.Module):
    """NeMo's ``EncDecDiarLabelModel``: a speaker network, which is not trained, and a decoder for pairs of speakers.

    It is trained as in NeMo: on the speech of each pair of speakers of a window, with the speakers' profiles taken from
    the reference. `activity` uses nothing of the reference: speech is detected and its segments are clustered.
    """

    frame_s = 1 / FRAMES_PER_S
    first_frame_s = frame_s / 2
    max_speakers = MOST_SPEAKERS

    def __init__(self, architecture: Mapping[str, Any]) -> None:
        super().__init__()
        self.settings = dict(architecture)
        state = random.getstate()
        self.model = EncDecDiarLabelModel(cfg=OmegaConf.create(nemo_config(architecture)))
        random.setstate(state)
        self.model.msdd.hidden_to_spks.register_forward_hook(losses.in_32_bits)
        self.speaker = self._take_speaker()
        self.objective = Objective()
        self.train()

    @classmethod
    def from_scratch(cls, architecture: Mapping[str, Any]) -> MsddNetwork:
        """A network with random weights, drawn from torch's generator."""
        return cls(safe_architecture(architecture, "configuration"))

    @classmethod
    def from_file(cls, path: Path) -> MsddNetwork:
        """Load weights: a ``.nemo`` file of an MSDD or of a speaker network, or a checkpoint of diarbench.

        With a speaker network alone, the decoder has random weights and the published size. Only tensors and plain
        values are read. Raises UserError where the file holds neither.
        """
        if path.suffix != ".nemo":
            content = load_tensors(path)
            if not is_checkpoint(content):
                raise UserError(f"{path}: not a checkpoint of diarbench; pass a .nemo file, or run:FOLDER")
            return cls.from_checkpoint(check_checkpoint(path, content, "nemo-msdd"), path)
        config = read_config(path)
        tensors = load_tensors(path, content=read_tar_member(path, WEIGHTS))
        if holds_msdd(config, path):
            return cls._with_tensors(of_nemo_file(config, path), tensors, path)
        architecture = safe_architecture({"speaker": safe_speaker(config, path), "msdd": PUBLISHED_DECODER}, path)
        _check_shapes(architecture, {f"{SPEAKER}{name}": tensor for name, tensor in tensors.items()}, SPEAKER, path)
        network = cls(architecture)
        _load(network.model.msdd._speaker_model, tensors, path)
        return network

    @classmethod
    def from_checkpoint(cls, checkpoint: Mapping[str, Any], source: Path | str = "checkpoint") -> MsddNetwork:
        """The network in one of diarbench's checkpoints. Raises UserError as `from_file`."""
        tensors = {name.removeprefix("model."): tensor for name, tensor in checkpoint["weights"].items()}
        return cls._with_tensors(safe_architecture(checkpoint["architecture"], source), tensors, source)

    @classmethod
    def _with_tensors(cls, architecture: dict[str, Any], tensors: Mapping[str, Any], source: Path | str) -> MsddNetwork:
        _check_shapes(architecture, tensors, "", source)
        network = cls(architecture)
        _load(network.model, tensors, source)
        return network

    def _take_speaker(self) -> SpeakerNetwork:
        """The speaker network: NeMo's, which is a part of the model, or CAM++, which is not."""
        if self.settings["speaker"] == CAMPLUSPLUS:
            self.model.msdd._speaker_model = None
            return CamPlusPlusSpeaker()
        self.model.msdd._speaker_model.requires_grad_(False)
        return NemoSpeaker(self.model.msdd._speaker_model)

    def architecture(self) -> dict[str, Any]:
        return self.settings

    def train(self, mode: bool = True) -> MsddNetwork:
        """As in torch, but the speaker network stays in evaluation mode."""
        super().train(mode)
        if self.model.msdd._speaker_model is not None:
            self.model.msdd._speaker_model.eval()
        return self

    def num_frames(self, samples: int) -> int:
        return samples * FRAMES_PER_S // SAMPLE_RATE

    def train_on(self, objective: Objective) -> MsddNetwork:
        """Set the objective of `loss`."""
        self.objective = objective
        return self

    @property
    def loss_description(self) -> str:
        words = "binary cross entropy for each pair of speakers on their speech, profiles from the reference"
        unused = {
            "Dice": bool(self.objective.dice),
            "ATS and PIL weights": self.objective.ats_weight != self.objective.pil_weight,
            "affinity": bool(self.objective.affinity),
            "phantom": bool(self.objective.phantom),
            "a fresh head": self.objective.head == "fresh",
            "outputs": self.objective.outputs is not None,
        }
        return losses.describe_objective(words, self.objective, "MSDD", unused)

    def loss(self, waveforms: torch.Tensor, targets: torch.Tensor) -> Losses:
        """NeMo's loss over all pairs of speakers of the windows; 0 where nobody speaks."""
        examples = make_examples(targets.cpu().numpy())
        if not examples:
            nothing = sum(parameter.sum() for parameter in self.model.msdd.parameters() if parameter.requires_grad) * 0
            return Losses(nothing, nothing.detach(), nothing)
        embedded = self._embed_examples(waveforms, examples)
        lengths = torch.tensor([len(example.segments.base) for example in examples])
        wanted = torch.nn.utils.rnn.pad_sequence(
            [torch.from_numpy(example.labels.targets) for example in examples], batch_first=True
        ).to(waveforms.device)
        predicted = self.decode_pairs(*embedded).to(wanted.dtype)
        finite, not_finite = losses.finite_part(predicted)
        segmentation = self.model.loss(probs=finite, labels=wanted, target_lens=lengths) + not_finite
        spoken = torch.arange(wanted.shape[1])[None] < lengths[:, None]
        each = losses.sigmoid_marginals(predicted[spoken][None])
        vad = losses.voice_activity_loss(each, wanted[spoken][None])
        return Losses(segmentation, vad.detach(), losses.weighted(segmentation, vad, self.objective))

    def measure(self, waveforms: torch.Tensor, targets: torch.Tensor) -> tuple[Losses, torch.Tensor]:
        """See Network."""
        return self.loss(waveforms, targets), self.activity(waveforms)

    def activity(self, waveforms: torch.Tensor) -> torch.Tensor:
        """Activity of the speakers that are found in each window, without use of the reference."""
        found = [diarize_window(self, waveform) for waveform in waveforms.cpu().numpy()]
        activity = np.zeros((len(found), self.num_frames(waveforms.shape[1]), MOST_SPEAKERS), dtype=np.float32)
        for rows, (times, of_segments) in zip(activity, found, strict=True):
            for (start, end), values in zip(frames(times), of_segments, strict=True):
                rows[start:end, : len(values)] = values
        return torch.from_numpy(activity).to(waveforms.device)

    def decode_pairs(self, embeddings: torch.Tensor, profiles: torch.Tensor) -> torch.Tensor:
        """Activity (rows, segments, 2) from embeddings (rows, segments, scales, size) and two speakers' profiles."""
        lengths = torch.full((len(embeddings),), embeddings.shape[1], device=embeddings.device)
        activity: torch.Tensor = self.model.msdd(
            ms_emb_seq=embeddings, length=lengths, ms_avg_embs=profiles, targets=None
        )[0]
        return activity

    def _embed_examples(
        self, waveforms: torch.Tensor, examples: Sequence[Example]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings (rows, segments, scales, size) and profiles (rows, scales, size, 2).

        As in NeMo, a short row is padded with its first segment.
        """
        longest = max(len(example.segments.base) for example in examples)
        sequences, profiles = [], []
        for window, group in groupby(examples, key=lambda example: example.window):
            of_window = list(group)
            times = [each for example in of_window for each in example.segments.times]
            counts = [len(each) for each in times]
            embedded = iter(self.speaker.in_window(waveforms[window], np.concatenate(times)).split(counts))
            for _, segments, labels in of_window:
                by_scale = list(islice(embedded, len(SCALES)))
                padding = longest - len(segments.base)
                nearest = torch.from_numpy(np.pad(segments.mapping, ((0, 0), (0, padding))))
                sequences.append(torch.stack([e[k] for e, k in zip(by_scale, nearest, strict=True)], dim=1))
                profiles.append(torch.stack([_profiles(e, c) for e, c in zip(by_scale, labels.clusters, strict=True)]))
        return torch.stack(sequences), torch.stack(profiles)

    def embed_segments(self, waveform: np.ndarray, segments: Segments) -> list[np.ndarray]:
        """The embeddings (segments, size) of a recording's segments, a scale each."""
        return self.speaker.in_recording(waveform, segments.times)


def make_examples(targets: np.ndarray) -> list[Example]:
    """The pairs of speakers of a batch's windows, by 0/1 targets (windows, frames, speakers).

    As in NeMo's manifests for MSDD, a pair's example is what these two say, whoever else speaks. A window with a single
    speaker is an example in which the other one is silent.
    """
    examples = []
    for window, activity in enumerate(targets):
        speakers = np.flatnonzero(activity.any(axis=0)).tolist()
        silent = [k for k in range(activity.shape[1]) if k not in speakers]
        for pair in combinations(speakers + (silent[:1] if len(speakers) == 1 else []), 2):
            both = activity[:, pair]
            segments = cut(stretches(both.any(axis=1)))
            if len(segments.base):
                examples.append(Example(window, segments, label_pair(segments, both)))
    return examples


def _profiles(embeddings: torch.Tensor, clusters: np.ndarray) -> torch.Tensor:
    """The mean embedding of each of two speakers (size, 2); zero for one without segments."""
    own = torch.from_numpy(np.stack([clusters == speaker for speaker in (0, 1)], axis=1)).to(embeddings)
    return embeddings.T @ own / own.sum(dim=0).clamp(min=1)


def _check_shapes(architecture: Mapping[str, Any], tensors: Mapping[str, Any], prefix: str, source: Path | str) -> None:
    """Raises UserError where the tensors are not those of the architecture, before a network of its size is built."""
    try:
        with torch.device("meta"):  # takes no memory, whatever sizes the configuration claims
            wanted = {name: tensor.shape for name, tensor in MsddNetwork(architecture).model.state_dict().items()}
    except UserError:
        raise
    except Exception as error:  # omegaconf, hydra and torch raise many kinds of errors for a mismatch
        raise UserError(
            f"{source}: not an MSDD that NeMo 2.7 can build: {' '.join(str(error).split())[:200]}"
        ) from error
    for name, shape in wanted.items():
        if name.startswith(prefix) and getattr(tensors.get(name), "shape", None) != shape:
            raise UserError(f"{source}: its weights are not those of the network that it describes ({name})")
    check_stored((shape for name, shape in wanted.items() if name.startswith(prefix)), tensors, source)


def _load(module: torch.nn.Module, tensors: Mapping[str, Any], source: Path | str) -> None:
    wanted = module.state_dict()
    if unknown := sorted(set(tensors) - set(wanted)):
        raise UserError(f"{source}: has weights that the network lacks, such as {unknown[0]}")
    module.load_state_dict({name: tensors[name] for name in wanted})
