"""Validation after each epoch: dev losses, and DER and its components at the best threshold, as in the guide."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.fabric import Fabric
from scipy.optimize import linear_sum_assignment

from diarbench.backends.training.batches import BatchLoader
from diarbench.backends.training.distributed import seed_all, sum_over_processes
from diarbench.backends.training.windows import Window, targets

GRID_S = 0.02
"""Step of the grid on which the activity and reference of every network are compared, whatever its frame step."""

THRESHOLDS = torch.linspace(0.0, 1.0, 51)


class BestThreshold(NamedTuple):
    """DER and its components at the best threshold, as fractions of the reference speech."""

    der: float
    confusion: float
    false_alarm: float
    miss: float
    threshold: float


class DevMeasure(NamedTuple):
    """A network on dev."""

    losses: list[float]
    """Mean losses per window: segmentation, VAD, total."""
    best: BestThreshold
    error_s: dict[str, float]
    """Seconds of error of each recording at the best threshold."""
    speech_s: dict[str, float]
    """Seconds of reference speech of each recording."""


class ThresholdSweep:
    """Diarization errors of windows at 51 thresholds, after pyannote.audio's OptimalDiarizationErrorRate.

    Speakers are mapped per window and threshold, by the assignment with the least confusion.
    """

    def __init__(self) -> None:
        self.counts = np.zeros((4, len(THRESHOLDS)))
        """Reference speech, miss, false alarm, confusion (4, thresholds), in grid frames; counts of sweeps add."""

    def add(self, activity: torch.Tensor, reference: torch.Tensor) -> None:
        """Add a window on the grid: soft activity (frames, speakers), 0/1 reference (frames, any speakers)."""
        active = (activity[None] > THRESHOLDS[:, None, None]).float()  # (thresholds, frames, speakers)
        in_reference, in_hypothesis = reference.sum(-1), active.sum(-1)
        miss = (in_reference - in_hypothesis).clamp(min=0).sum(-1)
        false_alarm = (in_hypothesis - in_reference).clamp(min=0).sum(-1)
        shared = torch.minimum(in_reference.expand_as(in_hypothesis), in_hypothesis).sum(-1)
        overlaps = torch.einsum("fr,tfs->trs", reference, active).numpy()
        correct = np.array([overlap[linear_sum_assignment(overlap, maximize=True)].sum() for overlap in overlaps])
        total = np.full(len(THRESHOLDS), in_reference.sum().item())
        self.counts += np.stack([total, miss.numpy(), false_alarm.numpy(), shared.numpy() - correct])

    def best(self) -> BestThreshold:
        """Figures at the best threshold; zeros without speech."""
        rates, best = self._rates(), self.best_index()
        miss, false_alarm, confusion = (float(rate) for rate in rates[:, best])
        return BestThreshold(float(rates[:, best].sum()), confusion, false_alarm, miss, float(THRESHOLDS[best]))

    def best_index(self) -> int:
        """The threshold with the least DER, of ties the one nearest to 0.5."""
        der = self._rates().sum(0)
        return min(range(len(THRESHOLDS)), key=lambda k: (round(der[k], 9), abs(THRESHOLDS[k].item() - 0.5)))

    def _rates(self) -> np.ndarray:
        """Miss, false alarm and confusion (3, thresholds) as fractions of the reference speech."""
        return self.counts[1:] / max(self.counts[0, 0], 1.0)


def grid(window_s: float) -> np.ndarray:
    """Centres of the grid's frames in a window, in seconds."""
    return (np.arange(round(window_s / GRID_S)) + 0.5) * GRID_S


def on_grid(frames: torch.Tensor, first_frame_s: float, frame_s: float, window_s: float) -> torch.Tensor:
    """A network's frames (..., frames, speakers) on the common grid; each grid point takes the nearest frame."""
    nearest = ((torch.from_numpy(grid(window_s)) - first_frame_s) / frame_s).round().long()
    return frames.index_select(-2, nearest.clamp(0, frames.shape[-2] - 1).to(frames.device, non_blocking=True))


class Validator:
    """Measures a network on the dev windows."""

    def __init__(self, network: Any, wrapped: torch.nn.Module, loader: BatchLoader, fabric: Fabric, seed: int) -> None:
        """``wrapped`` is the network as Fabric wraps it; see `ForwardDispatch`."""
        self.network, self.wrapped, self.loader, self.fabric, self.seed = network, wrapped, loader, fabric, seed

    def measure(self) -> DevMeasure:
        """Losses, and errors at the threshold that is best for all of dev."""
        windows, losses, activities = self.outputs()
        sums = losses.cpu().numpy().sum(0)
        sweeps = {window.recording.uri: ThresholdSweep() for window in self.loader.dev_windows}
        points = grid(self.loader.recipe.window_s)
        for activity, window in zip(activities.cpu(), windows, strict=True):
            reference, _ = targets(window, self.loader.samples, points, None)
            sweeps[window.recording.uri].add(activity, torch.from_numpy(reference))
        sums = sum_over_processes(self.fabric, sums)
        counts = sum_over_processes(self.fabric, [sweep.counts for sweep in sweeps.values()])
        dev = ThresholdSweep()
        dev.counts = counts.sum(0)
        at_best = GRID_S * counts[:, :, dev.best_index()]
        return DevMeasure(
            (sums / len(self.loader.dev_windows)).tolist(),
            dev.best(),
            dict(zip(sweeps, at_best[:, 1:].sum(1).tolist(), strict=True)),
            dict(zip(sweeps, at_best[:, 0].tolist(), strict=True)),
        )

    def outputs(self) -> tuple[list[Window], torch.Tensor, torch.Tensor]:
        """This process's dev windows, sums of their losses (batches, 3), and activity (windows, grid frames, speakers).

        Both stay on the network's device, so that nothing waits for a GPU between two batches. The activity takes 3 MB
        for an hour and four speakers.
        """
        seed_all(self.seed, 0)
        self.wrapped.eval()
        network, window_s = self.network, self.loader.recipe.window_s
        windows, losses, activities = [], [], []
        for batch in self.loader.dev_batches():
            of_batch, activity = self.wrapped("measure", batch.waveforms, batch.targets)
            windows += batch.windows
            losses.append(batch.counted * torch.stack(of_batch).double())
            counted = activity[: batch.counted].float()
            activities.append(on_grid(counted, network.first_frame_s, network.frame_s, window_s))
        return windows, torch.stack(losses), torch.cat(activities)
