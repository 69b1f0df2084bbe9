"""Speech segments of single speakers, and noise from pauses: the material for simulation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from diarbench.datasets.acoustics import vocal_tract_length_perturbation
from diarbench.datasets.dataset import SUBSETS, Dataset, Subset
from diarbench.datasets.io.audio import AUDIO_SUFFIXES, SAMPLE_RATE, Clip, write_audio
from diarbench.datasets.io.errors import UserError, require
from diarbench.datasets.io.files import files
from diarbench.datasets.io.rttm import Turn

if TYPE_CHECKING:
    import numpy as np


SHORTEST_S = 0.3
"""Speech shorter than this is not used as material."""

FADE_S = 0.005

LOCAL_NAME = re.compile(r"(spk|speaker|s)?[_-]?\d{1,3}", re.IGNORECASE)
"""Names that mean another person in every recording."""


class SpeechSegment(NamedTuple):
    """A stretch of one speaker's speech in a file; in the file's seconds."""

    path: Path
    start_s: float
    length_s: float
    factor: float = 1.0
    """How much faster it is played, by resampling: pitch and formants go up with the speed."""
    formants: float = 1.0
    """How much higher its formants are than that."""


def speech_segments(source: Path | Dataset) -> dict[Subset | None, dict[str, list[SpeechSegment]]]:
    """Pieces of speech by subset and speaker: a dataset's stretches where one speaks alone, or a folder a speaker.

    Raises UserError where there is none.
    """
    pieces: dict[Subset | None, dict[str, list[SpeechSegment]]] = {}
    if isinstance(source, Dataset):
        for subset, recordings in source.recordings.items():
            for recording in recordings:
                for turn in single_speaker_stretches(recording.turns):
                    name = f"{recording.uri}-{turn.speaker}" if LOCAL_NAME.fullmatch(turn.speaker) else turn.speaker
                    piece = SpeechSegment(recording.audio, turn.start_s, turn.end_s - turn.start_s)
                    pieces.setdefault(subset, {}).setdefault(name, []).append(piece)
    else:
        import soundfile

        for path in files(source, AUDIO_SUFFIXES):
            try:
                length_s = soundfile.info(str(path)).duration
            except (OSError, RuntimeError) as error:
                raise UserError(f"{path}: not readable audio ({error})") from error
            if path.parent != source and length_s >= SHORTEST_S:
                speaker = path.relative_to(source).parts[0]
                pieces.setdefault(None, {}).setdefault(speaker, []).append(SpeechSegment(path, 0.0, length_s))
    if not pieces:
        where = source.root if isinstance(source, Dataset) else source
        raise UserError(f"{where}: no speech to build from (a dataset, or a folder of audio files for each speaker)")
    return pieces


def noise_from_pauses(dataset: Dataset, work: Path) -> tuple[Path, ...]:
    """Noise to draw from, written below ``work``: of each train recording the annotated stretches in which nobody
    speaks, one after another, ends faded.

    Raises UserError where none is `SHORTEST_S` long.
    """
    import numpy as np
    import soundfile

    work.mkdir(parents=True, exist_ok=True)
    found = []
    for recording in dataset.subset("train"):
        quiet = recording.reference.get_timeline().gaps(recording.scored)
        pieces = [
            SpeechSegment(recording.audio, gap.start, gap.duration) for gap in quiet if gap.duration >= SHORTEST_S
        ]
        if pieces:
            found.append(work / f"silences_{recording.uri}.wav")
            faded = [_faded(_as_it_is(piece, found[-1])) for piece in pieces]
            soundfile.write(str(found[-1]), np.concatenate(faded), SAMPLE_RATE, subtype="PCM_16")
    if not found:
        raise UserError(
            f"{dataset.root}: nobody is silent for {SHORTEST_S:g} s in train, so no noise can be cut from it"
        )
    return tuple(found)


def single_speaker_stretches(turns: Sequence[Turn]) -> list[Turn]:
    """The stretches, of at least `SHORTEST_S`, in which a turn's speaker speaks alone."""
    edges = sorted({time for turn in turns for time in (turn.start_s, turn.end_s)})
    stretches: list[Turn] = []
    active: set[Turn] = set()
    starting, position = sorted(turns), 0
    for start_s, end_s in pairwise(edges):
        active = {turn for turn in active if turn.end_s > start_s}
        while position < len(starting) and starting[position].start_s <= start_s:
            active.add(starting[position])
            position += 1
        if len(active) == 1 and end_s - start_s >= SHORTEST_S:
            stretches.append(Turn(start_s, end_s, next(iter(active)).speaker))
    return stretches


def split_speakers(
    speakers: dict[str, list[SpeechSegment]], shares: Sequence[float], seed: int
) -> dict[Subset, dict[str, list[SpeechSegment]]]:
    """Speakers drawn into subsets, none into two. Raises UserError where a subset would have fewer than two."""
    import numpy as np

    names = sorted(speakers)
    np.random.default_rng(seed).shuffle(names)
    wanted = [(subset, share / sum(shares)) for subset, share in zip(SUBSETS, shares, strict=True) if share > 0]
    divided: dict[Subset, dict[str, list[SpeechSegment]]] = {}
    for place, (subset, share) in enumerate(wanted):
        left = len(wanted) - place - 1
        count = len(names) if not left else max(2, round(share * len(speakers)))
        count = min(count, len(names) - 2 * left)
        if count < 2:
            raise UserError(
                f"{len(speakers)} speakers are too few for {len(wanted)} subsets; each needs two of its own"
            )
        divided[subset] = {name: speakers[name] for name in names[:count]}
        names = names[count:]
    return divided


def _faded(part: np.ndarray) -> np.ndarray:
    """The same array, its ends faded in place."""
    import numpy as np

    fade = min(round(FADE_S * SAMPLE_RATE), len(part) // 2)
    part[:fade] *= np.linspace(0, 1, fade, dtype=np.float32)
    part[len(part) - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    return part


def read_piece(piece: SpeechSegment, scratch: Path) -> np.ndarray:
    """A piece as float32 mono at 16 kHz, whatever it is in its file, at the speed and with the formants asked for.

    ``scratch`` is a path beside which a file of another kind may be converted.
    """
    samples = _as_it_is(piece, scratch)
    if piece.factor != 1:
        samples = require("soxr", "perturbing speech").resample(samples, SAMPLE_RATE * piece.factor, SAMPLE_RATE)
    return samples if piece.formants == 1 else vocal_tract_length_perturbation(samples, piece.formants)


def _as_it_is(piece: SpeechSegment, scratch: Path) -> np.ndarray:
    import soundfile

    with soundfile.SoundFile(str(piece.path)) as file:
        if (file.samplerate, file.channels) == (SAMPLE_RATE, 1):
            file.seek(min(round(piece.start_s * SAMPLE_RATE), file.frames))
            return file.read(round(piece.length_s * SAMPLE_RATE) or 1, dtype="float32")
    converted = scratch.with_suffix(".piece.wav")
    write_audio((Clip(piece.path, start_s=piece.start_s, duration_s=piece.length_s),), converted)
    samples: Any = soundfile.read(str(converted), dtype="float32")[0]
    converted.unlink()
    return samples
