"""The state of a training: its history and checkpoints, and resuming from them.

`merit` decides which epoch is the best.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning.fabric import Fabric

from diarbench.backends.checkpoints import load_checkpoint, save_checkpoint, train_again
from diarbench.backends.recipes.schema import Recipe
from diarbench.backends.training.averaging import ExponentialMovingAverage
from diarbench.backends.training.schedule import WarmupSchedule
from diarbench.backends.training.windows import ExcludedSpeech
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import read_bytes, write_atomic
from diarbench.reports.results.run import Epoch
from diarbench.reports.results.run_folder import RunFolder

logger = logging.getLogger(__name__)


@dataclass
class History:
    """The epochs of a training so far, and its totals over all sessions of a resumed run."""

    epochs: list[Epoch] = field(default_factory=list)
    """Epoch 0 is the network before training."""
    rates: list[float] = field(default_factory=list)
    """Learning rate at the end of each epoch."""
    best_epoch: int = 0
    """The best of the trained epochs; 0 before the first."""
    averaged: list[int] = field(default_factory=list)
    """The epochs whose average is the last epoch; empty where none is."""
    error_s: list[dict[str, float]] = field(default_factory=list)
    """Seconds of error of each dev recording after each epoch; empty in checkpoints of version 0.1."""
    speech_s: dict[str, float] = field(default_factory=dict)
    """Seconds of reference speech of each dev recording."""
    seconds: float = 0.0
    """Time spent on training and measuring."""
    audio_s: float = 0.0
    """Audio of all training steps."""
    excluded: ExcludedSpeech = field(default_factory=ExcludedSpeech)

    def state_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {
            "epochs": [epoch.model_dump() for epoch in self.epochs],
            "rates": self.rates,
            "best_epoch": self.best_epoch,
            "averaged": self.averaged,
            "error_s": self.error_s,
            "speech_s": self.speech_s,
            "seconds": self.seconds,
            "audio_s": self.audio_s,
            "excluded": vars(self.excluded),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned, in this version or in 0.1."""
        self.epochs = [Epoch(**epoch) for epoch in state["epochs"]]
        self.rates, self.best_epoch = state["rates"], state["best_epoch"]
        self.averaged = state.get("averaged", [])
        self.error_s, self.speech_s = state.get("error_s", []), state.get("speech_s", {})
        self.seconds, self.audio_s = state["seconds"], state["audio_s"]
        self.excluded = ExcludedSpeech(**(state.get("excluded") or state["clipped"]))  # the key of version 0.1


def merit(epoch: Epoch, recipe: Recipe) -> tuple[float, float]:
    """The recipe's dev figure, lower is better; ties are broken by the dev loss, or by DER where the figure is a loss.

    A network that is not yet confident enough to change its decisions has the same DER and a lower loss.
    """
    if recipe.best == "der":
        return epoch.der, epoch.loss_val
    return getattr(epoch, recipe.best.replace("/", "_")), epoch.der


@dataclass
class TrainingState:
    """Everything that changes during a training; saved after each epoch and restored when a run resumes."""

    folder: RunFolder
    backend: str
    network: Any
    optimizer: Any
    schedule: WarmupSchedule
    average: ExponentialMovingAverage | None
    fabric: Fabric
    history: History

    def averaged(self) -> AbstractContextManager[None]:
        """The network with the weights that are measured and saved as best."""
        return self.average.in_place() if self.average else nullcontext()

    def save_first(self) -> None:
        """Save the network before training."""
        self._save("first")

    def save_best(self) -> None:
        """Save the network, with averaged weights where the recipe averages them."""
        with self.averaged():
            self._save("best")

    def keep_candidates(self, best: Sequence[int], latest: int) -> None:
        """Save the latest epoch's network where it is one of the best, and delete those that no longer are."""
        if latest in best:
            with self.averaged():
                self._save(f"epoch-{latest}")
        if self.fabric.is_global_zero:
            for path in self.folder.checkpoint("last").parent.glob("epoch-*.ckpt"):
                if path.stem not in {f"epoch-{number}" for number in best}:
                    path.unlink()

    def load_average(self, epochs: Sequence[int]) -> None:
        """Replace the network's weights by the mean of those of saved epochs; counters are those of the first."""
        weights = [
            load_checkpoint(self.folder.checkpoint(f"epoch-{number}"), self.backend)["weights"] for number in epochs
        ]
        mean = {
            name: torch.stack([each[name].double() for each in weights]).mean(0).to(first.dtype)
            if first.is_floating_point()
            else first
            for name, first in weights[0].items()
        }
        self.network.load_state_dict(mean)
        if self.average:
            self.average.load(mean)

    def keep_first(self) -> None:
        """Let the best network be the one before training."""
        if self.fabric.is_global_zero:
            write_atomic(self.folder.checkpoint("best"), read_bytes(self.folder.checkpoint("first"), is_own=True))

    def save_last(self) -> None:
        """Save the network and all that resuming needs."""
        self._save(
            "last",
            optimizer=self.optimizer.state_dict(),
            rate=self.schedule.state_dict(),
            precision=self.fabric.strategy.precision.state_dict(),
            average=self.average.weights if self.average else None,
            **self.history.state_dict(),
        )

    def resume(self) -> bool:
        """Restore ``checkpoints/last.ckpt``; returns False where there is none.

        Raises UserError where the file is damaged, of another backend or of another training.
        """
        path = self.folder.checkpoint("last")
        if not path.exists():
            return False
        checkpoint = load_checkpoint(path, self.backend)
        try:
            self._restore(checkpoint)
        except Exception as error:  # whatever is missing or misshapen raises errors of many kinds
            reason = (str(error).splitlines() or [""])[0]
            raise UserError(
                f"{path}: not a state of this training ({type(error).__name__}: {reason}); {train_again(path)}"
            ) from error
        logger.info("resuming after epoch %d", len(self.history.epochs) - 1)
        return True

    def _restore(self, checkpoint: dict[str, Any]) -> None:
        self.network.load_state_dict(checkpoint["weights"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.schedule.load_state_dict(checkpoint["rate"])
        self.fabric.strategy.precision.load_state_dict(checkpoint["precision"])
        if self.average:
            self.average.load(checkpoint["average"])
        self.history.load_state_dict(checkpoint)

    def _save(self, name: str, **extra: Any) -> None:
        if self.fabric.is_global_zero:
            save_checkpoint(self.folder.checkpoint(name), self.backend, self.network, **extra)
