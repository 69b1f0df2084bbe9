"""The data of a page's timelines: for each recording its turns, and its audio or where it is."""

from __future__ import annotations

import base64
import json
import os
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from diarbench.datasets.io.files import read_bytes
from diarbench.datasets.io.names import visible
from diarbench.datasets.io.rttm import Turn

EMBED_AT_MOST_BYTES = 16_000_000
"""Largest total size of the audio that is embedded; above it, the page links to the audio files."""

MOST_SPEAKERS = 200
"""Recordings with more speakers are not drawn."""

MOST_TURNS = 30_000
"""Nor are those with more turns, or regions: in a day of conversation there are fewer."""


def timeline_entry(uri: str, where: str, timeline: dict[str, Any], audio: dict[str, str] | None) -> dict[str, Any]:
    """A recording. Its timeline is deflated JSON in base64, so that a page with hundreds of them opens fast."""
    packed = base64.b64encode(zlib.compress(json.dumps(timeline).encode(), 9)).decode()
    return {"name": visible(uri), "where": visible(where), "packed": packed, "audio": audio}


def is_embeddable(audio: Iterable[Path | None]) -> bool:
    """Whether these files together are small enough to be in the page."""
    return sum(path.stat().st_size for path in set(audio) if path) <= EMBED_AT_MOST_BYTES


def audio_source(path: Path | None, folder: Path, is_embedded: bool) -> dict[str, str] | None:
    """The audio itself, or a link to it for a page in this folder; None without audio."""
    if path is None:
        return None
    if is_embedded:
        return {"wav": base64.b64encode(read_bytes(path)).decode()}
    return {"href": quote(os.path.relpath(path, folder.resolve()))}


def flat_turns(turns: Iterable[Turn], speakers: Sequence[str]) -> list[int]:
    """Start, end and number of the speaker of each turn, one after another."""
    return [
        value for t in turns for value in (milliseconds(t.start_s), milliseconds(t.end_s), speakers.index(t.speaker))
    ]


def milliseconds(seconds: float) -> int:
    return round(1000 * seconds)
