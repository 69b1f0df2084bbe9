"""The record of one converted recording, and the fingerprint of a whole dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from pydantic import Field

from diarbench.datasets.dataset import Subset
from diarbench.datasets.statistics import SpeechStatistics

FILE_KINDS = ("wav", "rttm", "uem")


class ConvertedRecording(SpeechStatistics):
    """A converted recording: what it was made from, its files' hashes, and what it holds."""

    uri: str
    made_from: str
    subset: Subset | None
    sha256: dict[str, str]
    changes: dict[str, int] = Field(default_factory=dict)


def fingerprint(files: Mapping[str, tuple[Subset, Mapping[str, str]]]) -> str:
    """SHA-256 over uri, subset and the hashes of audio, reference and UEM of every recording."""
    lines = (
        f"{subset} {uri} {' '.join(sha256[kind] for kind in FILE_KINDS)}\n"
        for uri, (subset, sha256) in sorted(files.items())
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()
