"""Checks of a recording's samples: unreadable, truncated, silent or clipped audio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from diarbench.datasets.checking.findings import AudioReport, make_finding
from diarbench.datasets.dataset import Recording
from diarbench.datasets.io.audio import MOST_HEADER_BYTES, SAMPLE_RATE, wav_data_bytes
from diarbench.datasets.io.files import sha256_of

if TYPE_CHECKING:
    import numpy as np

WINDOW_S = 10.0
"""The window of pyannote's segmentation-3.0; a shorter recording raises an error there."""

FRAME_S = 0.02
"""The length of the frames whose level is measured."""

SILENCE_PEAK, NEAR_EMPTY_RMS, CLIPPED_SHARE = 1e-4, 1e-4, 1e-3


def examine_audio(recording: Recording) -> AudioReport:
    """Read a recording's audio completely, check format, length and level, and measure the level of its frames."""
    import numpy as np
    import soundfile

    path = recording.audio
    report = AudioReport(recording.uri)

    def add(level: Literal["error", "warning"], kind: str, text: str) -> None:
        report.findings.append(make_finding(level, kind, path, text))

    frames, clipped, peak, energy = 0, 0, 0.0, np.zeros(1)
    levels: list[np.ndarray] = []
    try:
        declared, present = wav_data_bytes(path) or (0, 0)
        if (size := path.stat().st_size) > declared + MOST_HEADER_BYTES:
            text = f"{size:,} bytes, of which the header declares {declared:,}; fetch or convert it again"
            add("error", "unreadable audio", text)
            return report
        report.sha256 = sha256_of(path)
        if declared > present:
            text = f"the header declares {declared} bytes of samples but the file has {present}; fetch it again"
            add("error", "truncated audio", text)
        with soundfile.SoundFile(str(path)) as file:
            rate, channels = file.samplerate, file.channels
            energy = np.zeros(channels)
            for block in file.blocks(blocksize=30 * rate, dtype="float32", always_2d=True):
                frames += len(block)
                magnitude = np.abs(block)
                clipped += int((magnitude >= 32767 / 32768).sum())
                peak = max(peak, float(magnitude.max()))
                energy += (block.astype(np.float64) ** 2).sum(axis=0)
                if rate == SAMPLE_RATE:
                    levels.append(_frame_levels(block.mean(axis=1)))
    except (OSError, RuntimeError) as error:
        add("error", "unreadable audio", f"the audio cannot be read ({error}); fetch or convert it again")
        return report
    report.duration_s = frames / rate
    report.rms = np.concatenate(levels) if levels else None
    if not frames:
        add("error", "header-only audio", "contains no samples; fetch or convert it again")
        return report
    if rate != SAMPLE_RATE:
        add("error", "sample rate", f"{rate} Hz instead of {SAMPLE_RATE}; convert it again")
    if channels != 1:
        add("error", "channels", f"{channels} channels instead of one; convert it again")
    if report.duration_s < WINDOW_S:
        text = f"{report.duration_s:.2f} s, shorter than the {WINDOW_S:g} s window of pyannote's segmentation"
        add("warning", "short audio", text)
    level = np.sqrt(energy / frames)
    if peak < SILENCE_PEAK:
        add("warning", "silence", f"only silence (peak {peak:.1e} of full scale)")
    elif (level < NEAR_EMPTY_RMS).any():
        add("warning", "near-empty channel", f"channel {int(level.argmin())} is nearly silent (RMS {level.min():.1e})")
    if clipped > CLIPPED_SHARE * frames * channels:
        share = clipped / frames / channels
        add("warning", "clipping", f"{share:.1%} of the samples are at full scale; record at a lower level")
    return report


def _frame_levels(samples: np.ndarray) -> np.ndarray:
    """The root mean square of each frame, of full scale; an incomplete frame at the end is left out."""
    import numpy as np

    length = round(FRAME_S * SAMPLE_RATE)
    whole = samples[: len(samples) // length * length].reshape(-1, length)
    return np.asarray(np.sqrt((whole**2).mean(axis=1)))
