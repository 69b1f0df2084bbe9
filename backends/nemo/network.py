"""Sortformer and its hybrid loss as a Network.

Park et al., "Sortformer: Seamless integration of speaker diarization and ASR by bridging timestamps and tokens" (2024).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from packaging.version import InvalidVersion, Version

from diarbench.backends import losses
from diarbench.backends.base import Losses
from diarbench.backends.checkpoints import (
    check_checkpoint,
    is_checkpoint,
    load_safetensors,
    load_tensors,
    stored_numbers,
)
from diarbench.backends.nemo.checkpoints import WEIGHTS, nemo_names, omegaconf_classes, preset_for, read_config
from diarbench.backends.nemo.configuration import check_size, safe_config
from diarbench.backends.nemo.losses import AuxiliaryLoss
from diarbench.backends.nemo.presets import SPEAKER_EMBEDDING
from diarbench.backends.nemo.toolkit import SortformerEncLabelModel
from diarbench.backends.objective import Objective
from diarbench.datasets.io.archives import read_tar_member
from diarbench.datasets.io.errors import UserError
from nemo.collections.asr.parts.utils.asr_multispeaker_utils import get_ats_targets, get_pil_targets

MOST_LISTED = 4
"""Up to this number of speakers, NeMo lists all permutations; for more, the Hungarian method finds the best one."""

NEW_BIAS, NEW_WEIGHTS = -4.0, 0.01
"""Of new outputs: the bias, which makes them silent, and the scale of random weights, which makes them differ."""


class SortformerNetwork(torch.nn.Module):
    """NeMo's Sortformer, offline or streaming as its configuration says.

    The streaming form processes the features in chunks, with a cache of speakers and a queue of the latest frames; it
    is trained and run that way. ``model.sortformer_modules`` holds the lengths.
    """

    model_class: type[SortformerEncLabelModel] = SortformerEncLabelModel

    def __init__(self, model: SortformerEncLabelModel) -> None:
        super().__init__()
        self.model = model
        model.sortformer_modules.single_hidden_to_spks.register_forward_hook(losses.in_32_bits)
        config = model._cfg
        self.max_speakers = int(config.max_num_of_spks)
        self.frame_s = config.preprocessor.window_stride * config.encoder.subsampling_factor
        self.first_frame_s = self.frame_s / 2
        self.num_frames = cache(self._num_frames)
        self.objective = Objective()

    @classmethod
    def from_config(cls, config: Mapping[str, Any], source: Path | str = "checkpoint") -> SortformerNetwork:
        """A network with random weights, drawn from torch's generator.

        Raises UserError where the configuration would build anything but the parts of a Sortformer.
        """
        return cls._build(safe_config(config, source))

    @staticmethod
    def _build(config: Mapping[str, Any]) -> SortformerNetwork:
        """A network of a safe configuration."""
        kind = _network_class(config)
        state = random.getstate()
        model = kind.model_class(cfg=OmegaConf.create(dict(config)))
        random.setstate(state)  # NeMo's constructor seeds Python's generator for the whole process
        return kind(model)

    @classmethod
    def from_file(cls, path: Path, config: Mapping[str, Any] | None = None) -> SortformerNetwork:
        """Load weights: a ``.nemo`` file, a checkpoint of NeMo's training or of diarbench, or a preset's tensors alone.

        With ``config``, the tensors of a ``.nemo`` file are loaded into a network of that configuration in place of the
        file's own.

        NeMo's own loader builds whatever the configuration names; this one builds only the parts of a Sortformer, and
        reads only tensors and plain values. Raises UserError where the file is not a Sortformer.
        """
        if path.suffix == ".safetensors":
            tensors, _ = load_safetensors(path)
            return cls._from_tensors(path, preset_for(path, tensors), tensors)
        if path.suffix == ".nemo":
            tensors = load_tensors(path, content=read_tar_member(path, WEIGHTS))
            return cls._from_tensors(path, config or read_config(path), tensors)
        content = load_tensors(path, omegaconf_classes())
        if is_checkpoint(content):
            return cls.from_checkpoint(check_checkpoint(path, content, "nemo"), path)
        try:
            settings, tensors = OmegaConf.to_container(content["hyper_parameters"]["cfg"]), content["state_dict"]
        except Exception as error:  # omegaconf raises many kinds of errors
            raise UserError(f"{path}: not a checkpoint of a Sortformer") from error
        return cls._from_tensors(path, settings, tensors)

    @classmethod
    def from_checkpoint(cls, checkpoint: Mapping[str, Any], source: Path | str = "checkpoint") -> SortformerNetwork:
        """The network in one of diarbench's checkpoints. Raises UserError as `from_file`."""
        return cls._from_tensors(source, checkpoint["architecture"], nemo_names(checkpoint["weights"]))

    @classmethod
    def _from_tensors(cls, path: Path | str, config: Any, tensors: Mapping[str, Any]) -> SortformerNetwork:
        if not isinstance(config, dict) or "sortformer_modules" not in config:
            target = config.get("target") if isinstance(config, dict) else None
            kind = target.rpartition(".")[2][:80] if isinstance(target, str) else ""
            raise UserError(f"{path}: holds {f'a {kind}' if kind else 'something else'}, not a Sortformer")
        try:
            config = safe_config(config, path)
            check_size(config, stored_numbers(tensors), path)
            network = cls._build(config)
            network.model.load_state_dict(tensors)
        except UserError as error:
            raise UserError(f"{error}{_written_by_newer(config)}") from error
        except Exception as error:  # omegaconf, hydra and torch raise many kinds of errors for a mismatch
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"{path}: not a Sortformer that NeMo {version('nemo_toolkit')} can build{_written_by_newer(config)}: "
                f"{reason}"
            ) from error
        return network

    @property
    def streaming(self) -> bool:
        return bool(self.model.streaming_mode)

    def architecture(self) -> dict[str, Any]:
        config = OmegaConf.to_container(self.model._cfg, resolve=True)
        assert isinstance(config, dict)
        return {str(key): value for key, value in config.items()}

    @torch.no_grad()
    def _num_frames(self, samples: int) -> int:
        with self.evaluating():
            return int(self.activity(torch.zeros(1, samples, device=self.model.device)).shape[1])

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluation mode inside the block; the mode of before after it."""
        training = self.training
        self.eval()
        yield
        self.train(training)

    def loss(self, waveforms: torch.Tensor, targets: torch.Tensor) -> Losses:
        """NeMo's own training loss, arrival-time sorted and permutation invariant, plus the auxiliary losses."""
        auxiliary = self.auxiliary_losses()
        with losses.first_outputs(each.module for each in auxiliary) as outputs:
            own = self._losses(self.activity(waveforms), targets)
        total = own.total
        for each in auxiliary:
            total = total + each.weight * each.loss(outputs[each.module].to(targets.dtype), targets)
        return own._replace(total=total)

    def auxiliary_losses(self) -> list[AuxiliaryLoss]:
        """None in the streaming form, where a module runs several times over the frames of the cache."""
        weight, layers = self.objective.affinity, self.model.encoder.layers
        if self.streaming or not weight:
            return []
        middle = layers[len(layers) // 2 - 1]
        return [AuxiliaryLoss(middle, losses.affinity_loss, weight, f"affinity of weight {weight:g}")]

    def measure(self, waveforms: torch.Tensor, targets: torch.Tensor) -> tuple[Losses, torch.Tensor]:
        """See Network."""
        activity = self.activity(waveforms)
        return self._losses(activity, targets), self.decoded_activity(activity)

    def _losses(self, activity: torch.Tensor, targets: torch.Tensor) -> Losses:
        activity = activity.to(targets.dtype)  # losses are not computed in 16 bits
        frames = torch.full((len(targets),), targets.shape[1])  # not on a GPU: NeMo's loss reads each of them twice
        permutations = self.model.speaker_permutations
        if self.max_speakers > MOST_LISTED:
            sorted_targets = losses.in_order_of_arrival(targets)
            permuted_targets = losses.in_best_order(losses.sigmoid_marginals(activity).each, targets)
        else:
            sorted_targets = get_ats_targets(targets.clone(), activity, speaker_permutations=permutations)
            permuted_targets = get_pil_targets(targets.clone(), activity, speaker_permutations=permutations)
        ats_weight, pil_weight = self.loss_weights()
        finite, not_finite = losses.finite_part(activity)
        segmentation = ats_weight * self.model.loss(probs=finite, labels=sorted_targets, target_lens=frames)
        segmentation = segmentation + pil_weight * self.model.loss(
            probs=finite, labels=permuted_targets, target_lens=frames
        )
        segmentation = segmentation + not_finite
        vad = losses.voice_activity_loss(losses.sigmoid_marginals(self.decoded_activity(activity)), targets)
        total = losses.weighted(segmentation, vad, self.objective)
        if self.objective.phantom:
            each = losses.sigmoid_marginals(activity).each
            total = total + self.objective.phantom * losses.phantom_speaker_loss(each, permuted_targets)
        return Losses(segmentation, vad.detach(), total)

    def loss_weights(self) -> tuple[float, float]:
        """ATS and PIL weight, scaled to add up to 1: the recipe's, else those of the model's own configuration.

        Raises UserError where both are 0.
        """
        return self.objective.arrival_and_permutation_weights(
            float(self.model.ats_weight), float(self.model.pil_weight)
        )

    def train_on(self, objective: Objective) -> SortformerNetwork:
        """This network with the objective of `loss`, and with as many outputs as it asks for.

        Raises UserError where it leaves no loss, or asks for fewer outputs than the network has.
        """
        network = self.with_outputs(objective.outputs) if objective.outputs else self
        network.objective = objective
        network.loss_weights()
        return network

    def with_outputs(self, outputs: int) -> SortformerNetwork:
        """A network with these weights and further outputs, which are silent before training.

        The streaming form's speaker cache grows in proportion. Raises UserError where ``outputs`` is less than now.
        """
        if outputs < self.max_speakers:
            raise UserError(
                f"outputs {outputs}: this Sortformer has {self.max_speakers} already; outputs are only added"
            )
        if outputs == self.max_speakers:
            return self
        config = self.architecture()
        modules = config["sortformer_modules"]
        config["max_num_of_spks"] = modules["num_spks"] = outputs
        if "spkcache_len" in modules:
            modules["spkcache_len"] = modules["spkcache_len"] * outputs // self.max_speakers
        wider = self._build(config)
        tensors = wider.model.state_dict()
        for name, own in self.model.state_dict().items():
            if own.shape != tensors[name].shape:  # a layer with a row per speaker
                rows = tensors[name][len(own) :]
                own = torch.cat([own, torch.full_like(rows, NEW_BIAS) if rows.ndim == 1 else rows * NEW_WEIGHTS])
            tensors[name] = own
        wider.model.load_state_dict(tensors)
        return wider

    @property
    def loss_description(self) -> str:
        ats_weight, pil_weight = self.loss_weights()
        shares = f"{ats_weight:.0%} sorted by arrival and {pil_weight:.0%} by best permutation"
        shares += losses.describe_phantom(self.objective)
        auxiliary = [each.description for each in self.auxiliary_losses()]
        words = ", ".join([f"binary cross entropy per speaker, {shares}", *auxiliary])
        unused = {
            "a fresh head": self.objective.head == "fresh",
            "Dice": bool(self.objective.dice),
            "affinity": bool(self.objective.affinity and self.streaming),
        }
        return losses.describe_objective(words, self.objective, "Sortformer", unused)

    def _apply(self, *arguments: Any, **options: Any) -> SortformerNetwork:
        """Also tell the model where it is now: it moves audio to its own ``device``, and Lightning changes that only
        where the model itself is moved, not where the network around it is.
        """
        super()._apply(*arguments, **options)
        self.model.to(next(self.model.parameters()).device)
        return self

    def activity(self, waveforms: torch.Tensor) -> torch.Tensor:
        """Sortformer's sigmoids, speakers in order of arrival."""
        lengths = torch.full((len(waveforms),), waveforms.shape[1], device=waveforms.device)
        if self.streaming:
            waveforms = waveforms.clone()  # NeMo adds its dither in place
        activity: torch.Tensor = self.model(audio_signal=waveforms, audio_signal_length=lengths)
        return activity

    def decoded_activity(self, activity: torch.Tensor) -> torch.Tensor:
        """Activity (batch, frames, speakers) as it is decoded into turns."""
        return activity

    def loading_code(self, file: Path) -> str:
        """Lines of Python that load ``model`` from an exported ``.nemo`` file."""
        return (
            "from nemo.collections.asr.models import SortformerEncLabelModel\n"
            f'model = SortformerEncLabelModel.restore_from("{file}").eval()\n'
        )


def _network_class(config: Mapping[str, Any]) -> type[SortformerNetwork]:
    if config.get(SPEAKER_EMBEDDING):
        from diarbench.backends.nemo.small_sortformer.network import SmallSortformerNetwork

        return SmallSortformerNetwork
    return SortformerNetwork


def _written_by_newer(config: Mapping[str, Any]) -> str:
    """`` (written by NeMo ..., newer than ... here)`` where the configuration says so."""
    here = version("nemo_toolkit")
    try:
        made_by = Version(config.get("nemo_version", "0"))
    except (InvalidVersion, TypeError):
        return ""
    return f" (written by NeMo {made_by}, newer than {here} here)" if made_by > Version(here) else ""
