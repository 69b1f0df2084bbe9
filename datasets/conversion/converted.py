"""The record of one converted recording, and the fingerprint of a dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from pydantic import Field

from diarbench.datasets.dataset import Subset
from diarbench.datasets.statistics import SpeechStatistics

FILE_KINDS = ("wav", "rttm", "uem")


class ConvertedRecording(SpeechStatistics):
    """A converted recording: a digest of its source, the hashes of its files, and its statistics."""

    uri: str
    made_from: str
    subset: Subset | None
    subset_name: str = ""
    sha256: dict[str, str]
    changes: dict[str, int] = Field(default_factory=dict)


def fingerprint(files: Mapping[str, tuple[Subset, Mapping[str, str]]]) -> str:
    """The SHA-256 of every recording's uri, subset and hashes of audio, reference and UEM."""
    lines = (
        f"{subset} {uri} {' '.join(sha256[kind] for kind in FILE_KINDS)}\n"
        for uri, (subset, sha256) in sorted(files.items())
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()
