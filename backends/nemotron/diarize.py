"""Print who spoke when in a 16 kHz mono file, as RTTM: python diarize.py audio.wav.

An export contains this script and the network's files. It needs transformers (5.18 or newer), torch and soundfile.
``diarize.json`` holds the form of the network and the parameters of its post-processing.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

RATE = 16_000


def logits_of_stream(model: Any, processor: Any, audio: np.ndarray) -> Iterator[torch.Tensor]:
    """Logits (1, frames, speakers) of one step of a stream after another."""
    frames, cache, begin = len(audio) // processor.feature_extractor.hop_length, None, 0
    while begin < frames:
        # The stream has ended where no frame is left after the look-ahead: all frames are scored at once.
        is_last = frames - begin <= processor.num_mel_frames_per_audio_chunk
        first = max(0, processor.audio_chunk_start(begin))
        samples = processor.num_samples_per_audio_chunk if begin else processor.num_samples_first_audio_chunk
        inputs = processor(
            audio[first:] if is_last else audio[first : first + samples],
            sampling_rate=processor.feature_extractor.sampling_rate,
            is_streaming=True,
            is_first_audio_chunk=begin == 0,
            is_last_audio_chunk=is_last,
        )
        output = model(**inputs, speaker_cache=cache)
        cache = output.speaker_cache
        yield output.logits
        begin += output.logits.shape[1]


@torch.inference_mode()
def diarize(folder: Path, audio: np.ndarray) -> list[tuple[float, float, str]]:
    """Turns (start, end, speaker) of 16 kHz mono audio, by the network in a folder, in order of time."""
    from postprocessing import post_process  # type: ignore[import-not-found]  # the export contains this module too
    from transformers import AutoModelForAudioFrameClassification, AutoProcessor

    settings = json.loads((folder / "diarize.json").read_text())
    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForAudioFrameClassification.from_pretrained(folder).eval()
    extractor = processor.feature_extractor
    if settings["streaming"]:
        logits = torch.cat(list(logits_of_stream(model, processor, audio)), dim=1)
    else:
        logits = model(**processor(audio, sampling_rate=extractor.sampling_rate)).logits
    activity = logits[0, : len(audio) // extractor.hop_length].sigmoid().numpy()
    frame_s, end_s = extractor.hop_length / extractor.sampling_rate, len(audio) / extractor.sampling_rate
    turns = [
        (start, min(end, end_s), f"speaker_{speaker}")
        for speaker, probability in enumerate(activity.T)
        for start, end in post_process(probability, frame_s, **settings["post_processing"])
    ]
    return sorted(turn for turn in turns if turn[0] < turn[1])


def read_audio(path: Path) -> np.ndarray:
    """The samples of a 16 kHz mono file; ends the script with one line for any other."""
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, RuntimeError) as error:
        sys.exit(f"{path}: cannot be read ({error})")
    if (rate, samples.shape[1]) != (RATE, 1):
        sys.exit(f"{path}: {rate} Hz, channels: {samples.shape[1]}; make it {RATE} Hz mono first")
    return samples[:, 0]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python diarize.py audio.wav")
    path = Path(sys.argv[1])
    for start, end, speaker in diarize(Path(__file__).parent, read_audio(path)):
        sys.stdout.write(f"SPEAKER {path.stem} 1 {start:.3f} {end - start:.3f} <NA> <NA> {speaker} <NA> <NA>\n")
