"""All that a toolkit must be: a Backend that makes a Network to train and a Diarizer to run."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from diarbench.backends.files import load_tensors
from diarbench.reports.records import UserError, Weights, write_whole

if TYPE_CHECKING:
    import numpy as np
    import torch
    from optuna.distributions import BaseDistribution
    from pyannote.core import Annotation
    from torch import Tensor

    from diarbench.backends.objective import Objective
    from diarbench.datasets.layout import Recording


class Inference(dict[str, "np.ndarray"]):
    """What a network makes of a recording before any hyper-parameter: arrays by name, which a cache can keep.

    It is only ever equal to itself, so that a decoder can keep beside it what it works out from it.
    """

    __eq__ = object.__eq__
    __hash__ = object.__hash__  # type: ignore[assignment]


class Losses(NamedTuple):
    """Scalar losses of a batch; ``total`` is what is minimised, the others are told."""

    segmentation: Tensor
    vad: Tensor
    """Of telling speech from silence, not weighted; told whether or not it is trained on."""
    total: Tensor


class HubFiles(NamedTuple):
    """A repository of Hugging Face and the files that may hold its weights, the likeliest first."""

    repository: str
    names: tuple[str, ...]
    revision: str | None = None


@dataclass(frozen=True)
class Start:
    """What a network starts from: where the weights came from, and the file that holds them (None for scratch)."""

    weights: Weights
    path: Path | None = None
    preset: str | None = None
    """The architecture to build, where a backend has several and the file does not say."""
    max_speakers: int | None = None
    """Speakers that it can tell apart in a whole recording, where that is bounded and known before it is made."""
    hub: HubFiles | None = None
    """What to download first; see `diarbench.backends.weights.fetched`."""


class Network(Protocol):
    """A ``torch.nn.Module`` in the toolkit's own architecture, with the toolkit's own loss."""

    frame_s: float
    """Step of the output frames."""
    first_frame_s: float
    """Centre of the first output frame."""
    max_speakers: int
    """Speakers that the output can tell apart in a window."""
    trained_on: str
    """The losses behind `loss`, in words."""
    frontend: str | None
    """Where nothing is trained in what comes first, a digest of all that its features follow from: they may be kept."""

    def num_frames(self, samples: int) -> int:
        """Output frames for that many samples at 16 kHz."""
        ...

    def features(self, waveform: Tensor) -> Tensor:
        """What the frontend makes of a waveform (samples,): (frames, size). Below, a batch of it stands for waveforms.

        Called only where ``frontend`` is not None.
        """
        ...

    def loss(self, waveforms: Tensor, targets: Tensor) -> Losses:
        """Losses for waveforms (batch, samples) and 0/1 targets (batch, frames, max_speakers)."""
        ...

    def measure(self, waveforms: Tensor, targets: Tensor) -> tuple[Losses, Tensor]:
        """What `loss` and `activity` give, by one pass."""
        ...

    def activity(self, waveforms: Tensor) -> Tensor:
        """Soft activity in [0, 1], (batch, frames, max_speakers), for waveforms (batch, samples)."""
        ...

    def architecture(self) -> dict[str, Any]:
        """What the backend needs, beside the weights, to build this network again; plain values only."""
        ...


class Diarizer(Protocol):
    """A whole pipeline around a fine-tuned network."""

    defaults: Mapping[str, Any]
    """The hyper-parameters before any tuning."""
    notes: tuple[str, ...]
    """What has to be said beside its figures; mostly nothing."""
    search_space: Mapping[str, BaseDistribution]
    """Where tuning looks for better ones: a distribution for each of them, with the default inside."""
    first: Diarizer | None
    """What is tuned before this and then frozen, where inference is not free of every hyper-parameter; mostly None."""

    def at(self, hyperparameters: Mapping[str, Any]) -> Diarizer:
        """This diarizer with the hyper-parameters of ``first`` frozen at those values; itself where it has none."""
        ...

    def infer(self, recording: Recording) -> Inference:
        """The dear part, free of the hyper-parameters in the search space."""
        ...

    def decode(self, recording: Recording, inference: Inference, hyperparameters: Mapping[str, Any]) -> Annotation:
        """The cheap part: who spoke when, in seconds within the recording. May be called from several threads."""
        ...

    def oracles(
        self, recording: Recording, inference: Inference, hyperparameters: Mapping[str, Any]
    ) -> Mapping[str, Annotation]:
        """The same with one part of the pipeline replaced by the reference, by name: which part fails?

        Empty where the pipeline has no parts.
        """
        ...


class Backend(Protocol):
    """A toolkit. Its module imports the toolkit only inside these methods."""

    name: str

    def locate(self, init: str) -> Start:
        """What ``--init`` comes to: ``auto`` (never the network), ``scratch``, a path, ``hub:ID`` or ``run:FOLDER``.

        Imports no toolkit, downloads nothing. Raises UserError where it cannot be had.
        """
        ...

    def network(self, start: Start, objective: Objective) -> torch.nn.Module:
        """A Network with its first weights, which are on this machine by now, to be trained on an objective.

        Raises UserError where the file is not this toolkit's.
        """
        ...

    def restore(self, checkpoint: Mapping[str, Any]) -> torch.nn.Module:
        """The Network of a checkpoint that `save_checkpoint` wrote, to be run."""
        ...

    def diarizer(self, network: torch.nn.Module, device: str) -> Diarizer:
        """The toolkit's pipeline around a network."""
        ...

    def export(self, network: torch.nn.Module, hyperparameters: Mapping[str, Any], folder: Path) -> str:
        """Leave in a new folder what the toolkit itself loads; returns how, as lines of Python."""
        ...


CHECKPOINT_FORMAT = 1


def save_checkpoint(path: Path, backend: str, network: Any, **extra: Any) -> None:
    """Write a network, whole or not at all, with what else is needed to go on (plain values and tensors)."""
    import torch

    buffer = io.BytesIO()
    torch.save(
        {
            "format": CHECKPOINT_FORMAT,
            "backend": backend,
            "architecture": network.architecture(),
            "weights": network.state_dict(),
            **extra,
        },
        buffer,
    )
    write_whole(path, buffer.getvalue())


def load_checkpoint(path: Path, backend: str) -> dict[str, Any]:
    """Read a checkpoint, running no code that it may hold.

    Raises UserError where the file is absent, damaged, of a newer format or of another backend.
    """
    found = load_tensors(path)
    if not is_checkpoint(found):
        raise UserError(f"{path}: not a checkpoint of diarbench")
    return check_checkpoint(path, found, backend)


def is_checkpoint(found: Any) -> bool:
    """Whether what a file holds was written by `save_checkpoint`, of whatever format and backend."""
    return isinstance(found, dict) and {"format", "backend"} <= found.keys()


def check_checkpoint(path: Path, found: dict[str, Any], backend: str) -> dict[str, Any]:
    """The checkpoint itself. Raises UserError where it is of a newer format or of another backend."""
    if found["format"] != CHECKPOINT_FORMAT:
        raise UserError(f"{path}: checkpoint format {found['format']}, this diarbench reads {CHECKPOINT_FORMAT}")
    if found["backend"] != backend:
        raise UserError(f"{path}: a checkpoint of {found['backend']}, not of {backend}")
    return found
