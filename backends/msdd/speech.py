"""Where somebody speaks: by pyannote's segmentation where it is installed, else by energy."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch

from diarbench.backends.msdd.segments import FRAMES_PER_S, stretches
from diarbench.datasets.io.audio import SAMPLE_RATE

Stretches = list[tuple[float, float]]
"""Start and end of stretches of speech, in seconds."""

WINDOW_S = 10
"""Length of the pieces that the segmentation network receives."""

LOUD_DB = 12.0
"""By energy, speech is louder by this than the quietest tenth of the frames."""

SHORTEST_S, PAUSE_S = 0.1, 0.2
"""Shorter stretches are dropped; shorter pauses are filled."""


class EnergyDetector:
    """Speech by the energy of frames of 10 ms."""

    description = "speech detected by energy, since pyannote.audio with its weights is not installed"

    def __call__(self, waveform: np.ndarray) -> Stretches:
        """Stretches of speech in 16 kHz samples (n,)."""
        hop = SAMPLE_RATE // FRAMES_PER_S
        energy = np.square(waveform[: len(waveform) // hop * hop], dtype=np.float64).reshape(-1, hop).mean(axis=1)
        if not energy.any():
            return []
        level = 10 * np.log10(energy + 1e-10)
        return smooth(stretches(level > np.quantile(level, 0.1) + LOUD_DB))


class SegmentationDetector:
    """Speech by the segmentation network of the pyannote backend's default pipeline."""

    description = "speech detected by pyannote's segmentation-3.0 (not fine-tuned)"

    def __init__(self, network: Any) -> None:
        self.network = network.eval()

    def __call__(self, waveform: np.ndarray) -> Stretches:
        """Stretches of speech in 16 kHz samples (n,): frames in which nobody is less likely than somebody."""
        samples = WINDOW_S * SAMPLE_RATE
        speech = np.zeros(len(waveform) * FRAMES_PER_S // SAMPLE_RATE, dtype=bool)
        for first in range(0, len(waveform), samples):
            piece = waveform[first : first + samples]
            padded = torch.from_numpy(np.pad(piece, (0, samples - len(piece))))[None]
            with torch.inference_mode():
                somebody = self.network.activity(padded)[0].amax(dim=-1).numpy() > 0.5
            begin = first * FRAMES_PER_S // SAMPLE_RATE
            centres = (np.arange(len(speech[begin : begin + WINDOW_S * FRAMES_PER_S])) + 0.5) / FRAMES_PER_S
            nearest = np.round((centres - self.network.first_frame_s) / self.network.frame_s).astype(int)
            speech[begin : begin + len(centres)] = somebody[nearest.clip(0, len(somebody) - 1)]
        return smooth(stretches(speech))


def smooth(found: Stretches) -> Stretches:
    """The stretches without short pauses and without short stretches."""
    joined: Stretches = []
    for start, end in found:
        if joined and start - joined[-1][1] < PAUSE_S:
            joined[-1] = joined[-1][0], end
        else:
            joined.append((start, end))
    return [(start, end) for start, end in joined if end - start >= SHORTEST_S]


@cache
def detector() -> EnergyDetector | SegmentationDetector:
    """The best detector that is installed."""
    from diarbench.backends import registry
    from diarbench.backends.objective import Objective

    if registry.missing("pyannote"):
        return EnergyDetector()
    backend: Any = registry.load("pyannote")
    return SegmentationDetector(backend.network(backend.resolve_init("auto"), Objective()))
