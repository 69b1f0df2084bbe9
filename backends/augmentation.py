"""Rooms, noise and bands for the windows that a network trains on: the same sound for every toolkit.

A window's draws follow from seed, epoch and its place in the epoch alone, whichever process reads it and in whatever
batch. So they are made here a window at a time, where torch-audiomentations would draw them for a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from diarbench.backends.recipes import Augmentation, Sounds
from diarbench.datasets.acoustics import at_snr, in_band, in_room, made_noise, made_room, noise_from, room_from
from diarbench.reports.records import UserError

ROOMS = 64
"""How many rooms are made up; to make one takes longer than to train on a window."""


class Augmenter:
    """Augments windows by a recipe. Raises UserError where a folder is not what it was when the recipe was read."""

    def __init__(self, augmentation: Augmentation, seed: int) -> None:
        self.noise, self.rooms, self.band = augmentation.noise, augmentation.rooms, augmentation.band
        self.seed = seed
        self.noise_files, self.room_files = _files(self.noise), _files(self.rooms)
        self._made_room = lru_cache(ROOMS)(lambda number: made_room(1, np.random.default_rng([seed, number]))[0])

    def __call__(self, audio: np.ndarray, index: int, epoch: int) -> np.ndarray:
        """A window of float32 (samples,), by its place in an epoch, as the network hears it."""
        rng = np.random.default_rng([self.seed, epoch, index])
        if self.rooms and rng.random() < self.rooms.probability:
            audio = in_room(audio, self._room(rng))
        if self.noise and rng.random() < self.noise.probability:
            audio = audio + at_snr(self._noise(len(audio), rng), audio, rng.uniform(*self.noise.snr_db))
        if self.band and rng.random() < self.band.probability:
            low_hz, high_hz = (np.exp(rng.uniform(*np.log(edge))) for edge in (self.band.low_hz, self.band.high_hz))
            audio = in_band(audio, low_hz, high_hz)
        return audio

    def _room(self, rng: np.random.Generator) -> np.ndarray:
        if self.room_files:
            return room_from(self.room_files[int(rng.integers(len(self.room_files)))])
        return self._made_room(int(rng.integers(ROOMS)))

    def _noise(self, samples: int, rng: np.random.Generator) -> np.ndarray:
        if self.noise_files:
            return noise_from(self.noise_files[int(rng.integers(len(self.noise_files)))], samples, rng)
        return made_noise(samples, rng)


def _files(sounds: Sounds | None) -> Sequence[Path]:
    if sounds is None or sounds.folder is None:
        return ()
    found = sounds.files()
    if sounds.fingerprint != sounds.fingerprint_of(found):
        raise UserError(f"{sounds.folder}: changed since this run was asked for; choose another --out")
    return found
