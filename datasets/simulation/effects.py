"""Rooms, noise and levels for simulated recordings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from diarbench.datasets.acoustics import read_noise, read_rir, scale_to_snr, simulate_rirs, synthetic_noise
from diarbench.datasets.io.audio import write_wav

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Effects:
    """The rooms, noise and level changes applied to speech; the default changes nothing."""

    rooms: tuple[Path, ...] = ()
    """Files of room impulse responses; each speaker gets one at random."""
    synthetic_rooms: bool = False
    """Simulate rooms by the image-source method (pyroomacoustics) instead."""
    noises: tuple[Path, ...] = ()
    """Noise files; each conversation gets one at random."""
    synthetic_noise: bool = False
    """Add generated noise: steady, from white to brown, with knocks over it. If ``noises`` has files too, half of the
    conversations get generated noise and half get a file."""
    snr_db: tuple[float, float] = (5.0, 20.0)
    """Range of the signal-to-noise ratio, drawn for each conversation."""
    level_db: float = 0.0
    """Each speaker's level changes by up to this much, up or down."""
    turn_db: float = 0.0
    """Each turn's level changes by up to this much in addition, and each frequency by up to half of it, so that neither
    level nor microphone identifies a speaker."""
    gain_db: tuple[float, float] = (0.0, 0.0)
    """Range of the gain of a whole conversation, noise included."""


def room_responses(effects: Effects, count: int, rng: np.random.Generator) -> list[np.ndarray | None]:
    """One impulse response per speaker, all of one room if rooms are simulated; None for no reverberation."""
    if effects.synthetic_rooms:
        return [*simulate_rirs(count, rng)]
    if effects.rooms:
        return [read_rir(effects.rooms[rng.integers(len(effects.rooms))]) for _ in range(count)]
    return [None] * count


def write_recorded(
    mixture: np.ndarray, effects: Effects, target: Path, noise_rng: np.random.Generator, gain_rng: np.random.Generator
) -> None:
    """Add noise and gain to a mixture and write it as 16-bit audio, scaled down where it would clip."""
    import numpy as np

    if effects.noises or effects.synthetic_noise:
        mixture = mixture + _draw_noise(effects, mixture, noise_rng)
    mixture = mixture * np.float32(10 ** (gain_rng.uniform(*effects.gain_db) / 20))
    peak = float(np.abs(mixture).max())
    write_wav(target, mixture * min(1.0, 0.99 / (peak or 1.0)))


def _draw_noise(effects: Effects, mixture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise as long as the mixture, at an SNR drawn from the range."""
    if effects.synthetic_noise and not (effects.noises and rng.random() < 0.5):
        noise = synthetic_noise(len(mixture), rng)
    else:
        noise = read_noise(effects.noises[rng.integers(len(effects.noises))], len(mixture), rng)
    return scale_to_snr(noise, mixture, rng.uniform(*effects.snr_db))
