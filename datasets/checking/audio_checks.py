"""Checks of a recording's samples: unreadable, truncated, silent or clipped audio."""

from __future__ import annotations

from typing import Literal

from diarbench.datasets.checking.findings import _Audio, _finding
from diarbench.datasets.dataset import Recording
from diarbench.datasets.io.audio import SAMPLE_RATE, wav_data_bytes
from diarbench.datasets.io.files import sha256_of

WINDOW_S = 10.0
"""pyannote's segmentation-3.0 hears 10 s at a time, and a recording shorter than that raises."""

SILENCE_PEAK, NEAR_EMPTY_RMS, CLIPPED_SHARE = 1e-4, 1e-4, 1e-3


def _examine(recording: Recording) -> _Audio:
    """Read all of a recording's audio and measure it."""
    import numpy as np
    import soundfile

    path = recording.audio
    audio = _Audio(recording.uri)

    def tell(level: Literal["error", "warning"], kind: str, text: str) -> None:
        audio.findings.append(_finding(level, kind, path, text))

    frames, full, peak, square = 0, 0, 0.0, np.zeros(1)
    try:
        audio.sha256 = sha256_of(path)
        declared, present = wav_data_bytes(path) or (0, 0)
        if declared > present:
            text = f"its header says {declared} bytes of samples, it holds {present}; fetch it again"
            tell("error", "truncated audio", text)
        with soundfile.SoundFile(str(path)) as file:
            rate, channels = file.samplerate, file.channels
            square = np.zeros(channels)
            for block in file.blocks(blocksize=30 * rate, dtype="float32", always_2d=True):
                frames += len(block)
                magnitude = np.abs(block)
                full += int((magnitude >= 32767 / 32768).sum())
                peak = max(peak, float(magnitude.max()))
                square += (block.astype(np.float64) ** 2).sum(axis=0)
    except (OSError, RuntimeError) as error:
        tell("error", "unreadable audio", f"not audio that can be read ({error}); fetch or convert it again")
        return audio
    audio.duration_s = frames / rate
    if not frames:
        tell("error", "header-only audio", "holds no samples; fetch or convert it again")
        return audio
    if rate != SAMPLE_RATE:
        tell("error", "sample rate", f"{rate} Hz where datasets have {SAMPLE_RATE}; convert it again")
    if channels != 1:
        tell("error", "channels", f"{channels} channels where datasets have one; convert it again")
    if audio.duration_s < WINDOW_S:
        text = f"{audio.duration_s:.2f} s, shorter than the {WINDOW_S:g} s that pyannote's segmentation hears at a time"
        tell("warning", "short audio", text)
    level = np.sqrt(square / frames)
    if peak < SILENCE_PEAK:
        tell("warning", "silence", f"nothing but silence (peak {peak:.1e} of full scale)")
    elif (level < NEAR_EMPTY_RMS).any():
        tell("warning", "near-empty channel", f"channel {int(level.argmin())} is near empty (RMS {level.min():.1e})")
    if full > CLIPPED_SHARE * frames * channels:
        share = full / frames / channels
        tell("warning", "clipping", f"{share:.1%} of its samples are at full scale; lower the recording's level")
    return audio
