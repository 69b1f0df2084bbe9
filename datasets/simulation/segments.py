"""The material for simulation: speech segments of single speakers, and noise from pauses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from diarbench.datasets.acoustics import vocal_tract_length_perturbation
from diarbench.datasets.dataset import SUBSETS, Dataset, Subset
from diarbench.datasets.io.audio import AUDIO_SUFFIXES, SAMPLE_RATE, Clip, length_s, open_audio, write_audio, write_wav
from diarbench.datasets.io.errors import UserError, require
from diarbench.datasets.io.files import files
from diarbench.datasets.io.names import plural
from diarbench.datasets.io.rttm import Turn

if TYPE_CHECKING:
    import numpy as np


SHORTEST_S = 0.3
"""Shorter stretches of speech or silence are not used."""

FADE_S = 0.005
"""Length of the fade at each end of a segment."""

LOCAL_NAME = re.compile(r"(spk|speaker|s)?[_-]?\d{1,3}", re.IGNORECASE)
"""Speaker names that denote a different person in each recording."""


class SpeechSegment(NamedTuple):
    """A stretch of one speaker's speech in an audio file; times are positions in the file."""

    path: Path
    start_s: float
    length_s: float
    factor: float = 1.0
    """Speed factor, applied by resampling; pitch and formants rise with the speed."""
    formants: float = 1.0
    """Formant factor, applied after the speed."""


def speech_segments(source: Path | Dataset) -> dict[Subset | None, dict[str, list[SpeechSegment]]]:
    """Speech segments by subset and speaker; the subset of a folder's segments is None.

    The source is a dataset, of which the stretches with one active speaker are used, or a folder with one folder of
    audio files per speaker. Raises UserError if it has no speech.
    """
    segments: dict[Subset | None, dict[str, list[SpeechSegment]]] = {}
    if isinstance(source, Dataset):
        for subset, recordings in source.recordings.items():
            for recording in recordings:
                for turn in single_speaker_stretches(recording.turns):
                    name = f"{recording.uri}-{turn.speaker}" if LOCAL_NAME.fullmatch(turn.speaker) else turn.speaker
                    segment = SpeechSegment(recording.audio, turn.start_s, turn.end_s - turn.start_s)
                    segments.setdefault(subset, {}).setdefault(name, []).append(segment)
    else:
        for path in files(source, AUDIO_SUFFIXES):
            whole_s = length_s(Clip(path))
            if path.parent != source and whole_s >= SHORTEST_S:
                speaker = path.relative_to(source).parts[0]
                segments.setdefault(None, {}).setdefault(speaker, []).append(SpeechSegment(path, 0.0, whole_s))
    if not segments:
        where = source.root if isinstance(source, Dataset) else source
        raise UserError(
            f"{where}: no speech found (expected a dataset, or a folder with one folder of audio files per speaker)"
        )
    return segments


def noise_from_pauses(dataset: Dataset, work: Path) -> tuple[Path, ...]:
    """One noise file per train recording, written below ``work``: its annotated silences, joined, with faded ends.

    Silences shorter than `SHORTEST_S` are skipped. Raises UserError if no recording has a longer one.
    """
    import numpy as np

    work.mkdir(parents=True, exist_ok=True)
    paths = []
    for recording in dataset.subset("train"):
        gaps = recording.reference.get_timeline().gaps(recording.scored)
        silences = [
            SpeechSegment(recording.audio, gap.start, gap.duration) for gap in gaps if gap.duration >= SHORTEST_S
        ]
        if silences:
            path = work / f"silences_{recording.uri}.wav"
            faded = [fade_ends(_read_unperturbed(silence, path)) for silence in silences]
            write_wav(path, np.concatenate(faded))
            paths.append(path)
    if not paths:
        raise UserError(f"{dataset.root}: train has no silence of {SHORTEST_S:g} s or more to use as noise")
    return tuple(paths)


def single_speaker_stretches(turns: Sequence[Turn]) -> list[Turn]:
    """The stretches of at least `SHORTEST_S` with exactly one active speaker."""
    edges = sorted({time for turn in turns for time in (turn.start_s, turn.end_s)})
    stretches: list[Turn] = []
    active: set[Turn] = set()
    ordered, position = sorted(turns), 0
    for start_s, end_s in pairwise(edges):
        active = {turn for turn in active if turn.end_s > start_s}
        while position < len(ordered) and ordered[position].start_s <= start_s:
            active.add(ordered[position])
            position += 1
        if len(active) == 1 and end_s - start_s >= SHORTEST_S:
            stretches.append(Turn(start_s, end_s, next(iter(active)).speaker))
    return stretches


def split_speakers(
    speakers: dict[str, list[SpeechSegment]], shares: Sequence[float], seed: int
) -> dict[Subset, dict[str, list[SpeechSegment]]]:
    """Divide speakers at random into disjoint subsets. Raises UserError if a subset would have fewer than two."""
    import numpy as np

    names = sorted(speakers)
    np.random.default_rng(seed).shuffle(names)
    nonempty = [(subset, share / sum(shares)) for subset, share in zip(SUBSETS, shares, strict=True) if share > 0]
    divided: dict[Subset, dict[str, list[SpeechSegment]]] = {}
    for index, (subset, share) in enumerate(nonempty):
        subsets_left = len(nonempty) - index - 1
        count = len(names) if not subsets_left else max(2, round(share * len(speakers)))
        count = min(count, len(names) - 2 * subsets_left)
        if count < 2:
            raise UserError(
                f"{plural(len(speakers), 'speaker')}: too few for {plural(len(nonempty), 'subset')}; each needs two"
            )
        divided[subset] = {name: speakers[name] for name in names[:count]}
        names = names[count:]
    return divided


def read_segment(segment: SpeechSegment, scratch: Path) -> np.ndarray:
    """A segment's samples as float32 mono at 16 kHz, with its speed and formant factors applied.

    A file in another format is converted to a temporary file next to ``scratch``.
    """
    samples = _read_unperturbed(segment, scratch)
    if segment.factor != 1:
        samples = require("soxr", "perturbing speech").resample(samples, SAMPLE_RATE * segment.factor, SAMPLE_RATE)
    return samples if segment.formants == 1 else vocal_tract_length_perturbation(samples, segment.formants)


def _read_unperturbed(segment: SpeechSegment, scratch: Path) -> np.ndarray:
    import soundfile

    with open_audio(Clip(segment.path)) as file:
        if (file.samplerate, file.channels) == (SAMPLE_RATE, 1):
            file.seek(min(round(segment.start_s * SAMPLE_RATE), file.frames))
            return file.read(round(segment.length_s * SAMPLE_RATE) or 1, dtype="float32")
    converted = scratch.with_suffix(".piece.wav")
    write_audio((Clip(segment.path, start_s=segment.start_s, duration_s=segment.length_s),), converted)
    samples: Any = soundfile.read(str(converted), dtype="float32")[0]
    converted.unlink()
    return samples


def fade_ends(samples: np.ndarray) -> np.ndarray:
    """Fade both ends of an array in place, and return it."""
    import numpy as np

    fade = min(round(FADE_S * SAMPLE_RATE), len(samples) // 2)
    samples[:fade] *= np.linspace(0, 1, fade, dtype=np.float32)
    samples[len(samples) - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    return samples
