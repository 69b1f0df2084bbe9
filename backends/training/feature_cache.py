"""Features of a network whose first stage is never trained: computed once per recording and cached.

Such a stage may cost more than everything that is trained after it. Features are stored in the user's cache, addressed
by the audio and by everything else that they depend on; they may be deleted at any time.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from diarbench.backends.base import CachesFeatures
from diarbench.backends.training.windows import Window
from diarbench.datasets.dataset import Recording
from diarbench.datasets.io.audio import SAMPLE_RATE
from diarbench.datasets.io.files import cache_dir, digest, read_bytes, write_atomic
from diarbench.datasets.io.watch import Watch

logger = logging.getLogger(__name__)

CHECKSUM_BYTES = 32
"""A SHA-256 at the end of each file, behind the array."""

FORMAT = 2
"""The format of an entry. In format 1 the checksum did not cover the entry's name."""


class FeatureCache:
    """A network's features on disk, one file of 16-bit floats (frames, size) and their checksum per recording."""

    def __init__(self, network: Any) -> None:
        self.network = network
        self.hop = round(network.frame_s * SAMPLE_RATE)
        self.folder = cache_dir() / "features"
        self.fingerprint = network.features_fingerprint()
        self.paths: dict[Path, Path] = {}
        """By audio file."""
        self.watch = Watch()
        """Over recordings that have none."""

    @classmethod
    def of(cls, network: Any) -> FeatureCache | None:
        """The cache of a network's features; None for a network without features that can be cached."""
        caches = isinstance(network, CachesFeatures) and network.features_fingerprint() is not None
        return cls(network) if caches else None

    def path_of(self, recording: Recording) -> Path:
        """The entry of a recording's audio."""
        audio = recording.audio
        if audio not in self.paths:
            sha256_of_audio = (recording.watch or self.watch).sha256(audio)
            self.paths[audio] = self.folder / f"{digest([self.fingerprint, sha256_of_audio, FORMAT])}.npy"
        return self.paths[audio]

    def add(self, recording: Recording) -> None:
        """Compute a recording's features unless they are cached already; a damaged entry is computed again.

        Raises UserError, and keeps nothing, where the audio changed: see `Watch.read`.
        """
        path = self.path_of(recording)
        if path.is_file():
            entry = read_bytes(path, is_own=True)
            if _checksum(path, entry[:-CHECKSUM_BYTES]) == entry[-CHECKSUM_BYTES:]:
                return
            logger.warning("%s: damaged, or of another recording, so its features are computed again", path)
        watch = recording.watch or self.watch
        samples, _ = watch.read([recording.audio], lambda: soundfile.read(str(recording.audio), dtype="float32"))
        features = self.network.features(torch.from_numpy(samples))
        buffer = io.BytesIO()
        np.save(buffer, features.cpu().numpy().astype(np.float16))
        array = buffer.getvalue()
        write_atomic(path, array + _checksum(path, array))

    def aligned(self, windows: Iterable[Window]) -> list[Window]:
        """The windows, each moved back to the start of the frame in which it starts."""
        return [Window(window.recording, window.start // self.hop * self.hop) for window in windows]

    def read(self, window: Window, samples: int) -> np.ndarray:
        """Features, float32 (frames, size), of an aligned window of this length."""
        features = np.load(self.path_of(window.recording), mmap_mode="r")
        begin = window.start // self.hop
        return np.asarray(features[begin : begin + -(-samples // self.hop)], dtype=np.float32)


def _checksum(path: Path, array: bytes) -> bytes:
    """The SHA-256 of an entry's name, which identifies the recording, and of its content."""
    return sha256(path.stem.encode() + array).digest()
