"""The training loop of all backends: same windows, optimizer, schedule and measures for every network.

Every random draw of an epoch depends only on the seed and the epoch, so a stopped run resumes after its last complete
epoch and ends with the same weights as an uninterrupted one.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.fabric import Fabric

from diarbench.backends.evidence import weigh
from diarbench.backends.recipes.schema import Recipe
from diarbench.backends.training.averaging import ExponentialMovingAverage
from diarbench.backends.training.batches import BatchLoader
from diarbench.backends.training.distributed import ForwardDispatch, seed_all, sum_over_processes
from diarbench.backends.training.feature_cache import FeatureCache
from diarbench.backends.training.loggers import TRAIN_LOSSES, EpochLogger, write_epochs
from diarbench.backends.training.memory import check_batch_fits
from diarbench.backends.training.optimizer import build_optimizer, freeze
from diarbench.backends.training.schedule import WarmupSchedule
from diarbench.backends.training.state import History, TrainingState, merit
from diarbench.backends.training.validation import Validator
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.errors import UserError
from diarbench.reports.results.run import Epoch
from diarbench.reports.results.run_folder import RunFolder
from diarbench.reports.results.statistics import Choice

logger = logging.getLogger(__name__)

Progress = Callable[..., None]
"""Called with keywords: ``epochs``, ``epoch``, ``done``, ``total`` and ``loss`` after each batch, ``epochs`` and
``finished`` (the epoch's record) after each epoch, ``stage``, ``done`` and ``total`` while features are computed."""


def batches_per_reading(device: torch.device) -> int:
    """Batches of which the losses are read at once. A GPU has to finish all its work for a reading."""
    return 1 if device.type == "cpu" else 10


class UnreadBatch(NamedTuple):
    """A batch that the network was trained on, with losses and gradient that are still on its device."""

    number: int
    size: int
    """Windows of all processes."""
    left_out: int
    """Active frames of this process that are not in the targets."""
    losses: torch.Tensor
    """(3,), summed over this process's windows."""
    gradient_norm: torch.Tensor | None
    """None where no optimizer step followed."""


@dataclass(frozen=True)
class TrainingResult:
    """The outcome of a fine-tuning."""

    epochs: tuple[Epoch, ...]
    best_epoch: int
    audio_s: float
    """Audio of all training steps."""
    seconds: float
    """Time spent on training and measuring, over all sessions of a resumed run."""
    notes: tuple[str, ...]
    choice: Choice | None = None
    """Why the best epoch or the pretrained network; None where the pretrained network could not be kept."""


class Trainer:
    """Fine-tunes a network by a recipe; `run` does it all.

    Writes ``checkpoints/{first,last,best}.ckpt`` and ``epochs.csv`` into the folder. Raises UserError where the data
    hold no window, where the recipe does not fit the network, or where a loss, gradient or weight is not finite (the
    last good epoch stays saved). With several processes, each gets a share of every batch and only the first writes.

    With ``may_keep_first``, the network before training counts as an epoch: it is kept as the best one where dev does
    not show that the best trained epoch beats it.
    """

    def __init__(
        self,
        network: Any,
        backend: str,
        dataset: Dataset,
        recipe: Recipe,
        seed: int,
        fabric: Fabric,
        folder: Path,
        loggers: Sequence[EpochLogger] = (),
        *,
        may_keep_first: bool = False,
        workers: int | None = None,
    ) -> None:
        """``workers`` processes read batches ahead of the network; None: as `default_workers` says."""
        self.network, self.dataset, self.recipe, self.seed, self.fabric = network, dataset, recipe, seed, fabric
        self.folder, self.loggers, self.may_keep_first = RunFolder(folder), loggers, may_keep_first
        self.history = History()
        self.feature_cache = FeatureCache.of(network) if recipe.cache_features else None
        self.loader = BatchLoader(
            network, dataset, recipe, seed, fabric, self.feature_cache, self.history.excluded, workers
        )
        self.frozen_modules = freeze(network, recipe.freeze.get(backend, ()))
        optimizer = build_optimizer(network, recipe, recipe.layer_rates.get(backend, {}))
        steps_per_epoch = math.ceil(self.loader.batches_per_epoch / recipe.accumulate)
        self.schedule = WarmupSchedule(optimizer, recipe, steps_per_epoch)
        self.wrapped, self.optimizer = fabric.setup(ForwardDispatch(network), optimizer)
        self.average = ExponentialMovingAverage(network, recipe.average) if recipe.average else None
        self.state = TrainingState(
            self.folder, backend, network, self.optimizer, self.schedule, self.average, fabric, self.history
        )
        self.validator = Validator(network, self.wrapped, self.loader, fabric, seed)

    def run(self, progress: Progress) -> TrainingResult:
        """Train all epochs of the recipe; resumes from ``checkpoints/last.ckpt`` where it exists."""
        self.start(progress)
        history = self.history
        while len(history.epochs) <= self.recipe.epochs and not history.averaged and not self.has_stalled():
            self.train_epoch(progress)
        if self.recipe.average_best and not history.averaged:
            self._average_best(self.recipe.average_best, progress)
        choice = self._choose()
        if choice and choice.kept_start:
            self.state.keep_first()
        return TrainingResult(
            tuple(history.epochs),
            choice.chosen if choice else history.best_epoch,
            history.audio_s,
            history.seconds,
            self._notes(),
            choice,
        )

    def start(self, progress: Progress) -> None:
        """Resume, or save and measure the untrained network as epoch 0."""
        started = time.perf_counter()
        if self.feature_cache:
            self._cache_features(self.feature_cache, progress)
        if self.fabric.device.type == "cuda":
            check_batch_fits(self.network, self.loader, self.fabric)
        if self.state.resume():
            self._report_resumed()
        else:
            self.state.save_first()
            self._finish_epoch(self._measure(None), started, progress)

    def train_epoch(self, progress: Progress) -> None:
        """Train the next epoch, measure it on dev and save it."""
        started = time.perf_counter()
        self._finish_epoch(self._measure(self._train_on_batches(progress)), started, progress)

    def _average_best(self, count: int, progress: Progress) -> None:
        """Average the weights of the best epochs, and measure the average as one more epoch."""
        started = time.perf_counter()
        self.history.averaged = self._ranking()[:count]
        self.fabric.barrier()
        self.state.load_average(self.history.averaged)
        self._finish_epoch(self._measure(None), started, progress)

    def _ranking(self) -> list[int]:
        """The trained epochs, best first."""
        epochs = self.history.epochs
        return sorted(range(1, len(epochs)), key=lambda number: merit(epochs[number], self.recipe))

    def _cache_features(self, feature_cache: FeatureCache, progress: Progress) -> None:
        """Compute the features of all recordings, divided among the processes."""
        recordings = [recording for subset in ("train", "dev") for recording in self.dataset.subset(subset)]
        recordings += [recording for mixed in self.dataset.mixed_in for recording in mixed.recordings]
        for done, recording in enumerate(recordings, start=1):
            if done % self.fabric.world_size == self.fabric.global_rank:
                feature_cache.add(recording)
            progress(stage="features", done=done, total=len(recordings))
        self.fabric.barrier()

    def has_stalled(self) -> bool:
        """Whether the recipe's patience is exhausted."""
        epochs_since_best = len(self.history.epochs) - 1 - self.history.best_epoch
        return self.recipe.patience is not None and epochs_since_best >= self.recipe.patience

    def _choose(self) -> Choice | None:
        """Whether the best trained epoch replaces the network before training, by dev DER."""
        history = self.history
        best = history.best_epoch
        if not self.may_keep_first or len(history.error_s) != len(history.epochs) or not sum(history.speech_s.values()):
            return None
        gain_s = {uri: before - history.error_s[best][uri] for uri, before in history.error_s[0].items()}
        start = "the pretrained network"
        return weigh(best, f"epoch {best}", start, f"{start} is kept", gain_s, history.speech_s)

    def _train_on_batches(self, progress: Progress) -> list[float]:
        """Train on an epoch's windows; returns the mean losses per window (segmentation, VAD, total)."""
        epoch, recipe, loader = len(self.history.epochs), self.recipe, self.loader
        seed_all(self.seed, epoch)
        self.wrapped.train()
        for module in self.frozen_modules:
            module.eval()
        windows_per_step = recipe.batch_size * recipe.accumulate
        per_reading = batches_per_reading(self.fabric.device)
        sums, unread = np.zeros(3), list[UnreadBatch]()
        self.optimizer.zero_grad()
        for done, batch in enumerate(loader.train_batches(epoch), start=1):
            windows_before = (done - 1) // recipe.accumulate * windows_per_step
            windows_of_step = min(windows_per_step, loader.windows_per_epoch - windows_before)
            where = f"in epoch {epoch}, batch {done}"
            with self._explaining_errors(where, unread):
                losses = self.wrapped("loss", batch.waveforms, batch.targets)
                self.fabric.backward(losses.total * (batch.counted * self.fabric.world_size / windows_of_step))
                ends_step = done % recipe.accumulate == 0 or done == loader.batches_per_epoch
                norm = self._step() if ends_step else None
                batch_sums = batch.counted * torch.stack(losses).detach().double()
                unread.append(UnreadBatch(done, batch.size, batch.left_out, batch_sums, norm))
                if len(unread) < per_reading and done < loader.batches_per_epoch:
                    continue
                of_batches = self._read(unread)
            sums += of_batches.sum(0)
            loss = float(of_batches[-1, 2]) / batch.size
            unread.clear()
            progress(epoch=epoch, epochs=recipe.epochs, done=done, total=loader.batches_per_epoch, loss=loss)
        means: list[float] = (sums / loader.windows_per_epoch).tolist()
        return means

    def _read(self, unread: Sequence[UnreadBatch]) -> np.ndarray:
        """Losses of batches (batches, 3), summed over the windows of all processes; waits for a GPU.

        Raises UserError where a loss or a gradient is not finite.
        """
        own = np.column_stack([_losses(unread), [each.left_out for each in unread]])
        figures = sum_over_processes(self.fabric, own)
        self._check_finite(unread, figures[:, 2].tolist())
        self.history.audio_s += sum(each.size for each in unread) * self.recipe.window_s
        self.history.excluded.crowded_s += float(figures[:, 3].sum()) * self.network.frame_s
        return figures[:, :3]

    def _check_finite(self, unread: Sequence[UnreadBatch], losses: Sequence[float]) -> None:
        """Raises UserError where a batch's loss or gradient is not finite."""
        for batch, loss in zip(unread, losses, strict=True):
            where = f"in epoch {len(self.history.epochs)}, batch {batch.number}"
            if not math.isfinite(loss):
                raise self._diverged(f"the loss became {loss} {where}")
            # In 16 bits gradients overflow occasionally; the gradient scaler skips such steps.
            norm = batch.gradient_norm
            if norm is not None and not norm.isfinite() and self.recipe.precision != "16-mixed":
                raise self._diverged(f"a gradient became {norm.item()} {where}")

    def _step(self) -> torch.Tensor | None:
        """An optimizer step; returns the norm of the gradient before it was clipped, or None where Fabric has none."""
        max_norm = self.recipe.gradient_clip or math.inf
        norm = self.fabric.clip_gradients(self.wrapped, self.optimizer, max_norm=max_norm, error_if_nonfinite=False)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.after_step()
        if self.average:
            self.average.after_step(self.schedule.steps)
        return norm

    def _measure(self, train_losses: list[float] | None) -> Epoch:
        """The record of the current epoch, with its train losses where it was trained."""
        number = len(self.history.epochs)
        with torch.no_grad(), self.state.averaged(), self._explaining_errors(f"on dev in epoch {number}"):
            losses, best, error_s, speech_s = self.validator.measure()
        if not math.isfinite(losses[2]):
            raise self._diverged(f"the loss on dev became {losses[2]} in epoch {number}")
        self.history.error_s.append(error_s)
        self.history.speech_s = speech_s
        return Epoch(
            epoch=number,
            loss_val_segmentation=losses[0],
            loss_val_vad=losses[1],
            loss_val=losses[2],
            **best._asdict(),
            **({} if train_losses is None else dict(zip(TRAIN_LOSSES, train_losses, strict=True))),
        )

    def _finish_epoch(self, epoch: Epoch, started: float, progress: Progress) -> None:
        """Save the epoch: best, then last, then the table, so that a stop in between loses and repeats nothing."""
        history = self.history
        history.epochs.append(epoch)
        history.rates.append(self.optimizer.param_groups[0]["lr"])
        figure = merit(epoch, self.recipe)
        if epoch.epoch and not history.averaged:
            self.schedule.after_epoch(figure[0])
        best = history.epochs[history.best_epoch]
        if epoch.epoch == 1 or (epoch.epoch > 1 and figure < merit(best, self.recipe)):
            history.best_epoch = epoch.epoch
            self.state.save_best()
        if self.recipe.average_best and not history.averaged:
            self.state.keep_candidates(self._ranking()[: self.recipe.average_best], epoch.epoch)
        history.seconds += time.perf_counter() - started
        self.state.save_last()
        self._write_table()
        for epoch_logger in self.loggers:
            epoch_logger.log(epoch, history.rates[-1])
        logger.info("epoch %d: loss/val %.4f, dev DER %.4f", epoch.epoch, epoch.loss_val, epoch.der)
        progress(finished=epoch.model_dump(), epochs=max(self.recipe.epochs, epoch.epoch))

    def _report_resumed(self) -> None:
        """Write the table and log all epochs again: the run may have stopped after the checkpoint and before them."""
        self._write_table()
        for epoch_logger, (epoch, rate) in product(
            self.loggers, zip(self.history.epochs, self.history.rates, strict=True)
        ):
            epoch_logger.log(epoch, rate)

    def _write_table(self) -> None:
        if self.fabric.is_global_zero:
            write_epochs(self.folder.epochs, self.history.epochs)

    @contextmanager
    def _explaining_errors(self, where: str, unread: Sequence[UnreadBatch] = ()) -> Iterator[None]:
        """Raises UserError in place of torch's errors for weights that are not finite or for too little memory.

        Where the loss or the gradient of an unread batch was not finite, that is the error.
        """
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if unread:  # of this process alone: the others may have no error
                self._check_finite(unread, _losses(unread)[:, 2].tolist())
            if not all(parameter.isfinite().all() for parameter in self.network.parameters()):
                raise self._diverged(f"the weights became non-finite {where}") from error
            if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error):
                raise UserError(
                    f"a batch of {self.recipe.batch_size} windows of {self.recipe.window_s:g} s does not fit in the "
                    f"memory of {self.fabric.device}: lower batch_size and raise accumulate by the same factor"
                ) from error
            raise

    def _diverged(self, message: str) -> UserError:
        return UserError(
            f"{message}: lower the learning rate; epoch {len(self.history.epochs) - 1} is saved in "
            f"{self.folder.checkpoint('last')}"
        )

    def _notes(self) -> tuple[str, ...]:
        """Remarks for the report."""
        recipe, history, notes = self.recipe, self.history, []
        if recipe.batch_size > self.loader.windows_per_epoch:
            notes.append(
                f"a batch of {recipe.batch_size} windows is more than the train subset holds: each epoch is one batch "
                f"of {self.loader.windows_per_epoch}"
            )
        notes += [
            f"{mixed.share:.0%} of the windows of each epoch are from the train subset of {mixed.name}"
            for mixed in self.dataset.mixed_in
        ]
        if recipe.evaluate_every:
            notes.append(f"an epoch of this recipe is {recipe.evaluate_every} steps")
        if history.averaged:
            numbers = ", ".join(map(str, sorted(history.averaged)))
            notes.append(f"epoch {len(history.epochs) - 1} is the average of the weights of epochs {numbers}")
        trained = len(history.epochs) - 1 - bool(history.averaged)
        if trained < recipe.epochs:
            notes.append(
                f"stopped after epoch {trained} of {recipe.epochs}: no improvement on epoch "
                f"{trained - (recipe.patience or 0)} by {recipe.best} in {recipe.patience} epochs"
            )
        if self.feature_cache:
            notes.append("features were computed once per recording and cached; each window starts at a frame boundary")
        if history.excluded.short_regions_s:
            notes.append(
                f"{history.excluded.short_regions_s:.1f} s of annotated train regions are shorter than a window "
                f"of {recipe.window_s:g} s and were left out"
            )
        if history.excluded.crowded_s:
            notes.append(
                f"{history.excluded.crowded_s:.1f} s of speech, summed over all epochs, were left out of the targets "
                f"because the network separates at most {self.network.max_speakers} speakers in a window"
            )
        return tuple(notes)


def _losses(unread: Sequence[UnreadBatch]) -> np.ndarray:
    """This process's losses (batches, 3); waits for a GPU."""
    losses: np.ndarray = torch.stack([each.losses for each in unread]).cpu().numpy()
    return losses
