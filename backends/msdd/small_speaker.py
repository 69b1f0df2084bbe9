"""A small speaker network, for machines without NVIDIA's TitaNet; trained when a run first needs it.

It is of TitaNet's form, so that NeMo loads an MSDD that stands on it. The constants are the whole recipe.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diarbench.backends.msdd.configuration import SMALL_SPEAKER, safe_speaker
from diarbench.backends.recipes.schema import Augmentation, Noise
from diarbench.backends.training.augmentation import Augmenter
from diarbench.datasets.corpora.catalog import open_dataset
from diarbench.datasets.io.audio import SAMPLE_RATE
from diarbench.datasets.io.files import cache_dir, digest, temporary_folder
from diarbench.datasets.simulation.segments import SpeechSegment, read_segment, speech_segments
from diarbench.reports.results.run import Weights

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

SEED = 1
STEPS, BATCH_SIZE = 600, 32
LEARNING_RATE = 3e-3
"""The highest one: AdamW's rises and falls once (``OneCycleLR``)."""

LENGTHS_S = (0.5, 1.5)
"""The segments of a batch have one length, between those of MSDD's shortest and longest scale."""

SPEEDS = (0.87, 1.0, 1.15)
"""A voice at another speed is another speaker."""

AUGMENTATION = Augmentation(noise=Noise(probability=0.5, snr_db=(5, 25)))

LOSS = {"_target_": "nemo.collections.common.losses.cross_entropy.CrossEntropyLoss"}

RECIPE = digest(
    [SEED, STEPS, BATCH_SIZE, LEARNING_RATE, LENGTHS_S, SPEEDS, AUGMENTATION.model_dump(mode="json"), SMALL_SPEAKER]
)

WEIGHTS = Weights(
    origin=f"small-speaker (diarbench, recipe {RECIPE[:6]})",
    pretrained=True,
    licence="GPL-2.0-only",
    training_corpora=("Debian voices",),
)
"""The licence is that of the voices; see docs/small-sortformer.md."""

Voices = Mapping[str, Sequence[SpeechSegment]]

Speaker = tuple[Sequence[SpeechSegment], float]
"""A voice at a speed."""


def trained_file() -> Path:
    """The network's ``.nemo`` file in the user's cache; where there is none, it is trained, and the voices fetched.

    Raises UserError where the voices cannot be fetched.
    """
    file = cache_dir() / "small-speaker" / f"{RECIPE}.nemo"
    if not file.is_file():
        voices = speech_segments(open_dataset("debian-voices"))["train"]
        log.info("training the small speaker network, once for all runs on this machine")
        with temporary_folder(file) as folder:
            train(voices).save_to(str(folder / file.name))
            (folder / file.name).replace(file)
    return file


def train(voices: Voices) -> Any:
    """NeMo's ``EncDecSpeakerLabelModel``, trained to name the speakers of short segments.

    What is drawn after it does not depend on whether it was trained.
    """
    import torch

    state = random.getstate()
    try:
        with torch.random.fork_rng(devices=[]):
            return _train(voices)
    finally:
        random.setstate(state)


def _train(voices: Voices) -> Any:
    import torch
    from nemo.collections.asr.models import EncDecSpeakerLabelModel
    from omegaconf import OmegaConf

    torch.manual_seed(SEED)
    config = safe_speaker(SMALL_SPEAKER, "configuration")
    config["decoder"]["num_classes"] = len(voices) * len(SPEEDS)
    model = EncDecSpeakerLabelModel(cfg=OmegaConf.create({**config, "loss": LOSS, "sample_rate": SAMPLE_RATE})).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=STEPS)
    for step, (signals, speakers) in enumerate(islice(batches(voices), STEPS), start=1):
        logits, _ = model(input_signal=signals, input_signal_length=torch.full((len(signals),), signals.shape[1]))
        loss = model.loss(logits=logits, labels=speakers)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            log.info("step %d of %d: loss %.2f", step, STEPS, loss.item())
    return model.eval()


def batches(voices: Voices) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Random segments of speech (segments, samples) and the number of each one's speaker; without end."""
    import torch

    rng, augment = np.random.default_rng(SEED), Augmenter(AUGMENTATION, SEED)
    speakers: list[Speaker] = [(voices[name], speed) for name in sorted(voices) for speed in SPEEDS]
    batch = 0
    while True:
        samples = int(rng.uniform(*LENGTHS_S) * SAMPLE_RATE)
        drawn = rng.integers(len(speakers), size=BATCH_SIZE)
        signals = [augment(_excerpt(speakers[k], samples, rng), row, batch) for row, k in enumerate(drawn.tolist())]
        yield torch.from_numpy(np.stack(signals).astype(np.float32)), torch.from_numpy(drawn)
        batch += 1


def _excerpt(speaker: Speaker, samples: int, rng: np.random.Generator) -> np.ndarray:
    """A random part of a voice's speech at a speed; one that is too short is repeated."""
    segments, speed = speaker
    segment = segments[int(rng.integers(len(segments)))]
    wanted_s = samples / SAMPLE_RATE * speed
    start_s = segment.start_s + rng.uniform(0, max(0.0, segment.length_s - wanted_s))
    part = segment._replace(start_s=start_s, length_s=min(wanted_s, segment.length_s), factor=speed)
    samples_of_part = read_segment(part, scratch=segment.path)  # a dataset's audio needs no scratch file
    return np.resize(samples_of_part, samples)
