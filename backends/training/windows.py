"""The windows on which every network is trained and validated."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from diarbench.datasets.dataset import Recording
from diarbench.datasets.io.audio import SAMPLE_RATE
from diarbench.datasets.io.errors import UserError


@dataclass(frozen=True)
class Window:
    """Part of a recording, of the recipe's length, from the sample ``start``."""

    recording: Recording
    start: int


@dataclass
class ExcludedSpeech:
    """Seconds of audio and speech that training leaves out; reported in the run's notes."""

    short_regions_s: float = 0.0
    """Annotated regions shorter than a window."""
    crowded_s: float = 0.0
    """Speech of speakers beyond those that the network can separate in a window, summed over windows."""


def training_windows(
    recordings: Sequence[Recording], window_s: float, seed: int, epoch: int, excluded: ExcludedSpeech | None = None
) -> list[Window]:
    """The windows of an epoch: as many as fit into the annotated regions, shuffled.

    Each region is divided into equal slots, one per window, and a window starts at a random point of its slot. So each
    epoch covers every region in proportion to its length, each time with other windows.
    """
    random = np.random.default_rng([seed, epoch])
    window = round(window_s * SAMPLE_RATE)
    windows = []
    for recording, start, end in _regions(recordings, window, excluded):
        slots = max(1, round((end - start) / window))
        room = end - start - window
        starts = start + (np.arange(slots) + random.random(slots)) / slots * room
        windows += [Window(recording, int(s)) for s in starts]
    return [windows[k] for k in random.permutation(len(windows))]


def windows_between(passes: Callable[[int], list[Window]], per_pass: int, begin: int, end: int) -> list[Window]:
    """The windows from ``begin`` to ``end`` of an endless series of passes, which are counted from 1."""
    first, last = begin // per_pass, (end - 1) // per_pass
    windows = [window for number in range(first, last + 1) for window in passes(number + 1)]
    return windows[begin - first * per_pass : end - first * per_pass]


def validation_windows(recordings: Sequence[Recording], window_s: float) -> list[Window]:
    """Consecutive windows over the annotated regions; the last window of a region ends with the region."""
    window = round(window_s * SAMPLE_RATE)
    windows = []
    for recording, start, end in _regions(recordings, window, None):
        count = math.ceil((end - start) / window)
        windows += [Window(recording, min(start + k * window, end - window)) for k in range(count)]
    return windows


def _regions(
    recordings: Sequence[Recording], window: int, excluded: ExcludedSpeech | None
) -> Iterable[tuple[Recording, int, int]]:
    for recording in recordings:
        length = round(recording.duration_s * SAMPLE_RATE)
        for region in recording.regions:
            start, end = round(region.start_s * SAMPLE_RATE), min(round(region.end_s * SAMPLE_RATE), length)
            if end - start >= window:
                yield recording, start, end
            elif excluded is not None:
                excluded.short_regions_s += (end - start) / SAMPLE_RATE


def read(window: Window, samples: int) -> np.ndarray:
    """The window's audio, float32 (samples,). Raises UserError where the file changed, or does not hold all of it."""
    return window.recording.unchanged(window.recording.audio, lambda: _read(window, samples))


def _read(window: Window, samples: int) -> np.ndarray:
    import soundfile

    path = window.recording.audio
    try:
        audio, _ = soundfile.read(str(path), start=window.start, frames=samples, dtype="float32")
        reason = f"ends at {(window.start + len(audio)) / SAMPLE_RATE:.1f} s" if len(audio) < samples else ""
    except (OSError, RuntimeError) as error:
        reason = f"cannot be read ({error})"
    if reason:
        end_s = (window.start + samples) / SAMPLE_RATE
        raise UserError(
            f"{path}: {reason}, though a window lasts until {end_s:.1f} s: it changed while it was used; restore it, "
            "and run the same command again"
        )
    return audio


def targets(window: Window, samples: int, centres: np.ndarray, columns: int | None) -> tuple[np.ndarray, int]:
    """0/1 activity (frames, columns) at frames with these centres, and the number of active frames left out of it.

    Centres are in seconds from the window's start. A frame is active where its centre is in a turn. Speakers are in
    order of their first frame; of more than ``columns`` speakers (None: no limit) the least talkative are left out, as
    in pyannote.audio.
    """
    begin = window.start / SAMPLE_RATE
    end = begin + samples / SAMPLE_RATE
    active: dict[str, np.ndarray] = {}
    turns = window.recording.turns_between(begin, end)
    edges = centres.searchsorted([(turn.start_s - begin, turn.end_s - begin) for turn in turns])
    for turn, (first, last) in zip(turns, edges, strict=True):
        active.setdefault(turn.speaker, np.zeros(len(centres), dtype=bool))[first:last] = True
    by_activity = sorted((frames for frames in active.values() if frames.any()), key=np.count_nonzero, reverse=True)
    columns = len(by_activity) if columns is None else columns
    in_order = sorted(by_activity[:columns], key=lambda frames: int(frames.argmax()))
    activity = np.zeros((len(centres), columns), dtype=np.float32)
    for column, frames in enumerate(in_order):
        activity[:, column] = frames
    return activity, sum(int(np.count_nonzero(frames)) for frames in by_activity[columns:])
