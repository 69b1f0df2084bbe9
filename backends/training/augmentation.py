"""Reverberation, additive noise and band-limiting of training windows, the same for every toolkit.

The random draws of a window depend only on the seed, the epoch and the window's index in it, not on the process or the
batch. So each window is augmented on its own, whereas torch-audiomentations draws for a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from diarbench.backends.recipes.schema import Augmentation, Sounds
from diarbench.datasets.acoustics import (
    apply_rir,
    bandpass,
    read_noise,
    read_rir,
    scale_to_snr,
    simulate_rirs,
    synthetic_noise,
)
from diarbench.datasets.io.errors import UserError

ROOMS = 64
"""Number of simulated rooms; simulating one takes longer than training on a window."""


class Augmenter:
    """Augments windows by a recipe. Raises UserError where a folder has changed since the recipe was read."""

    def __init__(self, augmentation: Augmentation, seed: int) -> None:
        self.noise, self.rooms, self.band = augmentation.noise, augmentation.rooms, augmentation.band
        self.seed = seed
        self.noise_files, self.room_files = _files(self.noise), _files(self.rooms)
        self._simulated_rir = lru_cache(ROOMS)(
            lambda number: simulate_rirs(1, np.random.default_rng([seed, number]))[0]
        )

    def __call__(self, audio: np.ndarray, index: int, epoch: int) -> np.ndarray:
        """The augmented window, float32 (samples,); ``index`` is its index in the epoch."""
        rng = np.random.default_rng([self.seed, epoch, index])
        if self.rooms and rng.random() < self.rooms.probability:
            audio = apply_rir(audio, self._rir(rng))
        if self.noise and rng.random() < self.noise.probability:
            audio = audio + scale_to_snr(self._noise(len(audio), rng), audio, rng.uniform(*self.noise.snr_db))
        if self.band and rng.random() < self.band.probability:
            low_hz, high_hz = (np.exp(rng.uniform(*np.log(edge))) for edge in (self.band.low_hz, self.band.high_hz))
            audio = bandpass(audio, low_hz, high_hz)
        return audio

    def simulate_rooms(self) -> None:
        """Simulate all rooms now, so that processes that start from here need not do it again."""
        if self.rooms and not self.room_files:
            for number in range(ROOMS):
                self._simulated_rir(number)

    def _rir(self, rng: np.random.Generator) -> np.ndarray:
        if self.room_files:
            return read_rir(self.room_files[int(rng.integers(len(self.room_files)))])
        return self._simulated_rir(int(rng.integers(ROOMS)))

    def _noise(self, samples: int, rng: np.random.Generator) -> np.ndarray:
        if self.noise_files:
            return read_noise(self.noise_files[int(rng.integers(len(self.noise_files)))], samples, rng)
        return synthetic_noise(samples, rng)


def _files(sounds: Sounds | None) -> Sequence[Path]:
    if sounds is None or sounds.folder is None:
        return ()
    paths = sounds.files()
    if sounds.fingerprint != sounds.fingerprint_of(paths):
        raise UserError(f"{sounds.folder}: changed since this run was planned; choose another --out")
    return paths
