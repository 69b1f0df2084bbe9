"""Reverberation, noise and filters for simulated recordings and for augmentation during training.

Audio is float32 mono at 16 kHz. All random draws come from the generator passed in.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from diarbench.datasets.io.audio import SAMPLE_RATE
from diarbench.datasets.io.errors import UserError, require

if TYPE_CHECKING:
    import numpy as np


def simulate_rirs(sources: int, rng: np.random.Generator) -> list[np.ndarray]:
    """One impulse response per source to a microphone near the room's centre (image-source method, pyroomacoustics).

    The room is a shoebox of 3 to 8 m by 3 to 6 m by 2.5 to 3.5 m with a reverberation time of 0.2 to 0.6 s.
    """
    import numpy as np

    pra = require("pyroomacoustics", "simulating rooms")
    size = rng.uniform([3, 3, 2.5], [8, 6, 3.5])
    absorption, order = pra.inverse_sabine(rng.uniform(0.2, 0.6), size)
    room = pra.ShoeBox(size, fs=SAMPLE_RATE, materials=pra.Material(absorption), max_order=min(order, 12))
    for _ in range(sources):
        room.add_source(rng.uniform([0.5, 0.5, 1.0], size - [0.5, 0.5, 0.6]))
    room.add_microphone(np.append(size[:2] / 2 + rng.uniform(-0.3, 0.3, 2), 0.9))
    room.compute_rir()
    return [np.asarray(response, dtype=np.float32) for response in room.rir[0]]


def apply_rir(audio: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Convolve audio with a room impulse response; the direct sound keeps its position and level."""
    import numpy as np
    from scipy.signal import oaconvolve

    direct = int(np.abs(response).argmax())
    wet = oaconvolve(audio, response / (np.abs(response[direct]) or 1.0))[direct : direct + len(audio)]
    return np.asarray(wet, dtype=np.float32)


def synthetic_noise(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Steady Gaussian noise, from white to brown, with knocks, rustles and rumbles over it.

    These bursts occur between once in ten seconds and four times a second. Each lasts 5 ms to 0.7 s, is up to 30 dB
    louder than the steady noise, and has a spectrum from blue to darker than brown.
    """
    import numpy as np

    steady = _gaussian(samples, rng.uniform(0, 2), rng)
    noise, power = steady.copy(), np.mean(steady**2)
    bursts_per_s = np.exp(rng.uniform(*np.log([0.1, 4.0])))
    for start in rng.integers(0, samples, rng.poisson(bursts_per_s * samples / SAMPLE_RATE)):
        length = round(np.exp(rng.uniform(*np.log([0.005, 0.7]))) * SAMPLE_RATE)
        burst = _gaussian(length, rng.uniform(-1, 4), rng) * np.linspace(1, 0, length) ** rng.uniform(0.5, 4)
        gain = 10 ** (rng.uniform(0, 30) / 20) * np.sqrt(power / np.mean(burst**2))
        noise[start : start + length] += gain * burst[: samples - start]
    return np.asarray(noise, dtype=np.float32)


def _gaussian(samples: int, darkness: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise whose power is proportional to f**-darkness at frequency f."""
    import numpy as np
    from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

    length = next_fast_len(samples, real=True)
    spectrum = rfft(rng.standard_normal(length))
    audible = np.maximum(rfftfreq(length, 1 / SAMPLE_RATE), max(20.0, SAMPLE_RATE / length))
    return np.asarray(irfft(spectrum * audible ** (-darkness / 2), length)[:samples])


def scale_to_snr(noise: np.ndarray, audio: np.ndarray, snr_db: float) -> np.ndarray:
    """Scale noise to this SNR; samples of the audio that are exactly 0 are ignored in its power."""
    import numpy as np

    nonzero = audio[audio != 0]
    if not len(nonzero) or not noise.any():
        return np.zeros_like(audio)
    gain = np.sqrt(np.mean(nonzero**2) / np.mean(noise**2)) * 10 ** (-snr_db / 20)
    return np.asarray(gain * noise, dtype=np.float32)


def bandpass(audio: np.ndarray, low_hz: float, high_hz: float) -> np.ndarray:
    """Remove all frequencies outside the band."""
    import numpy as np
    from scipy.fft import irfft, rfft, rfftfreq

    spectrum = rfft(audio)
    frequency = rfftfreq(len(audio), 1 / SAMPLE_RATE)
    spectrum[(frequency < low_hz) | (frequency > high_hz)] = 0
    return np.asarray(irfft(spectrum, len(audio)), dtype=np.float32)


def random_equalizer(audio: np.ndarray, most_db: float, rng: np.random.Generator) -> np.ndarray:
    """Apply random gains, as if recorded by another microphone at another distance.

    Each of seven frequencies, an octave apart up to 8 kHz, changes by up to ``most_db`` up or down; the gains between
    them are interpolated (PCHIP).
    """
    import numpy as np
    from scipy.fft import irfft, next_fast_len, rfft, rfftfreq
    from scipy.interpolate import PchipInterpolator

    octaves = np.arange(-6, 1)
    gain_db = PchipInterpolator(octaves, rng.uniform(-most_db, most_db, len(octaves)))
    length = next_fast_len(len(audio) + 512, real=True)
    frequency = np.maximum(rfftfreq(length, 1 / SAMPLE_RATE) / 8000, 2.0 ** octaves[0])
    filtered = irfft(rfft(audio, length) * 10 ** (gain_db(np.log2(frequency)) / 20), length)[: len(audio)]
    return np.asarray(filtered, dtype=np.float32)


def vocal_tract_length_perturbation(audio: np.ndarray, factor: float) -> np.ndarray:
    """Multiply the formants of speech by a factor (above 1: a shorter vocal tract); pitch and timing do not change.

    The envelope of each spectrum, its cepstrum below 2 ms, is stretched along the frequency axis. If it shrinks, its
    last value is repeated up to 8 kHz.
    """
    import numpy as np
    from scipy.fft import irfft, rfft
    from scipy.signal import istft, stft

    frames = {"window": "hann", "nperseg": 512, "noverlap": 384}
    spectra = stft(np.pad(audio, (0, 512)), **frames)[2]
    cepstra = irfft(np.log(np.abs(spectra) + 1e-5), axis=0)
    cutoff = round(0.002 * SAMPLE_RATE)
    cepstra[cutoff : -cutoff + 1] = 0
    envelopes = rfft(cepstra, axis=0).real
    bins = np.minimum(np.arange(len(envelopes)) / factor, len(envelopes) - 1)
    below = bins.astype(int)
    above = np.minimum(below + 1, len(envelopes) - 1)
    share = (bins - below)[:, None]
    stretched = (1 - share) * envelopes[below] + share * envelopes[above]
    perturbed = istft(spectra * np.exp(stretched - envelopes), **frames)[1]
    return np.asarray(perturbed[: len(audio)], dtype=np.float32)


def read_noise(path: Path, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Read a random excerpt of a file as mono, ``samples`` long; a shorter file is repeated."""
    import numpy as np

    return np.resize(_read(path, samples, rng).mean(axis=1), samples)


def read_rir(path: Path) -> np.ndarray:
    """Read the room impulse response in the first channel of a file."""
    return _read(path)[:, 0]


def _read(path: Path, samples: int | None = None, rng: np.random.Generator | None = None) -> np.ndarray:
    """Read audio, (samples, channels) at 16 kHz: the complete file, or about ``samples`` at a random position."""
    import soundfile

    try:
        with soundfile.SoundFile(str(path)) as file:
            rate = file.samplerate
            frames = math.ceil(samples * rate / SAMPLE_RATE) if samples else file.frames
            if rng is not None:
                file.seek(int(rng.integers(max(1, file.frames - frames + 1))))
            audio: np.ndarray = file.read(frames, dtype="float32", always_2d=True)
    except (OSError, RuntimeError) as error:
        raise UserError(f"{path}: not readable audio ({error})") from error
    if not len(audio):
        raise UserError(f"{path}: contains no samples; remove it")
    if rate != SAMPLE_RATE:
        audio = require("soxr", f"resampling from {rate} Hz").resample(audio, rate, SAMPLE_RATE)
    return audio
