"""The guide's per-epoch figures: DER, its parts and the threshold that makes it least, for any soft activity."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

GRID_S = 0.02
"""Every network's activity and reference is laid on this grid, whatever its own frames."""
THRESHOLDS = torch.linspace(0.0, 1.0, 51)


class Best(NamedTuple):
    """Rates as fractions of the reference speech, at the best threshold."""

    der: float
    confusion: float
    false_alarm: float
    miss: float
    threshold: float


class ThresholdSweep:
    """Diarization errors of windows at 51 thresholds, after pyannote.audio's OptimalDiarizationErrorRate.

    Speakers are mapped a window and a threshold at a time, by the assignment that leaves least confusion.
    """

    def __init__(self) -> None:
        self.counts = np.zeros((4, len(THRESHOLDS)))
        """Reference speech, miss, false alarm, confusion, at each threshold; in grid frames. Those of parts add up."""

    def add(self, activity: torch.Tensor, reference: torch.Tensor) -> None:
        """Add a window: soft activity (frames, speakers), 0/1 reference (frames, any speakers), on the grid."""
        active = (activity[None] > THRESHOLDS[:, None, None]).float()  # (thresholds, frames, speakers)
        spoken, claimed = reference.sum(-1), active.sum(-1)
        miss = (spoken - claimed).clamp(min=0).sum(-1)
        false_alarm = (claimed - spoken).clamp(min=0).sum(-1)
        both = torch.minimum(spoken.expand_as(claimed), claimed).sum(-1)
        together = torch.einsum("fr,tfs->trs", reference, active).numpy()
        correct = np.array([overlap[linear_sum_assignment(overlap, maximize=True)].sum() for overlap in together])
        total = np.full(len(THRESHOLDS), spoken.sum().item())
        self.counts += np.stack([total, miss.numpy(), false_alarm.numpy(), both.numpy() - correct])

    def best(self) -> Best:
        """The figures at the threshold of least DER, the one nearest 0.5 of equals; zeros with no speech."""
        rates = self.counts[1:] / max(self.counts[0, 0], 1.0)
        der = rates.sum(0)
        at = min(range(len(THRESHOLDS)), key=lambda k: (round(der[k], 9), abs(THRESHOLDS[k].item() - 0.5)))
        miss, false_alarm, confusion = (float(rate) for rate in rates[:, at])
        return Best(float(der[at]), confusion, false_alarm, miss, float(THRESHOLDS[at]))


def grid(window_s: float) -> np.ndarray:
    """The centres of the grid's frames in a window, in seconds."""
    return (np.arange(round(window_s / GRID_S)) + 0.5) * GRID_S


def on_grid(frames: torch.Tensor, first_frame_s: float, frame_s: float, window_s: float) -> torch.Tensor:
    """A network's frames (frames, speakers) on the common grid, each point taking the frame nearest to it."""
    nearest = ((torch.from_numpy(grid(window_s)) - first_frame_s) / frame_s).round().long().clamp(0, len(frames) - 1)
    return frames[nearest]
