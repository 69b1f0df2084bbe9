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
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins import MixedPrecision
from lightning.fabric.strategies import DDPStrategy
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch.utils.data import DataLoader

from diarbench.backends.augmentation import Augmenter
from diarbench.backends.base import load_checkpoint, save_checkpoint
from diarbench.backends.epoch_metrics import Best, ThresholdSweep, grid, on_grid
from diarbench.backends.features import KeptFeatures
from diarbench.backends.optimizing import Average, LearningRate, freeze, optimizer_of
from diarbench.backends.recipes import Augmentation, Recipe
from diarbench.backends.trackers import Tracker
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
"""Called with keywords: epochs, and a batch's epoch, done, total and loss; or epochs and an epoch that is finished."""


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

    def __init__(
        self,
        windows: Sequence[Window],
        samples: int,
        centres: np.ndarray,
        columns: int,
        read: Callable[[Window, int], np.ndarray],
        augmented: Callable[[np.ndarray, int], np.ndarray] | None = None,
    ) -> None:
        """``read`` gives a window's waveform, or features; ``augmented`` takes it and its place among the windows."""
        self.windows, self.samples, self.centres, self.columns = windows, samples, centres, columns
        self.read, self.augmented = read, augmented

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, int]:
        window = self.windows[index]
        waveform = self.read(window, self.samples)
        if self.augmented:
            waveform = self.augmented(waveform, index)
        return waveform, *targets(window, self.samples, self.centres, self.columns)


class Batch(NamedTuple):
    """This process's share of a batch."""

    windows: list[Window]
    waveforms: torch.Tensor
    """(windows, samples), or kept features (windows, frames, size)."""
    targets: torch.Tensor
    """(windows, frames, speakers)."""
    left_out: int
    """Active frames of speakers beyond the targets' columns."""
    counted: int
    """Windows that count: all, or none where there were fewer windows than processes, so that this one has a filler."""
    size: int
    """Windows of all processes."""


class Passes(torch.nn.Module):
    """A network's passes as ``forward``: Fabric minds precision and other processes there alone."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, kind: str, waveforms: torch.Tensor, targets: torch.Tensor) -> Any:
        return getattr(self.network, kind)(waveforms, targets)


class Mixed(MixedPrecision):
    """16 bits where torch finds them safe; the waveforms keep theirs, which Fabric's own would round too."""

    def convert_input(self, data: Any) -> Any:
        return data


class Trainer:
    """Fine-tunes a network by a recipe; `run` does it all.

    Leaves ``checkpoints/{first,last,best}.ckpt`` and ``epochs.csv`` in the folder. Raises UserError where the data
    hold no window, where the recipe does not fit the network, or where the loss is no longer a number (the last good
    epoch stays). Where the fabric has several processes they share each batch, and the first alone writes.
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
        trackers: Sequence[Tracker] = (),
    ) -> None:
        self.trackers = trackers
        self.backend, self.recipe, self.seed, self.folder = backend, recipe, seed, folder
        self.dataset, self.fabric = dataset, fabric
        self.samples = round(recipe.window_s * SAMPLE_RATE)
        self.centres = network.first_frame_s + np.arange(network.num_frames(self.samples)) * network.frame_s
        self.kept = KeptFeatures(network) if recipe.keep_features and network.frontend else None
        self.clipped = Clipped()
        self.windows_an_epoch = len(self._draw(1, self.clipped))
        self.dev = self._from_frames(measuring_windows(dataset.subset("dev"), recipe.window_s))
        for subset, held in (("train", self.windows_an_epoch), ("dev", len(self.dev))):
            if not held:
                raise UserError(
                    f"{dataset.root}: no annotated {subset} region holds a window of {recipe.window_s:g} s; "
                    "take a recipe with a shorter window_s"
                )
        self.batches_an_epoch = math.ceil(self.windows_an_epoch / recipe.batch_size)
        self.augmenter = Augmenter(recipe.augmentation, seed) if recipe.augmentation != Augmentation() else None
        self.resting = freeze(network, recipe.freeze.get(backend, ()))
        optimizer = optimizer_of(network, recipe, recipe.layer_rates.get(backend, {}))
        self.rate = LearningRate(optimizer, recipe, math.ceil(self.batches_an_epoch / recipe.accumulate))
        self.plain = network
        self.network, self.optimizer = fabric.setup(Passes(network), optimizer)
        self.average = Average(network, recipe.average) if recipe.average else None
        self.epochs: list[Epoch] = []
        self.rates: list[float] = []
        """The learning rate at the end of each epoch."""
        self.best_epoch = 0
        self.seconds = 0.0
        self.audio_s = 0.0

    def run(self, progress: Progress) -> Trained:
        """Train all epochs of the recipe, going on from ``checkpoints/last.ckpt`` where there is one."""
        last = self.folder / "checkpoints" / "last.ckpt"
        begun = time.perf_counter()
        if self.kept:
            self._keep_features(self.kept, progress)
        if last.exists():
            self._go_on_from(load_checkpoint(last, self.backend))
        else:
            self._save("first")
            self._finish_epoch(self._measure(None), begun)
            progress(finished=self.epochs[-1].model_dump(), epochs=self.recipe.epochs)
        while len(self.epochs) <= self.recipe.epochs and not self._has_stalled():
            begun = time.perf_counter()
            self._finish_epoch(self._train_epoch(len(self.epochs), progress), begun)
            progress(finished=self.epochs[-1].model_dump(), epochs=self.recipe.epochs)
        return Trained(tuple(self.epochs), self.best_epoch, self.audio_s, self.seconds, self._notes())

    def _draw(self, epoch: int, clipped: Clipped | None = None) -> list[Window]:
        windows = training_windows(self.dataset.subset("train"), self.recipe.window_s, self.seed, epoch, clipped)
        if self.recipe.epoch_hours is not None:
            windows = windows[: math.ceil(self.recipe.epoch_hours * 3600 / self.recipe.window_s)]
        return self._from_frames(windows)

    def _from_frames(self, windows: list[Window]) -> list[Window]:
        return self.kept.snapped(windows) if self.kept else windows

    def _keep_features(self, kept: KeptFeatures, progress: Progress) -> None:
        """Every process makes those of some recordings."""
        recordings = [recording for subset in ("train", "dev") for recording in self.dataset.subset(subset)]
        for done, recording in enumerate(recordings, start=1):
            if done % self.fabric.world_size == self.fabric.global_rank:
                kept.keep(recording)
            progress(stage="features", done=done, total=len(recordings))
        self.fabric.barrier()

    def _has_stalled(self) -> bool:
        return self.recipe.patience is not None and len(self.epochs) - 1 - self.best_epoch >= self.recipe.patience

    def _train_epoch(self, epoch: int, progress: Progress) -> Epoch:
        windows = self._draw(epoch)
        seed_all(self.seed, epoch)
        self.network.train()
        for module in self.resting:
            module.eval()
        a_step = self.recipe.batch_size * self.recipe.accumulate
        sums = np.zeros(3)
        self.optimizer.zero_grad()
        for done, batch in enumerate(self._batches(windows, epoch), start=1):
            begun = (done - 1) // self.recipe.accumulate * a_step
            of_step = min(a_step, len(windows) - begun)
            with self._explained(f"in epoch {epoch}, batch {done}"):
                losses = self.network("loss", batch.waveforms, batch.targets)
                self.fabric.backward(losses.total * (batch.counted * self.fabric.world_size / of_step))
            *told, left_out = self._over_processes(
                [*(batch.counted * loss for loss in torch.stack(losses).tolist()), batch.left_out]
            ).tolist()
            loss = told[2] / batch.size
            if not math.isfinite(loss):
                raise self._diverged(f"the loss became {loss} in epoch {epoch}, batch {done}")
            sums += np.array(told)
            self.audio_s += batch.size * self.recipe.window_s
            self.clipped.crowded_s += left_out * self.plain.frame_s
            if done % self.recipe.accumulate == 0 or done == self.batches_an_epoch:
                self._step()
            progress(epoch=epoch, epochs=self.recipe.epochs, done=done, total=self.batches_an_epoch, loss=loss)
        return self._measure((sums / len(windows)).tolist())

    def _step(self) -> None:
        longest = self.recipe.gradient_clip or math.inf
        norm = self.fabric.clip_gradients(self.network, self.optimizer, max_norm=longest, error_if_nonfinite=False)
        # In 16 bits gradients overflow now and then; the scaler that comes with them skips such a step.
        if norm is not None and not norm.isfinite() and self.recipe.precision != "16-mixed":
            raise self._diverged(f"a gradient became {norm.item()} in epoch {len(self.epochs)}")
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.rate.after_step()
        if self.average:
            self.average.after_step(self.rate.steps)

    def _measure(self, trained: list[float] | None) -> Epoch:
        """The epoch's record: dev losses and rates, beside the training losses (segmentation, vad, total)."""
        with torch.no_grad(), self._as_kept(), self._explained(f"on dev in epoch {len(self.epochs)}"):
            val, best = self._on_dev()
        if not math.isfinite(val[2]):
            raise self._diverged(f"the loss on dev became {val[2]} in epoch {len(self.epochs)}")
        return Epoch(
            epoch=len(self.epochs),
            loss_val_segmentation=val[0],
            loss_val_vad=val[1],
            loss_val=val[2],
            **best._asdict(),
            **({} if trained is None else dict(zip(TRAIN_LOSSES, trained, strict=True))),
        )

    def _on_dev(self) -> tuple[list[float], Best]:
        seed_all(self.seed, 0)
        self.network.eval()
        sums, sweep = np.zeros(3), ThresholdSweep()
        points = grid(self.recipe.window_s)
        for batch in self._batches(self.dev):
            losses, activities = self.network("measure", batch.waveforms, batch.targets)
            sums += batch.counted * np.array(torch.stack(losses).tolist())
            for activity, window in zip(activities[: batch.counted].float().cpu(), batch.windows, strict=False):
                reference, _ = targets(window, self.samples, points, None)
                sweep.add(
                    on_grid(activity, self.plain.first_frame_s, self.plain.frame_s, self.recipe.window_s),
                    torch.from_numpy(reference),
                )
        sums, sweep.counts = self._over_processes(sums), self._over_processes(sweep.counts)
        return (sums / len(self.dev)).tolist(), sweep.best()

    def _batches(self, windows: Sequence[Window], epoch: int | None = None) -> Iterator[Batch]:
        """This process's windows of each batch, every so-many-th beginning with its own; augmented in an epoch."""
        rank, processes, size = self.fabric.global_rank, self.fabric.world_size, self.recipe.batch_size
        batches = [range(begin, min(begin + size, len(windows))) for begin in range(0, len(windows), size)]
        shares = [batch[rank::processes] for batch in batches]
        augmented = partial(self.augmenter, epoch=epoch) if self.augmenter and epoch is not None else None
        reader = self.kept.read if self.kept else read
        loader = DataLoader(
            Windows(windows, self.samples, self.centres, self.plain.max_speakers, reader, augmented),
            batch_sampler=[list(share or batch[:1]) for share, batch in zip(shares, batches, strict=True)],
            # On a CPU the cores belong to the network; beside an accelerator they are free to read.
            num_workers=0 if self.fabric.device.type == "cpu" else 4,
        )
        for batch, share, (waveforms, wanted, left_out) in zip(batches, shares, loader, strict=True):
            yield Batch(
                [windows[k] for k in share],
                waveforms.to(self.fabric.device),
                wanted.to(self.fabric.device),
                int(left_out.sum()) if share else 0,
                len(share),
                len(batch),
            )

    def _over_processes(self, figures: Any) -> np.ndarray:
        """An array of figures, added up over all processes; the same numbers in each of them."""
        mine = np.asarray(figures, dtype=np.float64)
        if self.fabric.world_size == 1:
            return mine
        added: Any = self.fabric.all_reduce(torch.from_numpy(mine), reduce_op="sum")
        return np.asarray(added.cpu().numpy())

    def _as_kept(self) -> AbstractContextManager[None]:
        """The network with the weights that are measured, and kept where they are best."""
        return self.average.in_place() if self.average else nullcontext()

    def _finish_epoch(self, epoch: Epoch, begun: float) -> None:
        """Keep the epoch: best before last before table, so that a stop between them loses or repeats nothing."""
        self.epochs.append(epoch)
        self.rates.append(self.optimizer.param_groups[0]["lr"])
        if epoch.epoch:
            self.rate.after_epoch(self._merit(epoch)[0])
        if epoch.epoch == 1 or (epoch.epoch > 1 and self._merit(epoch) < self._merit(self.epochs[self.best_epoch])):
            self.best_epoch = epoch.epoch
            with self._as_kept():
                self._save("best")
        self.seconds += time.perf_counter() - begun
        self._save(
            "last",
            optimizer=self.optimizer.state_dict(),
            rate=self.rate.state_dict(),
            precision=self.fabric.strategy.precision.state_dict(),
            average=self.average.weights if self.average else None,
            epochs=[kept.model_dump() for kept in self.epochs],
            rates=self.rates,
            best_epoch=self.best_epoch,
            seconds=self.seconds,
            audio_s=self.audio_s,
            clipped=vars(self.clipped),
        )
        self._write_table()
        for tracker in self.trackers:
            tracker.log(epoch, self.rates[-1])
        logger.info("epoch %d: loss/val %.4f, dev DER %.4f", epoch.epoch, epoch.loss_val, epoch.der)

    def _save(self, name: str, **more: Any) -> None:
        if self.fabric.is_global_zero:
            save_checkpoint(self.folder / "checkpoints" / f"{name}.ckpt", self.backend, self.plain, **more)

    def _write_table(self) -> None:
        if self.fabric.is_global_zero:
            write_epochs(self.folder / "epochs.csv", self.epochs)

    def _go_on_from(self, checkpoint: dict[str, Any]) -> None:
        self.plain.load_state_dict(checkpoint["weights"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.rate.load_state_dict(checkpoint["rate"])
        self.fabric.strategy.precision.load_state_dict(checkpoint["precision"])
        if self.average:
            self.average.weights = checkpoint["average"]
        self.epochs = [Epoch(**kept) for kept in checkpoint["epochs"]]
        self.rates = checkpoint["rates"]
        self.best_epoch = checkpoint["best_epoch"]
        self.seconds, self.audio_s = checkpoint["seconds"], checkpoint["audio_s"]
        self.clipped = Clipped(**checkpoint["clipped"])
        self._write_table()  # the stop may have come between the checkpoint and it, or between it and a tracker
        for tracker, (epoch, rate) in product(self.trackers, zip(self.epochs, self.rates, strict=True)):
            tracker.log(epoch, rate)
        logger.info("going on after epoch %d", len(self.epochs) - 1)

    def _merit(self, epoch: Epoch) -> tuple[float, float]:
        """Least is best: the recipe's figure, and of equals the dev loss, or the DER where the figure is a loss.

        A network that is not yet sure enough to change its answers has the same DER and a lower loss.
        """
        if self.recipe.best == "der":
            return epoch.der, epoch.loss_val
        return getattr(epoch, self.recipe.best.replace("/", "_")), epoch.der

    @contextmanager
    def _explained(self, where: str) -> Iterator[None]:
        """Raises UserError in place of what torch raises for weights that are no numbers, or for too little memory."""
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not all(parameter.isfinite().all() for parameter in self.plain.parameters()):
                raise self._diverged(f"weights are no numbers any more {where}") from error
            if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error):
                raise UserError(
                    f"a batch of {self.recipe.batch_size} windows of {self.recipe.window_s:g} s does not fit in the "
                    f"memory of {self.fabric.device}: lower batch_size, and raise accumulate to make up for it"
                ) from error
            raise

    def _diverged(self, what: str) -> UserError:
        return UserError(
            f"{what}: lower the learning rate; epoch {len(self.epochs) - 1} is kept in "
            f"{self.folder / 'checkpoints' / 'last.ckpt'}"
        )

    def _notes(self) -> tuple[str, ...]:
        recipe, notes = self.recipe, []
        if recipe.batch_size > self.windows_an_epoch:
            notes.append(
                f"a batch of {recipe.batch_size} windows is more than the train subset holds: each epoch is one batch "
                f"of {self.windows_an_epoch}"
            )
        if self._has_stalled() and len(self.epochs) <= recipe.epochs:
            notes.append(
                f"stopped after epoch {len(self.epochs) - 1} of {recipe.epochs}: {recipe.patience} epochs were no "
                f"better than epoch {self.best_epoch} by {recipe.best}"
            )
        if self.kept:
            notes.append("features were made once, of whole recordings, so each window begins with a frame")
        elif recipe.keep_features:
            notes.append("keep_features: not used, for this network has no features that are never trained")
        if self.clipped.short_regions_s:
            notes.append(
                f"{self.clipped.short_regions_s:.1f} s of annotated train regions are shorter than a window "
                f"of {recipe.window_s:g} s and were left out"
            )
        if self.clipped.crowded_s:
            notes.append(
                f"{self.clipped.crowded_s:.1f} s of speech, over all epochs, were of a speaker beyond the "
                f"{self.plain.max_speakers} that the network tells apart in a window, and were left out of the targets"
            )
        return tuple(notes)


def launched(device: str, devices: int, nodes: int, strategy: str, precision: str) -> Fabric:
    """Lightning's Fabric, with the other processes of this node started where several devices are asked for.

    Each of them runs the command that this one was started with. Raises UserError for what this machine has not.
    """
    if precision == "16-mixed" and device == "cpu":
        raise UserError("precision 16-mixed: not on a CPU; take bf16-mixed, or 32-true")
    mixed = Mixed(precision, device) if precision in ("16-mixed", "bf16-mixed") else None  # type: ignore[arg-type]
    # Sortformer has layers that its offline form makes no use of.
    spread = DDPStrategy(find_unused_parameters=True) if strategy == "auto" and devices * nodes > 1 else strategy
    try:
        fabric = Fabric(
            accelerator=device,
            devices=devices,
            num_nodes=nodes,
            strategy=spread,
            precision=None if mixed else precision,  # type: ignore[arg-type]
            plugins=mixed,
        )
        fabric.launch()
    except (ValueError, RuntimeError, MisconfigurationException) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"--device {device} --devices {devices} --nodes {nodes}: {reason}") from error
    return fabric


def end_group() -> None:
    """End the group of processes that trained together: NeMo's encoder would ask the others, who are gone."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


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


def seed_all(seed: int, epoch: int) -> None:
    """Seed every generator that a toolkit may draw from."""
    state = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
    torch.manual_seed(state)
    np.random.seed(state)
    random.seed(state)
