"""The one training loop: both toolkits' networks go through it with the same windows, optimizer and measures.

Every random draw of an epoch follows from the seed and the epoch alone, so that a run that was stopped goes on
from its last epoch and ends as one that never was.
"""

from __future__ import annotations

import csv
import io
import logging
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric
from torch.utils.data import DataLoader

from diarbench.backends.base import load_checkpoint, save_checkpoint
from diarbench.backends.epoch_metrics import ThresholdSweep, grid, on_grid
from diarbench.backends.recipes import Recipe
from diarbench.backends.windows import (
    Clipped,
    Window,
    measuring_windows,
    read,
    targets,
    training_windows,
)
from diarbench.datasets.layout import SAMPLE_RATE, Dataset
from diarbench.reports.records import EPOCH_COLUMNS, Epoch, UserError, write_whole

logger = logging.getLogger(__name__)

Progress = Callable[..., None]
"""Called with keywords: epoch, epochs, done, total, loss, dev_der."""


@dataclass(frozen=True)
class Trained:
    """What a fine-tuning came to."""

    epochs: tuple[Epoch, ...]
    best_epoch: int
    audio_s: float
    """Audio gone through by all steps."""
    seconds: float
    """Spent in training and measuring, over all stretches of a run that was stopped and went on."""
    notes: tuple[str, ...]


class Windows(torch.utils.data.Dataset):
    """Windows as (waveform (samples,), targets (frames, speakers), how many active frames were left out)."""

    def __init__(self, windows: Sequence[Window], samples: int, centres: np.ndarray, columns: int) -> None:
        self.windows, self.samples, self.centres, self.columns = windows, samples, centres, columns

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, int]:
        window = self.windows[index]
        return read(window, self.samples), *targets(window, self.samples, self.centres, self.columns)


class Trainer:
    """Fine-tunes a network by a recipe; `run` does it all.

    Leaves ``checkpoints/{first,last,best}.ckpt`` and ``epochs.csv`` in the folder. Raises UserError where the data
    hold no window, or where the loss is no longer a number (the last good epoch stays).
    """

    def __init__(
        self, network: Any, backend: str, dataset: Dataset, recipe: Recipe, seed: int, fabric: Fabric, folder: Path
    ) -> None:
        self.backend, self.recipe, self.seed, self.folder = backend, recipe, seed, folder
        self.dataset, self.fabric = dataset, fabric
        self.samples = round(recipe.window_s * SAMPLE_RATE)
        self.centres = network.first_frame_s + np.arange(network.num_frames(self.samples)) * network.frame_s
        optimizer = getattr(torch.optim, recipe.optimizer)(network.parameters(), lr=recipe.learning_rate)
        self.plain = network
        self.network, self.optimizer = fabric.setup(network, optimizer)
        self.network.mark_forward_method("loss")
        self.network.mark_forward_method("activity")
        self.dev = measuring_windows(dataset.subset("dev"), recipe.window_s)
        if not self.dev:
            raise UserError(f"{dataset.root}: no annotated dev region holds a window of {recipe.window_s:g} s")
        self.epochs: list[Epoch] = []
        self.best_epoch = 0
        self.seconds = 0.0
        self.audio_s = 0.0
        self.clipped = Clipped()

    def run(self, progress: Progress) -> Trained:
        """Train all epochs of the recipe, going on from ``checkpoints/last.ckpt`` where there is one."""
        last = self.folder / "checkpoints" / "last.ckpt"
        if last.exists():
            self._go_on_from(load_checkpoint(last, self.backend))
        else:
            begun = time.perf_counter()
            save_checkpoint(self.folder / "checkpoints" / "first.ckpt", self.backend, self.plain)
            self._finish_epoch(self._measure(None), begun)
        while len(self.epochs) <= self.recipe.epochs:
            begun = time.perf_counter()
            self._finish_epoch(self._train_epoch(len(self.epochs), progress), begun)
            progress(epoch=len(self.epochs) - 1, epochs=self.recipe.epochs, dev_der=self.epochs[-1].der)
        return Trained(tuple(self.epochs), self.best_epoch, self.audio_s, self.seconds, self._notes())

    def _train_epoch(self, epoch: int, progress: Progress) -> Epoch:
        windows = training_windows(
            self.dataset.subset("train"), self.recipe.window_s, self.seed, epoch, self.clipped if epoch == 1 else None
        )
        if not windows:
            raise UserError(
                f"{self.dataset.root}: no annotated train region holds a window of {self.recipe.window_s:g} s"
            )
        seed_all(self.seed, epoch)
        self.network.train()
        sums = np.zeros(3)
        for done, (waveforms, wanted, left_out) in enumerate(self._batches(windows), start=1):
            losses = self.network.loss(waveforms, wanted)
            if not math.isfinite(losses.total.item()):
                raise UserError(
                    f"the loss became {losses.total.item()} in epoch {epoch}, batch {done}: lower the learning rate; "
                    f"epoch {epoch - 1} is kept in {self.folder / 'checkpoints' / 'last.ckpt'}"
                )
            self.optimizer.zero_grad()
            self.fabric.backward(losses.total)
            self.fabric.clip_gradients(self.network, self.optimizer, max_norm=self.recipe.gradient_clip)
            self.optimizer.step()
            sums += len(waveforms) * np.array([loss.item() for loss in losses])
            self.audio_s += waveforms.numel() / SAMPLE_RATE
            self.clipped.crowded_s += float(left_out.sum()) * self.plain.frame_s
            progress(
                epoch=epoch,
                epochs=self.recipe.epochs,
                done=done,
                total=math.ceil(len(windows) / self.recipe.batch_size),
                loss=losses.total.item(),
            )
        return self._measure((sums / len(windows)).tolist())

    @torch.no_grad()
    def _measure(self, trained: list[float] | None) -> Epoch:
        """The epoch's record: dev losses and rates, beside the training losses (segmentation, vad, total)."""
        seed_all(self.seed, 0)
        self.network.eval()
        sums, sweep, windows = np.zeros(3), ThresholdSweep(), iter(self.dev)
        points = grid(self.recipe.window_s)
        for waveforms, wanted, _ in self._batches(self.dev):
            losses = self.network.loss(waveforms, wanted)
            sums += len(waveforms) * np.array([loss.item() for loss in losses])
            for activity, window in zip(self.network.activity(waveforms).float().cpu(), windows, strict=False):
                reference, _ = targets(window, self.samples, points, None)
                sweep.add(
                    on_grid(activity, self.plain.first_frame_s, self.plain.frame_s, self.recipe.window_s),
                    torch.from_numpy(reference),
                )
        val, best = (sums / len(self.dev)).tolist(), sweep.best()
        return Epoch(
            epoch=len(self.epochs),
            loss_val_segmentation=val[0],
            loss_val_vad=val[1],
            loss_val=val[2],
            **best._asdict(),
            **({} if trained is None else dict(zip(TRAIN_LOSSES, trained, strict=True))),
        )

    def _batches(self, windows: Sequence[Window]) -> Iterator[list[torch.Tensor]]:
        loader = DataLoader(
            Windows(windows, self.samples, self.centres, self.plain.max_speakers),
            batch_size=self.recipe.batch_size,
            # On a CPU the cores belong to the network; beside an accelerator they are free to read.
            num_workers=0 if self.fabric.device.type == "cpu" else 4,
        )
        for waveforms, wanted, left_out in loader:
            yield [waveforms.to(self.fabric.device), wanted.to(self.fabric.device), left_out]

    def _finish_epoch(self, epoch: Epoch, begun: float) -> None:
        """Keep the epoch: best before last before table, so that a stop between them loses or repeats nothing."""
        self.epochs.append(epoch)
        checkpoints = self.folder / "checkpoints"
        if epoch.epoch == 1 or (epoch.epoch > 1 and _merit(epoch) < _merit(self.epochs[self.best_epoch])):
            self.best_epoch = epoch.epoch
            save_checkpoint(checkpoints / "best.ckpt", self.backend, self.plain)
        self.seconds += time.perf_counter() - begun
        save_checkpoint(
            checkpoints / "last.ckpt",
            self.backend,
            self.plain,
            optimizer=self.optimizer.state_dict(),
            epochs=[kept.model_dump() for kept in self.epochs],
            best_epoch=self.best_epoch,
            seconds=self.seconds,
            audio_s=self.audio_s,
            clipped=vars(self.clipped),
        )
        write_epochs(self.folder / "epochs.csv", self.epochs)
        logger.info("epoch %d: loss/val %.4f, dev DER %.4f", epoch.epoch, epoch.loss_val, epoch.der)

    def _go_on_from(self, checkpoint: dict[str, Any]) -> None:
        self.plain.load_state_dict(checkpoint["weights"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.epochs = [Epoch(**kept) for kept in checkpoint["epochs"]]
        self.best_epoch = checkpoint["best_epoch"]
        self.seconds, self.audio_s = checkpoint["seconds"], checkpoint["audio_s"]
        self.clipped = Clipped(**checkpoint["clipped"])
        logger.info("going on after epoch %d", len(self.epochs) - 1)

    def _notes(self) -> tuple[str, ...]:
        notes = []
        if self.clipped.short_regions_s:
            notes.append(
                f"{self.clipped.short_regions_s:.1f} s of annotated train regions are shorter than a window "
                f"of {self.recipe.window_s:g} s and were left out"
            )
        if self.clipped.crowded_s:
            notes.append(
                f"{self.clipped.crowded_s:.1f} s of speech, over all epochs, were of a speaker beyond the "
                f"{self.plain.max_speakers} that the network tells apart in a window, and were left out of the targets"
            )
        return tuple(notes)


TRAIN_LOSSES = ("loss_train_segmentation", "loss_train_vad", "loss_train")


def write_epochs(path: Path, epochs: Sequence[Epoch]) -> None:
    """``epochs.csv``: a line an epoch, the guide's columns."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(EPOCH_COLUMNS.values())
    for epoch in epochs:
        values = [getattr(epoch, field) for field in EPOCH_COLUMNS]
        writer.writerow("nan" if v is None else v if isinstance(v, int) else f"{v:.6f}" for v in values)
    write_whole(path, table.getvalue())


def _merit(epoch: Epoch) -> tuple[float, float]:
    """Least is best: the dev DER, and the dev loss where a network is not yet sure enough to change its answers."""
    return epoch.der, epoch.loss_val


def seed_all(seed: int, epoch: int) -> None:
    """Seed every generator that a toolkit may draw from."""
    state = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
    torch.manual_seed(state)
    np.random.seed(state)
    random.seed(state)
