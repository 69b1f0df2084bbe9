"""The interface of a toolkit: a Backend builds a Network to train and a Diarizer to run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from diarbench.datasets.io.errors import UserError
from diarbench.reports.formatting import bounds
from diarbench.reports.results.run import Pipeline, Weights

if TYPE_CHECKING:
    import numpy as np
    import torch
    from optuna.distributions import BaseDistribution
    from pyannote.core import Annotation
    from torch import Tensor

    from diarbench.backends.objective import Objective
    from diarbench.datasets.dataset import Recording


class Inference(dict[str, "np.ndarray"]):
    """A network's output for a recording, before any hyper-parameter is applied: named arrays that can be cached.

    An instance equals only itself, so that a decoder can cache its own intermediate results by it.
    """

    __eq__ = object.__eq__
    __hash__ = object.__hash__  # type: ignore[assignment]


class Losses(NamedTuple):
    """Scalar losses of a batch. Training minimises ``total``; the others are reported."""

    segmentation: Tensor
    vad: Tensor
    """Loss of speech against silence, unweighted; reported even where it is not trained on."""
    total: Tensor


class HubFiles(NamedTuple):
    """A Hugging Face repository and the files that may hold its weights, most likely first."""

    repository: str
    names: tuple[str, ...]
    revision: str | None = None
    companions: tuple[str, ...] = ()
    """Files of the repository without which the weights cannot be used."""


@dataclass(frozen=True)
class InitialWeights:
    """The weights that a network starts from: their origin and their file (None for scratch)."""

    weights: Weights
    path: Path | None = None
    preset: str | None = None
    """The architecture to build, where a backend has several and the file does not name one."""
    max_speakers: int | None = None
    """The most speakers that the network can separate in a recording; None where unlimited or not known yet."""
    hub: HubFiles | None = None
    """The files to download first, by `diarbench.backends.initial_weights.download_weights`."""


class Network(Protocol):
    """A ``torch.nn.Module`` of the toolkit's own architecture, with the toolkit's own loss."""

    frame_s: float
    """Step between output frames."""
    first_frame_s: float
    """Centre of the first output frame."""
    max_speakers: int
    """The most speakers that the output can separate in a window."""
    loss_description: str
    """The terms of `loss`, in words."""

    def num_frames(self, samples: int) -> int:
        """Number of output frames for a number of samples at 16 kHz."""
        ...

    def loss(self, waveforms: Tensor, targets: Tensor) -> Losses:
        """Losses for waveforms (batch, samples) and 0/1 targets (batch, frames, max_speakers)."""
        ...

    def measure(self, waveforms: Tensor, targets: Tensor) -> tuple[Losses, Tensor]:
        """`loss` and `activity` in one forward pass."""
        ...

    def activity(self, waveforms: Tensor) -> Tensor:
        """Speaker activity in [0, 1], (batch, frames, max_speakers), for waveforms (batch, samples)."""
        ...

    def architecture(self) -> dict[str, Any]:
        """Plain values from which, with the weights, the backend can rebuild this network."""
        ...


@runtime_checkable
class CachesFeatures(Protocol):
    """Optional for a Network: its first stage is never trained, so its features can be computed once and cached.

    The Network's other methods then take a batch of features in place of waveforms.
    """

    def features_fingerprint(self) -> str | None:
        """A hash of everything but the waveform that the features depend on; None: do not cache them."""
        ...

    def features(self, waveform: Tensor) -> Tensor:
        """Features (frames, size) of a waveform (samples,)."""
        ...


class Diarizer(Protocol):
    """A complete diarization pipeline around a fine-tuned network."""

    defaults: Mapping[str, Any]
    """The hyper-parameters before tuning."""
    notes: tuple[str, ...]
    """Remarks for the report, such as a stream's latency; usually empty."""
    search_space: Mapping[str, BaseDistribution]
    """A distribution for each hyper-parameter that tuning searches; it includes the default."""
    upstream: Diarizer | None
    """A diarizer to tune and freeze before this one, where inference depends on a hyper-parameter; usually None."""

    def with_frozen(self, hyperparameters: Mapping[str, Any]) -> Diarizer:
        """This diarizer with the hyper-parameters of ``upstream`` frozen at these values; itself if there is none."""
        ...

    def infer(self, recording: Recording) -> Inference:
        """The slow part, which depends on no hyper-parameter in the search space."""
        ...

    def decode(self, recording: Recording, inference: Inference, hyperparameters: Mapping[str, Any]) -> Annotation:
        """The fast part: who spoke when, in seconds. Called from several threads at once.

        It does not read the audio: ``inference`` has all that it needs.
        """
        ...

    def oracles(
        self, recording: Recording, inference: Inference, hyperparameters: Mapping[str, Any]
    ) -> Mapping[str, Annotation]:
        """The pipeline with one part replaced by the reference, by name, to show which part fails.

        Empty for a pipeline without parts.
        """
        ...


@dataclass(frozen=True)
class SpeakerBounds:
    """The least and the most speakers of a recording; raises UserError where they exclude each other."""

    least: int = 1
    most: int | None = None
    """None: any number."""

    def __post_init__(self) -> None:
        if self.most is not None and self.most < self.least:
            raise UserError(f"at least {self.least} and at most {self.most} speakers: these exclude each other")

    @classmethod
    def of(cls, number: int | None, least: int | None, most: int | None) -> SpeakerBounds:
        """By the options ``--num-speakers``, ``--min-speakers`` and ``--max-speakers``."""
        if number is not None and (least is not None or most is not None):
            raise UserError("--num-speakers: leave out --min-speakers and --max-speakers, which it sets")
        return cls(number or least or 1, number or most)

    @property
    def exactly(self) -> int | None:
        """The number of speakers, where it is known."""
        return self.most if self.least == self.most else None

    def refuse_least(self, whose: str) -> None:
        """Raises UserError for a least number that is not the exact one, which e.g. ``an end-to-end network`` lacks."""
        if self.least > 1 and self.exactly is None:
            raise UserError(
                f"at least {self.least} speakers: {whose} has no least number of speakers; give the exact number, or "
                "the most"
            )

    @property
    def text(self) -> str:
        """``exactly 2 speakers``, ``2 to 4 speakers``; empty without bounds."""
        return bounds(self.least, self.most)


UNBOUNDED = SpeakerBounds()


@runtime_checkable
class BoundsSpeakers(Protocol):
    """Optional for a Diarizer: it can decode with a given number of speakers, or with bounds on it."""

    def with_speakers(self, bounds: SpeakerBounds) -> Diarizer:
        """This diarizer with bounds. Raises UserError for those that it cannot keep."""
        ...


@runtime_checkable
class ChecksBounds(Protocol):
    """Optional for a Backend: its diarizers cannot keep all bounds on the number of speakers."""

    def check_bounds(self, bounds: SpeakerBounds) -> None:
        """Raises UserError for those that `BoundsSpeakers.with_speakers` refuses, without a network."""
        ...


class Backend(Protocol):
    """A toolkit. Its module imports the toolkit only inside these methods."""

    name: str

    def resolve_init(self, init: str) -> InitialWeights:
        """The weights that ``--init`` names: ``auto``, ``scratch``, a path, ``hub:ID`` or ``run:FOLDER``.

        Imports no toolkit and downloads nothing; ``auto`` never needs the internet. Raises UserError where the weights
        are not available.
        """
        ...

    def network(self, initial: InitialWeights, objective: Objective) -> torch.nn.Module:
        """A Network with these weights, already downloaded, to train on an objective.

        Raises UserError where the file is not of this toolkit.
        """
        ...

    def restore(self, checkpoint: Mapping[str, Any]) -> torch.nn.Module:
        """The Network of a checkpoint that `save_checkpoint` wrote."""
        ...

    def diarizer(self, network: torch.nn.Module, device: str) -> Diarizer:
        """The toolkit's pipeline around a network."""
        ...

    def export(self, network: torch.nn.Module, hyperparameters: Mapping[str, Any], folder: Path) -> str:
        """Write files that the toolkit itself can load into a new folder; returns lines of Python that load them."""
        ...


@runtime_checkable
class AcceptsPlda(Protocol):
    """Optional for a Backend: its pipeline can score speaker embeddings with a PLDA."""

    plda_sha256: str | None
    """Fingerprint of the PLDA in use."""

    def with_plda(self, folder: Path, sha256: str | None = None) -> Backend:
        """This backend with the PLDA in a folder.

        Raises UserError where the folder holds none, or where its fingerprint is not ``sha256``.
        """
        ...


@runtime_checkable
class AcceptsPipeline(Protocol):
    """Optional for a Backend: it runs published pipelines whole, besides its own."""

    pipeline: Pipeline
    """The pipeline in use."""

    def with_pipeline(self, source: str, sha256: str | None = None, download: bool = True) -> Backend:
        """This backend with the pipeline in a folder or on the hub; without ``download``, in the hub's cache only.

        Raises UserError where it is not a pipeline of the published form, and where its fingerprint is not ``sha256``.
        """
        ...


@runtime_checkable
class DecodesExclusively(Protocol):
    """Optional for a Diarizer: it can name one speaker at a time, as transcription needs."""

    def decode_exclusive(
        self, recording: Recording, inference: Inference, hyperparameters: Mapping[str, Any]
    ) -> Annotation:
        """As `Diarizer.decode`, with at most one speaker at a time."""
        ...


@runtime_checkable
class HasFingerprint(Protocol):
    """Optional for a Diarizer: its inference depends on files besides the network's weights."""

    fingerprint: str | None
    """Changes with those files; None where they come from installed packages."""
