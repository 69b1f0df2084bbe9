"""Convert any audio to 16 kHz mono 16-bit WAV in blocks; lengths are counted, not taken from headers."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from diarbench.datasets.io.audio_lengths import SeekableFile, UnsizedFile, read_headers, samples_in
from diarbench.datasets.io.containers import CONTAINER_SUFFIXES, ContainerFile
from diarbench.datasets.io.errors import UserError, require
from diarbench.datasets.io.files import check_file, open_file
from diarbench.datasets.io.names import plural

if TYPE_CHECKING:
    import numpy as np
    import soundfile


BLOCK_S = 30

SHORTEST_LOSS_S = 0.1
"""Headers may be wrong by less: some count the padding of the last frames."""

LONGEST_S = 24 * 3600
"""Of a recording. A megabyte of compressed silence can last for weeks."""

AUDIO_SUFFIXES = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".aifc", ".au", ".sph", ".w64", ".caf"}
)

FORMATS = frozenset({"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "NIST", "CAF", "FLAC", "OGG", "MP3"})
"""libsndfile's names of the formats whose length `audio_lengths` or the decoder checks; it reads others cut short."""

LOWEST_RATE, HIGHEST_RATE = 4000, 1_000_000
"""Samples per second. At a few, a small file becomes days of 16 kHz; far above any recorder's, a block is large."""

MOST_CHANNELS = 256

UNCOUNTED = frozenset({"MPEG_LAYER_I", "MPEG_LAYER_II"})
"""libsndfile's names of the kinds of MP3 file whose frames are not counted."""

MOST_HEADER_BYTES = 10_000_000
"""The most bytes of a WAV file that are no samples, such as a description. A sparse file can have any number."""

WIDE = frozenset({"PCM_24", "PCM_32", "FLOAT", "DOUBLE"})


@dataclass(frozen=True)
class Clip:
    """A part of an audio file (or of its bytes) and its position on the recording's timeline; in seconds."""

    audio: Path | bytes
    at_s: float = 0.0
    start_s: float = 0.0
    duration_s: float | None = None
    """None: to the end of the file."""
    name: str = ""
    """Name of the bytes in messages."""

    def __str__(self) -> str:
        return str(self.audio) if isinstance(self.audio, Path) else self.name


def write_audio(clips: tuple[Clip, ...], target: Path, channel: int | None = None) -> tuple[int, Counter[str]]:
    """Write clips on one timeline as 16 kHz mono 16-bit WAV; returns the number of frames, and counts of changes.

    A single complete file that is already such a WAV is hard-linked (copied across file systems). Channels are averaged
    where ``channel`` (from 0) is None. Other rates are resampled by soxr at its very high quality.

    Raises UserError where a clip is not readable audio, has no such channel, or contains no samples.
    """
    changes: Counter[str] = Counter()
    clip = clips[0]
    if len(clips) > 1 or clip.at_s:
        return _write_pcm(target, _on_timeline(clips, channel, changes), clip, changes), changes
    if isinstance(clip.audio, Path) and clip.start_s == 0 and clip.duration_s is None and not channel:
        frames = _frames_if_right(clip.audio)
        if frames:
            _link(clip.audio, target)
            return frames, changes
    return _write_pcm(target, _mono_blocks(clip, channel, changes), clip, changes), changes


def length_s(clip: Clip) -> float:
    """The length of a clip in seconds, by its headers. Raises UserError where it is not readable, complete audio."""
    with open_audio(clip) as file:
        rest_s = float(file.frames / file.samplerate) - clip.start_s
    return rest_s if clip.duration_s is None else min(rest_s, clip.duration_s)


def wav_data_bytes(path: Path) -> tuple[int, int] | None:
    """Bytes of samples that a header declares, and that the file contains; None for compressed files."""
    with open_file(path) as file:
        samples = samples_in(file)
    return samples and (samples.declared, min(samples.declared, samples.present))


def _frames_if_right(path: Path) -> int | None:
    """Frames of a file that is 16 kHz mono 16-bit WAV with a correct header and little else; None for other files."""
    with open_audio(Clip(path)) as file:
        if (file.format, file.subtype, file.samplerate, file.channels) != ("WAV", "PCM_16", SAMPLE_RATE, 1):
            return None
        frames = int(file.frames)
    is_right = wav_data_bytes(path) == (2 * frames, 2 * frames)
    return frames if is_right and path.stat().st_size <= 2 * frames + MOST_HEADER_BYTES else None


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source.resolve())
    except OSError:
        shutil.copyfile(source, target)


@contextmanager
def open_audio(clip: Clip) -> Iterator[soundfile.SoundFile | ContainerFile]:
    """A complete audio file; its number of frames is its length. Raises UserError for other files."""
    import soundfile

    if isinstance(clip.audio, Path) and clip.audio.suffix.lower() in CONTAINER_SUFFIXES:
        with ContainerFile(clip.audio) as container:
            yield container
        return
    with ExitStack() as stack:
        try:
            content: IO[bytes]
            content = open_file(clip.audio) if isinstance(clip.audio, Path) else io.BytesIO(clip.audio)
            headers = read_headers(stack.enter_context(content))
            with _without_messages():
                file = stack.enter_context(soundfile.SoundFile(headers.unsized or SeekableFile(content)))
                if file.format == "MP3" and not headers.unsized:  # something precedes its first frame
                    file = stack.enter_context(soundfile.SoundFile(UnsizedFile(content)))
        except (OSError, RuntimeError) as error:
            if isinstance(clip.audio, Path):
                check_file(clip.audio)
            reason = getattr(error, "error_string", error)
            raise UserError(f"{clip}: not readable audio; is it truncated, or not audio at all? ({reason})") from error
        if headers.refusal:
            raise _incomplete(clip, headers.refusal)
        if file.format not in FORMATS or file.subtype in UNCOUNTED:
            raise UserError(f"{clip}: {file.format} files of {file.subtype} are not read; save it as WAV or FLAC")
        if not LOWEST_RATE <= file.samplerate <= HIGHEST_RATE:
            raise UserError(
                f"{clip}: {file.samplerate} samples per second; expected {LOWEST_RATE} to {HIGHEST_RATE:,} of speech"
            )
        if file.channels > MOST_CHANNELS:
            raise UserError(f"{clip}: {file.channels} channels; expected at most {MOST_CHANNELS}")
        declared_s = file.frames / file.samplerate
        if declared_s > LONGEST_S:
            raise _too_long(clip, declared_s)
        if declared_s < headers.counted_s:
            raise _incomplete(clip, f"has more than the {declared_s:.1f} s that its header declares")
        yield file


@contextmanager
def _without_messages() -> Iterator[None]:
    """Discard what libmpg123 writes to the terminal by itself about damaged files; we check them ourselves."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _too_long(clip: Clip, length_s: float) -> UserError:
    return UserError(f"{clip}: lasts {length_s / 3600:,.0f} hours or more, more than {LONGEST_S / 3600:g}; divide it")


def _incomplete(clip: Clip, reason: str) -> UserError:
    return UserError(f"{clip}: {reason}; get the file again, or save what it contains as a new file")


def _mono_blocks(clip: Clip, channel: int | None, changes: Counter[str]) -> Iterator[np.ndarray]:
    """Blocks of float32 samples, mono at 16 kHz."""
    with open_audio(clip) as file:
        rate = file.samplerate
        if channel is not None and channel >= file.channels:
            raise UserError(
                f"{clip}: has {plural(file.channels, 'channel')}, so no channel {channel} (they count from 0)"
            )
        resampler = _resampler(rate) if rate != SAMPLE_RATE else None
        changes["files resampled"] += rate != SAMPLE_RATE
        changes["files of more than 16 bits a sample, rounded to 16"] += file.subtype in WIDE
        changes["files mixed down to one channel"] += file.channels > 1 and channel is None
        changes["files reduced to one of their channels"] += file.channels > 1 and channel is not None
        left = None if clip.duration_s is None else round(clip.duration_s * rate)
        position = 0
        try:
            if clip.start_s:
                position = min(round(clip.start_s * rate), file.frames)
                _skip(file, position)
            while left is None or left > 0:
                with _without_messages():
                    block = file.read(min(BLOCK_S * rate, left or BLOCK_S * rate), dtype="float32", always_2d=True)
                if not len(block):
                    _check_end(clip, file.frames / rate, position / rate)
                    changes["clips that end before they should"] += left is not None
                    break
                position += len(block)
                if position > LONGEST_S * rate:  # a container declares only an estimate of its length
                    raise _too_long(clip, position / rate)
                left = None if left is None else left - len(block)
                mono = block.mean(axis=1) if channel is None else block[:, channel]
                yield resampler.resample_chunk(mono) if resampler else mono
        except RuntimeError as error:
            reason = f"truncated or damaged: cannot be decoded after {position / rate:.1f} s ({error})"
            raise _incomplete(clip, reason) from error
        if resampler:
            import numpy as np

            yield resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True)


def _skip(file: soundfile.SoundFile | ContainerFile, frames: int) -> None:
    """Go to a sample; what comes before is decoded in a file that cannot be sought, such as one of a telephone."""
    if isinstance(file, ContainerFile) or file.seekable():
        file.seek(frames)
        return
    while frames > 0 and (count := len(file.read(min(frames, BLOCK_S * file.samplerate)))):
        frames -= count


def _check_end(clip: Clip, declared_s: float, read_s: float) -> None:
    """Raises UserError where no more samples come although the header declares more than a moment of them."""
    if declared_s - read_s > SHORTEST_LOSS_S:
        raise _incomplete(clip, f"truncated: the header declares {declared_s:.1f} s but the file has {read_s:.1f} s")


def _on_timeline(clips: Iterable[Clip], channel: int | None, changes: Counter[str]) -> Iterator[np.ndarray]:
    """The clips on one timeline, kept in memory (a megabyte for 16 s).

    Overlapping clips are added, unless their samples are equal there: then they were cut from one recording.
    """
    import numpy as np

    timeline, length = np.zeros(0, dtype=np.float32), 0
    for clip in sorted(clips, key=lambda clip: clip.at_s):
        covered = length
        if not 0 <= clip.at_s <= LONGEST_S:
            raise UserError(f"{clip}: begins at {clip.at_s:g} s, beyond the {LONGEST_S / 3600:g} hours of a timeline")
        position = round(clip.at_s * SAMPLE_RATE)
        for block in _mono_blocks(clip, channel, changes):
            end = position + len(block)
            if end > len(timeline):
                timeline = np.concatenate([timeline, np.zeros(2 * end - len(timeline), dtype=np.float32)])
            both = max(0, min(end, covered) - position)
            if np.array_equal(timeline[position : position + both], block[:both]):
                timeline[position:end] = block
            else:
                timeline[position:end] += block
            position = end
        length = max(length, position)
    yield timeline[:length]


def write_wav(target: Path, samples: np.ndarray) -> None:
    """Write samples from -1 to 1 as 16 kHz mono 16-bit WAV. Raises UserError where the file cannot be written."""
    import soundfile

    try:
        soundfile.write(str(target), samples, SAMPLE_RATE, subtype="PCM_16", format="WAV")
    except RuntimeError as error:
        raise _unwritable(target, error) from error


def _unwritable(target: Path, error: RuntimeError) -> UserError:
    return UserError(f"{target}: cannot be written ({error}); free some room or choose another name")


def _resampler(rate: int):  # type: ignore[no-untyped-def]  # soxr is an optional extra
    soxr = require("soxr", f"resampling from {rate} Hz")
    return soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="VHQ")


def _write_pcm(target: Path, blocks: Iterable[np.ndarray], clip: Clip, changes: Counter[str]) -> int:
    """Write the float samples of ``clip``, or of it and others, as 16-bit WAV; returns the frames written."""
    import numpy as np
    import soundfile

    frames = 0
    target.unlink(missing_ok=True)  # an earlier conversion's may be a link to the corpus's own file
    try:
        with soundfile.SoundFile(str(target), "w", SAMPLE_RATE, 1, subtype="PCM_16", format="WAV") as file:
            for block in blocks:
                finite = np.isfinite(block)
                if not finite.all():
                    changes["samples that were no number, silenced"] += int((~finite).sum())
                    block = np.where(finite, block, 0)
                scaled = np.rint(block * 32768.0)
                changes["samples clipped at full scale"] += int(((scaled < -32768) | (scaled > 32767)).sum())
                file.write(np.clip(scaled, -32768, 32767).astype(np.int16))
                frames += len(block)
    except RuntimeError as error:
        raise _unwritable(target, error) from error
    if not frames:
        raise UserError(f"{clip}: contains no samples; leave it out or get the file again")
    return frames


SAMPLE_RATE = 16_000
