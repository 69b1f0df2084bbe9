"""Sortformer and its hybrid loss (Park et al., "Sortformer: Seamless integration of speaker diarization and ASR by
bridging timestamps and tokens", 2024) as a Network.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from diarbench.backends import losses
from diarbench.backends.base import Losses
from diarbench.backends.objective import Objective
from diarbench.reports.records import UserError
from nemo.collections.asr.models import SortformerEncLabelModel
from nemo.collections.asr.parts.utils.asr_multispeaker_utils import get_ats_targets, get_pil_targets

DATA_SECTIONS = ("train_ds", "validation_ds", "test_ds", "optim")
"""Parts of a NeMo configuration that tell of its authors' files and training, not of the network."""


class SortformerNetwork(torch.nn.Module):
    """NeMo's Sortformer, in its offline form or, as its configuration says, in its streaming one.

    The streaming form goes over the features in chunks, with a cache of what each speaker sounds like and a queue of
    the latest frames; it is trained and run that way. ``model.sortformer_modules`` holds the lengths.
    """

    def __init__(self, model: SortformerEncLabelModel) -> None:
        super().__init__()
        self.model = model
        config = model._cfg
        self.max_speakers = int(config.max_num_of_spks)
        self.frame_s = config.preprocessor.window_stride * config.encoder.subsampling_factor
        self.first_frame_s = self.frame_s / 2
        self.num_frames = cache(self._num_frames)
        self.objective = Objective()

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> SortformerNetwork:
        """A network with random weights, drawn from torch's generator."""
        state = random.getstate()
        model = SortformerEncLabelModel(cfg=OmegaConf.create(dict(config)))
        random.setstate(state)  # the constructor seeds Python's generator for everybody
        return cls(model)

    @classmethod
    def from_nemo(cls, path: Path) -> SortformerNetwork:
        """Load a ``.nemo`` file. Raises UserError where it does not hold a Sortformer."""
        state = random.getstate()
        try:
            model = SortformerEncLabelModel.restore_from(str(path), map_location="cpu")
        except Exception as error:  # tarfile, omegaconf and torch raise many kinds for a file that is not theirs
            raise UserError(f"{path}: not a Sortformer .nemo file ({str(error).splitlines()[0]})") from error
        random.setstate(state)
        if not isinstance(model, SortformerEncLabelModel):
            raise UserError(f"{path}: holds a {type(model).__name__}, not a Sortformer")
        return cls(model)

    @property
    def streaming(self) -> bool:
        return bool(self.model.streaming_mode)

    def architecture(self) -> dict[str, Any]:
        config = OmegaConf.to_container(self.model._cfg, resolve=True)
        assert isinstance(config, dict)
        return {str(key): value for key, value in config.items() if key not in DATA_SECTIONS}

    @torch.no_grad()
    def _num_frames(self, samples: int) -> int:
        training = self.training
        frames = self.eval().activity(torch.zeros(1, samples, device=self.model.device)).shape[1]
        self.train(training)
        return int(frames)

    def loss(self, waveforms: torch.Tensor, targets: torch.Tensor) -> Losses:
        """NeMo's own training loss: arrival-time-sorted and permutation-invariant cross entropy, weighted."""
        activity = self.activity(waveforms)
        frames = torch.full((len(targets),), targets.shape[1], device=targets.device)
        permutations = self.model.speaker_permutations
        by_arrival = get_ats_targets(targets.clone(), activity, speaker_permutations=permutations)
        by_fit = get_pil_targets(targets.clone(), activity, speaker_permutations=permutations)
        arrival, permutation = self.objective.arrival, self.objective.permutation
        segmentation = (
            arrival * self.model.loss(probs=activity, labels=by_arrival, target_lens=frames)
            + permutation * self.model.loss(probs=activity, labels=by_fit, target_lens=frames)
        ) / (arrival + permutation)
        vad = losses.voice_activity(losses.of_sigmoids(activity), targets)
        return Losses(segmentation, vad.detach(), losses.weighted(segmentation, vad, self.objective))

    def train_on(self, objective: Objective) -> SortformerNetwork:
        """Set the objective of `loss`."""
        self.objective = objective
        return self

    @property
    def trained_on(self) -> str:
        arrival, permutation = self.objective.arrival, self.objective.permutation
        share = arrival / (arrival + permutation)
        words = f"binary cross entropy a speaker, {share:.0%} sorted by arrival and {1 - share:.0%} by best fit"
        return losses.in_words(words, self.objective)

    def activity(self, waveforms: torch.Tensor) -> torch.Tensor:
        """Sortformer's sigmoids, speakers in order of arrival."""
        lengths = torch.full((len(waveforms),), waveforms.shape[1], device=waveforms.device)
        if self.streaming:
            waveforms = waveforms.clone()  # its dither is added in place
        activity: torch.Tensor = self.model(audio_signal=waveforms, audio_signal_length=lengths)
        return activity
