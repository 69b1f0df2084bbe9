"""What a network's frontend makes of a recording, where nothing in it is trained: made once, whole, and kept.

A frontend may cost more than all that is trained behind it. What it makes is in the user's cache, addressed by the
audio and by all that made it; it may be deleted at any time.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from diarbench.backends.windows import Window
from diarbench.datasets.catalog import cache_dir
from diarbench.datasets.layout import SAMPLE_RATE, Recording
from diarbench.reports.records import digest, sha256_of, write_whole


class KeptFeatures:
    """A network's features by recording, on disk, in 16 bits; windows of them begin with a frame."""

    def __init__(self, network: Any) -> None:
        self.network = network
        self.hop = round(network.frame_s * SAMPLE_RATE)
        self.folder = cache_dir() / "features"
        self.frontend = network.frontend
        self.path_of = cache(self._path_of)

    def _path_of(self, audio: Path) -> Path:
        return self.folder / f"{digest([self.frontend, sha256_of(audio)])}.npy"

    def keep(self, recording: Recording) -> None:
        """Make a recording's features, unless they are there."""
        path = self.path_of(recording.audio)
        if not path.is_file():
            samples, _ = soundfile.read(str(recording.audio), dtype="float32")
            features = self.network.features(torch.from_numpy(samples))
            buffer = io.BytesIO()
            np.save(buffer, features.cpu().numpy().astype(np.float16))
            write_whole(path, buffer.getvalue())

    def snapped(self, windows: Iterable[Window]) -> list[Window]:
        """The windows, each from where the frame begins that it began in."""
        return [Window(window.recording, window.start // self.hop * self.hop) for window in windows]

    def read(self, window: Window, samples: int) -> np.ndarray:
        """A snapped window's features, float32 (frames, size)."""
        kept = np.load(self.path_of(window.recording.audio), mmap_mode="r")
        begin = window.start // self.hop
        return np.asarray(kept[begin : begin + -(-samples // self.hop)], dtype=np.float32)
