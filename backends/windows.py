"""The windows that both toolkits train on and are measured on: drawn once, by one rule."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from diarbench.datasets.layout import SAMPLE_RATE, Recording


@dataclass(frozen=True)
class Window:
    """A stretch of a recording, from ``start`` (a sample) for the recipe's length."""

    recording: Recording
    start: int


@dataclass
class Clipped:
    """What windows could not hold, so that nothing is lost silently; seconds."""

    short_regions_s: float = 0.0
    """Annotated regions shorter than a window."""
    crowded_s: float = 0.0
    """Speech of speakers beyond what the network can tell apart in a window, summed over windows."""


def training_windows(
    recordings: Sequence[Recording], window_s: float, seed: int, epoch: int, clipped: Clipped | None = None
) -> list[Window]:
    """An epoch: as many windows as the annotated time holds, spread over it with jitter, shuffled.

    Each annotated region is cut into equal slots, one a window; a window starts anywhere in its slot. So every
    region is seen in proportion to its length each epoch, never twice the same way.
    """
    random = np.random.default_rng([seed, epoch])
    window = round(window_s * SAMPLE_RATE)
    windows = []
    for recording, start, end in _regions(recordings, window, clipped):
        slots = max(1, round((end - start) / window))
        room = end - start - window
        starts = start + (np.arange(slots) + random.random(slots)) / slots * room
        windows += [Window(recording, int(s)) for s in starts]
    return [windows[k] for k in random.permutation(len(windows))]


def measuring_windows(recordings: Sequence[Recording], window_s: float) -> list[Window]:
    """Windows side by side over the annotated regions; the last of a region ends where the region does."""
    window = round(window_s * SAMPLE_RATE)
    windows = []
    for recording, start, end in _regions(recordings, window, None):
        count = math.ceil((end - start) / window)
        windows += [Window(recording, min(start + k * window, end - window)) for k in range(count)]
    return windows


def _regions(
    recordings: Sequence[Recording], window: int, clipped: Clipped | None
) -> Iterable[tuple[Recording, int, int]]:
    for recording in recordings:
        length = round(recording.duration_s * SAMPLE_RATE)
        for region in recording.regions:
            start, end = round(region.start_s * SAMPLE_RATE), min(round(region.end_s * SAMPLE_RATE), length)
            if end - start >= window:
                yield recording, start, end
            elif clipped is not None:
                clipped.short_regions_s += (end - start) / SAMPLE_RATE


def read(window: Window, samples: int) -> np.ndarray:
    """The window's audio, float32 (samples,), read with soundfile alone."""
    import soundfile

    audio, _ = soundfile.read(str(window.recording.audio), start=window.start, frames=samples, dtype="float32")
    return audio


def targets(window: Window, samples: int, centres: np.ndarray, columns: int | None) -> tuple[np.ndarray, int]:
    """0/1 activity (frames, columns) at frames of the given centres, and how many active frames are left out of it.

    Centres are in seconds from the window's start. A frame is active where its centre lies in a turn. Speakers
    come in order of their first frame; beyond ``columns`` (None: as many as speak) the least talkative are left
    out, as pyannote.audio does.
    """
    begin = window.start / SAMPLE_RATE
    end = begin + samples / SAMPLE_RATE
    active: dict[str, np.ndarray] = {}
    for turn in window.recording.turns:
        if turn.start_s < end and turn.end_s > begin:
            frames = active.setdefault(turn.speaker, np.zeros(len(centres), dtype=bool))
            frames |= (centres >= turn.start_s - begin) & (centres < turn.end_s - begin)
    loudest = sorted((frames for frames in active.values() if frames.any()), key=np.count_nonzero, reverse=True)
    columns = len(loudest) if columns is None else columns
    kept = sorted(loudest[:columns], key=lambda frames: int(frames.argmax()))
    out = np.zeros((len(centres), columns), dtype=np.float32)
    for column, frames in enumerate(kept):
        out[:, column] = frames
    return out, sum(int(np.count_nonzero(frames)) for frames in loudest[columns:])
