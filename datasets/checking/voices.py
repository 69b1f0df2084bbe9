"""Check by a speaker embedding that a recording's names and its voices are the same.

Voices are compared by the mean cosine similarity of pieces of speech in which only one name speaks. With CAM++, the two
most different groups of one voice's pieces have 0.54 or more in ami-mini, and 0.51 or more in conversations simulated
from Debian's voices with rooms and noise; two voices of a recording have 0.43 or less.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from diarbench.datasets.checking.findings import CheckResult
from diarbench.datasets.checking.labels import Labelled
from diarbench.datasets.io.rttm import Turn

if TYPE_CHECKING:
    import numpy as np

Embed = Callable[["np.ndarray"], "np.ndarray"]
"""Computes a speaker embedding (a vector) of speech: 16 kHz mono, float32."""

PIECE_S, SHORTEST_S = 3.0, 1.5
"""The length of a piece of speech, and the shortest."""

PIECES = 20
"""The most pieces of a name in a recording, taken evenly; about a minute of speech."""

ENOUGH_S = 4.0
"""The least speech of a voice for a finding."""

TWO_VOICES, ONE_VOICE = 0.45, 0.6
"""Groups of pieces with less similarity are two voices, names with more are one."""


@dataclass(frozen=True)
class Voice:
    """Pieces of speech, as start and end in seconds, with their embeddings as rows of length one."""

    name: str
    pieces: list[tuple[float, float]]
    embeddings: np.ndarray

    @property
    def seconds(self) -> float:
        return sum(end - start for start, end in self.pieces)

    def only(self, chosen: np.ndarray) -> Voice:
        kept = [piece for piece, is_chosen in zip(self.pieces, chosen, strict=True) if is_chosen]
        return Voice(self.name, kept, self.embeddings[chosen])

    def similarity(self, other: Voice) -> float:
        return float((self.embeddings @ other.embeddings.T).mean())


def check_voices(
    result: CheckResult, labelled: Iterable[Labelled], embed: Embed, progress: Callable[[int], None] = lambda done: None
) -> None:
    """Add warnings about one name for two voices, and two names for one voice, in the same recording."""
    for done, each in enumerate(labelled, start=1):
        voices = list(_voices(each, embed))
        for voice in voices:
            first, second = _split(voice) or (voice, voice)
            if first.similarity(second) < TWO_VOICES:
                text = f"{voice.name} may be two people: {_compared(first, second)} (one voice: over {TWO_VOICES:g})"
                result.warn("one name, two voices", _where(each, second), f"{text}; listen to both")
        for first, second in combinations(voices, 2):
            is_enough = min(first.seconds, second.seconds) >= ENOUGH_S
            if is_enough and first.similarity(second) > ONE_VOICE:
                names = f"{first.name} and {second.name} may be one person"
                text = f"{names}: {_compared(first, second)} (two voices: under {ONE_VOICE:g})"
                result.warn("two names, one voice", _where(each, second), f"{text}; listen to both")
        progress(done)


def _voices(each: Labelled, embed: Embed) -> Iterator[Voice]:
    """The voice under each name that speaks alone for long enough."""
    import numpy as np
    import soundfile

    with soundfile.SoundFile(str(each.recording.audio)) as file:
        for name, spans in _alone(each.turns).items():
            pieces = _evenly(list(_pieces(spans, file.frames / file.samplerate)))
            rows = []
            for start_s, end_s in pieces:
                file.seek(round(start_s * file.samplerate))
                rows.append(embed(file.read(round((end_s - start_s) * file.samplerate), dtype="float32")))
            if rows:
                embeddings = np.stack(rows)
                yield Voice(name, pieces, embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True))


def _alone(turns: Sequence[Turn]) -> dict[str, list[tuple[float, float]]]:
    """The stretches in which only one name speaks, by name."""
    events = sorted(
        event for turn in turns for event in ((turn.start_s, 1, turn.speaker), (turn.end_s, -1, turn.speaker))
    )
    active: Counter[str] = Counter()
    spans: dict[str, list[tuple[float, float]]] = {}
    before = 0.0
    for time, change, name in events:
        speaking = [each for each, count in active.items() if count > 0]
        if len(speaking) == 1 and time > before:
            spans.setdefault(speaking[0], []).append((before, time))
        active[name] += change
        before = time
    return spans


def _pieces(spans: Iterable[tuple[float, float]], duration_s: float) -> Iterator[tuple[float, float]]:
    """Spans inside the audio, cut into equal parts of about the length of a piece; shorter parts are left out."""
    for start, until in spans:
        end = min(until, duration_s)
        parts = max(1, round((end - start) / PIECE_S))
        length = (end - start) / parts
        if length >= SHORTEST_S:
            yield from ((start + part * length, start + (part + 1) * length) for part in range(parts))


def _evenly(pieces: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most as many pieces as are embedded, spread over the recording."""
    step = max(1.0, len(pieces) / PIECES)
    return [pieces[int(at * step)] for at in range(min(len(pieces), PIECES))]


def _split(voice: Voice) -> tuple[Voice, Voice] | None:
    """The two most different groups of a voice's pieces, the larger first; None where either is short."""
    from scipy.cluster.hierarchy import fcluster, linkage

    if len(voice.pieces) < 2:
        return None
    is_first = fcluster(linkage(voice.embeddings, "average", "cosine"), 2, "maxclust") == 1
    halves = sorted((voice.only(is_first), voice.only(~is_first)), key=lambda half: -half.seconds)
    return (halves[0], halves[1]) if halves[1].seconds >= ENOUGH_S else None


def _compared(first: Voice, second: Voice) -> str:
    """``17.9 s as at 1.4 s and 5.6 s as at 13.3 s have a similarity of 0.39``."""
    speech = " and ".join(f"{voice.seconds:.1f} s as at {voice.pieces[0][0]:.1f} s" for voice in (first, second))
    return f"{speech} have a similarity of {first.similarity(second):.2f}"


def _where(each: Labelled, voice: Voice) -> str:
    """The line of the turn in which a voice's first piece is."""
    start_s, end_s = voice.pieces[0]
    inside = (
        where
        for where, turn in each.lines
        if turn.speaker == voice.name and turn.start_s <= start_s and end_s <= turn.end_s + 1e-6
    )
    return next(inside, str(each.recording.rttm))
