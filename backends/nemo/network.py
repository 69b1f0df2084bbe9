"""Sortformer and its hybrid loss (Park et al., "Sortformer: Seamless integration of speaker diarization and ASR by
bridging timestamps and tokens", 2024) as a Network.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.base import ContainerMetadata, Metadata
from omegaconf.nodes import AnyNode
from packaging.version import Version

from diarbench.backends import losses
from diarbench.backends.base import Losses, check_checkpoint, is_checkpoint
from diarbench.backends.files import load_safetensors, load_tensors
from diarbench.backends.nemo import VOICES, preset, presets
from diarbench.backends.nemo.archive import WEIGHTS, config_in, member
from diarbench.backends.nemo.counting import whole
from diarbench.backends.nemo.voices import VoiceSortformer
from diarbench.backends.objective import Objective
from diarbench.reports.records import UserError
from nemo.collections.asr.models import SortformerEncLabelModel
from nemo.collections.asr.parts.utils.asr_multispeaker_utils import get_ats_targets, get_pil_targets

DATA_SECTIONS = ("train_ds", "validation_ds", "test_ds", "optim")
"""Parts of a NeMo configuration that tell of its authors' files and training, not of the network."""


PARTS = {
    "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
    "nemo.collections.asr.modules.SpectrogramAugmentation",
    "nemo.collections.asr.modules.ConformerEncoder",
    "nemo.collections.asr.modules.sortformer_modules.SortformerModules",
    "nemo.collections.asr.modules.transformer.transformer_encoders.TransformerEncoder",
    "nemo.collections.asr.losses.bce_loss.BCELoss",
}
"""All that a Sortformer's configuration may name to be made."""
OMEGACONF = (
    DictConfig,
    ListConfig,
    AnyNode,
    ContainerMetadata,
    Metadata,
    defaultdict,
    dict,
    list,
    int,
    (Any, "typing.Any"),
)
"""What a configuration in a checkpoint of NeMo's training is made of; plain values."""


class Beside(NamedTuple):
    """A loss beside NeMo's own."""

    part: torch.nn.Module
    """Of what it makes, (batch, frames, size)."""
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    weight: float
    words: str


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
    def from_config(cls, config: Mapping[str, Any], source: Path | str = "checkpoint") -> SortformerNetwork:
        """A network with random weights, drawn from torch's generator.

        Raises UserError where the configuration would make anything but a Sortformer's parts.
        """
        _check_harmless(source, config)
        state = random.getstate()
        kind = VoiceSortformer if config.get(VOICES) else SortformerEncLabelModel
        model = kind(cfg=OmegaConf.create(dict(config)))
        random.setstate(state)  # the constructor seeds Python's generator for everybody
        return cls(model)

    @classmethod
    def from_file(cls, path: Path, config: Mapping[str, Any] | None = None) -> SortformerNetwork:
        """Load weights: a ``.nemo``, a checkpoint of NeMo's training or of ours, or a preset's tensors alone.

        With ``config`` a ``.nemo``'s tensors are those of a network of that configuration, in place of its own.

        NeMo's own loader makes whatever its configuration names; this one makes a Sortformer's parts alone, and reads
        tensors and plain values. Raises UserError where the file is not a Sortformer.
        """
        if path.suffix == ".safetensors":
            tensors, _ = load_safetensors(path)
            return cls._of_tensors(path, _preset_of(path, tensors), tensors)
        if path.suffix == ".nemo":
            tensors = load_tensors(path, content=member(path, WEIGHTS))
            return cls._of_tensors(path, config or config_in(path), tensors)
        found = load_tensors(path, OMEGACONF)
        if is_checkpoint(found):
            checkpoint = check_checkpoint(path, found, "nemo")
            return cls._of_tensors(path, checkpoint["architecture"], _bare(checkpoint["weights"]))
        try:
            return cls._of_tensors(path, OmegaConf.to_container(found["hyper_parameters"]["cfg"]), found["state_dict"])
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path}: not a checkpoint of a Sortformer") from error

    @classmethod
    def _of_tensors(cls, path: Path, config: Any, tensors: Mapping[str, Any]) -> SortformerNetwork:
        if not isinstance(config, dict) or "sortformer_modules" not in config:
            kind = str(config.get("target", "")).rpartition(".")[2] if isinstance(config, dict) else ""
            raise UserError(f"{path}: holds {f'a {kind}' if kind else 'something else'}, not a Sortformer")
        config = {key: value for key, value in config.items() if key not in DATA_SECTIONS}
        made_by, here = str(config.get("nemo_version", "0")), version("nemo_toolkit")
        newer = f" (of NeMo {made_by}, newer than {here} here)" if Version(made_by) > Version(here) else ""
        try:
            network = cls.from_config(config, path)
            network.model.load_state_dict(tensors)
        except UserError:
            raise
        except Exception as error:  # omegaconf, hydra and torch raise many kinds for what does not fit
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{path}: not a Sortformer that NeMo {here} can make{newer}: {reason}") from error
        return network

    @property
    def streaming(self) -> bool:
        return bool(self.model.streaming_mode)

    def architecture(self) -> dict[str, Any]:
        config = OmegaConf.to_container(self.model._cfg, resolve=True)
        assert isinstance(config, dict)
        return {str(key): value for key, value in config.items() if key not in DATA_SECTIONS}

    @torch.no_grad()
    def _num_frames(self, samples: int) -> int:
        with self._evaluating():
            return int(self.activity(torch.zeros(1, samples, device=self.model.device)).shape[1])

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        training = self.training
        self.eval()
        yield
        self.train(training)

    @property
    def frontend(self) -> str | None:
        """See Network."""
        return self.model.frontend if isinstance(self.model, VoiceSortformer) and not self.streaming else None

    def features(self, waveform: torch.Tensor) -> torch.Tensor:
        """See Network."""
        with self._evaluating():
            return self.model.features(waveform.to(self.model.device))

    def loss(self, waveforms: torch.Tensor, targets: torch.Tensor) -> Losses:
        """NeMo's own training loss: arrival-time-sorted and permutation-invariant cross entropy, weighted. In the
        offline form affinity is added, and of a network that counts speakers the cross entropy of how many speak.
        """
        made: dict[torch.nn.Module, torch.Tensor] = {}
        beside = self._beside()
        hooks = [each.part.register_forward_hook(lambda part, _, out: made.update({part: out})) for each in beside]
        found = self._losses(self.activity(waveforms), targets)
        for hook in hooks:
            hook.remove()
        total = found.total
        for each in beside:
            total = total + each.weight * each.loss(made[each.part].to(targets.dtype), targets)
        return found._replace(total=total)

    def _beside(self) -> list[Beside]:
        """None in the streaming form, in which parts run again and again on frames of a cache."""
        if self.streaming:
            return []
        found, layers, weight = [], self.model.encoder.layers, self.objective.affinity
        if weight:
            found.append(
                Beside(layers[len(layers) // 2 - 1], losses.affinity, weight, f"affinity of weight {weight:g}")
            )
        if isinstance(self.model, VoiceSortformer):
            found.append(Beside(self.model.counting, losses.counting, 1.0, "and cross entropy of how many speak"))
        return found

    def measure(self, waveforms: torch.Tensor, targets: torch.Tensor) -> tuple[Losses, torch.Tensor]:
        """See Network."""
        activity = self.activity(waveforms)
        return self._losses(activity, targets), self.settled(activity)

    def _losses(self, activity: torch.Tensor, targets: torch.Tensor) -> Losses:
        activity = activity.to(targets.dtype)  # losses are not worked out in 16 bits
        frames = torch.full((len(targets),), targets.shape[1], device=targets.device)
        permutations = self.model.speaker_permutations
        by_arrival = get_ats_targets(targets.clone(), activity, speaker_permutations=permutations)
        by_fit = get_pil_targets(targets.clone(), activity, speaker_permutations=permutations)
        arrival, permutation = self.objective.arrival, self.objective.permutation
        segmentation = (
            arrival * self.model.loss(probs=activity, labels=by_arrival, target_lens=frames)
            + permutation * self.model.loss(probs=activity, labels=by_fit, target_lens=frames)
        ) / (arrival + permutation)
        vad = losses.voice_activity(losses.of_sigmoids(self.settled(activity)), targets)
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
        words = ", ".join([words, *(each.words for each in self._beside())])
        unused = {
            "a fresh head": self.objective.head == "fresh",
            "Dice": bool(self.objective.dice),
            "affinity": bool(self.objective.affinity and self.streaming),
        }
        return losses.in_words(words, self.objective, "Sortformer", unused)

    def activity(self, waveforms: torch.Tensor) -> torch.Tensor:
        """Sortformer's sigmoids, speakers in order of arrival."""
        if waveforms.ndim == 3:  # features, kept
            return self.model.of_features(waveforms)
        lengths = torch.full((len(waveforms),), waveforms.shape[1], device=waveforms.device)
        if self.streaming:
            waveforms = waveforms.clone()  # its dither is added in place
        activity: torch.Tensor = self.model(audio_signal=waveforms, audio_signal_length=lengths)
        return activity

    def settled(self, activity: torch.Tensor) -> torch.Tensor:
        """Activity as it is decoded: of a network that counts speakers, as many as it counts."""
        return whole(activity) if isinstance(self.model, VoiceSortformer) else activity


def _bare(weights: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors of our own checkpoint under NeMo's names."""
    return {name.removeprefix("model."): tensor for name, tensor in weights.items()}


def _preset_of(path: Path, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """The preset that tensors without a configuration fit, by the widths of its two encoders."""
    if "sortformer_modules.encoder_proj.weight" not in tensors:
        raise UserError(f"{path}: not the tensors of a Sortformer")
    widths = tuple(tensors["sortformer_modules.encoder_proj.weight"].shape)
    for config in map(preset, presets()):
        if (config["tf_d_model"], config["fc_d_model"]) == widths:
            return config
    raise UserError(f"{path}: a Sortformer of no size there is a preset of; give a .nemo file, which describes it")


def _check_harmless(source: Path | str, config: Any) -> None:
    """Raises UserError where a configuration would make or look up anything but a Sortformer's parts."""
    for key, value in _entries(config):
        if key == "_target_" and value not in PARTS:
            raise UserError(f"{source}: its configuration would run {value}, which is no part of a Sortformer")
        if isinstance(value, str) and "${" in value and ":" in value:
            raise UserError(f"{source}: its configuration asks for {value}, which is no value of its own")


def _entries(node: Any) -> Iterator[tuple[Any, Any]]:
    for key, value in node.items() if isinstance(node, Mapping) else enumerate(node):
        yield key, value
        if isinstance(value, Mapping | list):
            yield from _entries(value)
