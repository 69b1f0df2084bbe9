"""Rooms, noise and levels for simulated recordings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from diarbench.datasets.acoustics import read_noise, read_rir, scale_to_snr, simulate_rirs, synthetic_noise
from diarbench.datasets.io.audio import SAMPLE_RATE

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Effects:
    """What rooms and noise do to the speech: files to draw from, or made up, and the ratio to the noise."""

    rooms: tuple[Path, ...] = ()
    """Room impulse responses."""
    synthetic_rooms: bool = False
    """Rooms made up by the image-source method (pyroomacoustics)."""
    noises: tuple[Path, ...] = ()
    synthetic_noise: bool = False
    """Noise made up: steady, from white to brown, with knocks over it; in half of the conversations where there are
    files as well."""
    snr_db: tuple[float, float] = (5.0, 20.0)
    level_db: float = 0.0
    """Each speaker is up to so much louder or quieter than the speech was."""
    turn_db: float = 0.0
    """Each turn is, once more, and up to half of it at each frequency: no level and no microphone tells who speaks."""
    gain_db: tuple[float, float] = (0.0, 0.0)
    """Of a whole conversation, with its noise."""


def _rooms(effects: Effects, count: int, rng: np.random.Generator) -> list[np.ndarray | None]:
    """An impulse response a speaker, of one room where rooms are made up; None: as it is."""
    if effects.synthetic_rooms:
        return [*simulate_rirs(count, rng)]
    if effects.rooms:
        return [read_rir(effects.rooms[rng.integers(len(effects.rooms))]) for _ in range(count)]
    return [None] * count


def write_recorded(
    mixture: np.ndarray, effects: Effects, target: Path, noise_rng: np.random.Generator, gain_rng: np.random.Generator
) -> None:
    """Write a mixture with its noise, as loud as is drawn, or as a file can hold."""
    import numpy as np
    import soundfile

    if effects.noises or effects.synthetic_noise:
        mixture = mixture + _noise(effects, mixture, noise_rng)
    mixture = mixture * np.float32(10 ** (gain_rng.uniform(*effects.gain_db) / 20))
    peak = float(np.abs(mixture).max())
    soundfile.write(str(target), mixture * min(1.0, 0.99 / (peak or 1.0)), SAMPLE_RATE, subtype="PCM_16")


def _noise(effects: Effects, mixture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise as long as the mixture, at a signal-to-noise ratio drawn from the range."""
    if effects.synthetic_noise and not (effects.noises and rng.random() < 0.5):
        noise = synthetic_noise(len(mixture), rng)
    else:
        noise = read_noise(effects.noises[rng.integers(len(effects.noises))], len(mixture), rng)
    return scale_to_snr(noise, mixture, rng.uniform(*effects.snr_db))
