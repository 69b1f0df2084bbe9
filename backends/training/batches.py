"""Windows and batches of a training, divided among its processes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.fabric import Fabric
from torch.utils.data import DataLoader

from diarbench.backends.recipes.schema import Augmentation, Recipe
from diarbench.backends.threads import adapt_threads, usable_cores
from diarbench.backends.training.augmentation import Augmenter
from diarbench.backends.training.feature_cache import FeatureCache
from diarbench.backends.training.windows import (
    ExcludedSpeech,
    Window,
    read,
    targets,
    training_windows,
    validation_windows,
    windows_between,
)
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.audio import SAMPLE_RATE
from diarbench.datasets.io.errors import UserError


class WindowDataset(torch.utils.data.Dataset):
    """Windows as (waveform (samples,), targets (frames, speakers), number of active frames left out of the targets)."""

    def __init__(
        self,
        windows: Sequence[Window],
        samples: int,
        centres: np.ndarray,
        columns: int,
        read: Callable[[Window, int], np.ndarray],
        augment: Callable[[np.ndarray, int], np.ndarray] | None = None,
    ) -> None:
        """``read`` returns a window's waveform or features; ``augment`` receives it and its index."""
        self.windows, self.samples, self.centres, self.columns = windows, samples, centres, columns
        self.read, self.augment = read, augment

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, int]:
        window = self.windows[index]
        waveform = self.read(window, self.samples)
        if self.augment:
            waveform = self.augment(waveform, index)
        return waveform, *targets(window, self.samples, self.centres, self.columns)


class Batch(NamedTuple):
    """One process's share of a batch."""

    windows: list[Window]
    waveforms: torch.Tensor
    """(windows, samples), or cached features (windows, frames, size)."""
    targets: torch.Tensor
    """(windows, frames, speakers)."""
    left_out: int
    """Active frames of speakers beyond the targets' columns."""
    counted: int
    """Windows that count: all of the share, or 0 for a process that got a filler because there were too few windows."""
    size: int
    """Windows of all processes."""


def default_workers(device: str, devices: int) -> int:
    """Processes that read and augment the batches of each of so many devices of a kind.

    On a CPU none: the network needs the cores, and reading takes less than a hundredth of its time.
    """
    return 0 if device == "cpu" else max(0, min(MOST_WORKERS, len(usable_cores()) // devices - 1))


MOST_WORKERS = 8


class BatchLoader:
    """Draws the train and dev windows of a run and reads them in batches; each process reads its share."""

    def __init__(
        self,
        network: Any,
        dataset: Dataset,
        recipe: Recipe,
        seed: int,
        fabric: Fabric,
        feature_cache: FeatureCache | None,
        excluded: ExcludedSpeech,
        workers: int | None = None,
    ) -> None:
        """Adds to ``excluded`` the train regions that hold no window. For ``workers`` see `default_workers`.

        Raises UserError where train or dev holds no window, or where an augmentation's folder has changed.
        """
        self.dataset, self.recipe, self.seed, self.fabric = dataset, recipe, seed, fabric
        self.feature_cache = feature_cache
        self.max_speakers = network.max_speakers
        self.samples = round(recipe.window_s * SAMPLE_RATE)
        self.centres = network.first_frame_s + np.arange(network.num_frames(self.samples)) * network.frame_s
        self.dev_windows = self._aligned(validation_windows(dataset.subset("dev"), recipe.window_s))
        self.mixed_per_pass = [
            len(training_windows(mixed.recordings, recipe.window_s, seed, 1)) for mixed in dataset.mixed_in
        ]
        for mixed, per_pass in zip(dataset.mixed_in, self.mixed_per_pass, strict=True):
            if not per_pass:
                raise UserError(
                    f"mix: {mixed.name}: no annotated train region is as long as a window of {recipe.window_s:g} s; "
                    "use a recipe with a shorter window_s, or without this dataset"
                )
        self.windows_per_epoch = len(self.train_windows(1, excluded))
        for subset, count in (("train", self.windows_per_epoch), ("dev", len(self.dev_windows))):
            if not count:
                raise UserError(
                    f"{dataset.root}: no annotated {subset} region is as long as a window of {recipe.window_s:g} s; "
                    "use a recipe with a shorter window_s"
                )
        starts = ((window.recording, window.start / SAMPLE_RATE) for window in self.dev_windows)
        if not any(recording.turns_between(start_s, start_s + recipe.window_s) for recording, start_s in starts):
            raise UserError(
                f"{dataset.root / 'dev.txt'}: nobody speaks in the annotated regions that are as long as a window of "
                f"{recipe.window_s:g} s, so no epoch can be chosen; add a recording, or use a shorter window_s"
            )
        self.batches_per_epoch = math.ceil(self.windows_per_epoch / recipe.batch_size)
        self.augmenter = Augmenter(recipe.augmentation, seed) if recipe.augmentation != Augmentation() else None
        self.workers = default_workers(fabric.device.type, fabric.world_size) if workers is None else workers
        if self.workers and self.augmenter:
            self.augmenter.simulate_rooms()  # once, for all workers

    def train_windows(self, epoch: int, excluded: ExcludedSpeech | None = None) -> list[Window]:
        """The windows of an epoch, in training order."""
        windows = self._pass(epoch, excluded)
        if self.recipe.epoch_hours is not None:
            windows = windows[: math.ceil(self.recipe.epoch_hours * 3600 / self.recipe.window_s)]
        elif self.recipe.evaluate_every is not None and windows:
            size = self.recipe.evaluate_every * self.recipe.batch_size * self.recipe.accumulate
            # Passes follow each other without a break at the end of an epoch.
            windows = windows_between(self._pass, len(windows), (epoch - 1) * size, epoch * size)
        return self._aligned(windows)

    def _pass(self, number: int, excluded: ExcludedSpeech | None = None) -> list[Window]:
        """The windows of one pass over the train subset, with those of mixed-in datasets between them."""
        window_s, seed = self.recipe.window_s, self.seed
        windows = training_windows(self.dataset.subset("train"), window_s, seed, number, excluded)
        if not self.dataset.mixed_in:
            return windows
        home, home_share = len(windows), 1 - sum(mixed.share for mixed in self.dataset.mixed_in)
        for mixed, per_pass in zip(self.dataset.mixed_in, self.mixed_per_pass, strict=True):
            count = max(1, round(home * mixed.share / home_share))
            passes = partial(training_windows, mixed.recordings, window_s, seed)
            windows += windows_between(passes, per_pass, (number - 1) * count, number * count)
        return [windows[k] for k in np.random.default_rng([seed, number, home]).permutation(len(windows))]

    def train_batches(self, epoch: int) -> Iterator[Batch]:
        """This process's share of each batch of an epoch, augmented."""
        augment = partial(self.augmenter, epoch=epoch) if self.augmenter else None
        return self._batches(self.train_windows(epoch), augment)

    def dev_batches(self) -> Iterator[Batch]:
        """This process's share of each batch of the dev windows."""
        return self._batches(self.dev_windows, None)

    def repeat_first_window(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Waveforms (or cached features) and targets of a batch that has the first train window so many times."""
        window = self.train_windows(1)[0]
        waveform = torch.from_numpy(self._reader(window, self.samples)).to(self.fabric.device)
        activity, _ = targets(window, self.samples, self.centres, self.max_speakers)
        repeated = torch.from_numpy(activity).to(self.fabric.device).repeat(count, 1, 1)
        return waveform.repeat(count, *(1 for _ in waveform.shape)), repeated

    @property
    def _reader(self) -> Callable[[Window, int], np.ndarray]:
        return self.feature_cache.read if self.feature_cache else read

    def _aligned(self, windows: list[Window]) -> list[Window]:
        return self.feature_cache.aligned(windows) if self.feature_cache else windows

    def _batches(
        self, windows: Sequence[Window], augment: Callable[[np.ndarray, int], np.ndarray] | None
    ) -> Iterator[Batch]:
        rank, processes, size = self.fabric.global_rank, self.fabric.world_size, self.recipe.batch_size
        batches = [range(begin, min(begin + size, len(windows))) for begin in range(0, len(windows), size)]
        shares = [batch[rank::processes] for batch in batches]
        device = self.fabric.device
        loader = DataLoader(
            WindowDataset(windows, self.samples, self.centres, self.max_speakers, self._reader, augment),
            batch_sampler=[list(share or batch[:1]) for share, batch in zip(shares, batches, strict=True)],
            num_workers=self.workers,
            pin_memory=device.type == "cuda",
        )
        for batch, share, (waveforms, activity, left_out) in zip(batches, shares, _read(loader), strict=True):
            adapt_threads()
            yield Batch(
                [windows[k] for k in share],
                waveforms.to(device, non_blocking=True),
                activity.to(device, non_blocking=True),
                int(left_out.sum()) if share else 0,
                len(share),
                len(batch),
            )


def _read(loader: DataLoader[Any]) -> Iterator[Any]:
    """The batches; a UserError in a worker process is raised with its own message, not with the worker's traceback."""
    try:
        yield from loader
    except UserError as error:
        own = str(error).rpartition(f"{UserError.__module__}.{UserError.__qualname__}: ")[2]
        raise UserError(own) from error
