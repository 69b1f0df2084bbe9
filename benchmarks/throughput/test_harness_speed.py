"""What our training loop costs: ``bench throughput --suite harness --full``.

For each toolkit, epochs of our loop and of a plain script that does the same training with the toolkit alone (the
trainer of Lightning; pyannote.audio's task, NeMo's Sortformer with its own loader) take turns in one process, and the
ratio of their time a window is told, by the clock and by the processor's time: of the fastest epochs, and over pairs of
epochs its median. Both train on the same recordings in batches of ten, measure on dev and keep a checkpoint each epoch.
Loading alone is held against the toolkit's loading too.
"""

from __future__ import annotations

import logging
from itertools import islice
from time import perf_counter, process_time

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric
from lightning.pytorch import Callback
from lightning.pytorch import Trainer as LightningTrainer
from lightning.pytorch.callbacks import ModelCheckpoint

from diarbench.backends import registry
from diarbench.backends.recipes import Recipe
from diarbench.backends.training import Trainer, seed_all
from diarbench.datasets.catalog import open_dataset
from diarbench.datasets.exports import write_nemo_manifests

log = logging.getLogger(__name__)

PAIRS = 5
RECIPE = Recipe(
    name="plain", optimizer="AdamW", learning_rate=1e-4, epochs=PAIRS + 1, batch_size=10, window_s=10, gradient_clip=0.5
)


def now():
    """By the clock, and by the time that this process has had a processor; seconds."""
    return np.array([perf_counter(), process_time()])


class TakingTurns(Callback):
    """Before each of Lightning's epochs runs one of ours; a pair of epochs to warm up is not counted."""

    def __init__(self, trainer):
        self.ours, self.theirs, self.windows = [], [], 0
        self.trainer, self.begun = trainer, None
        self.trainer._finish_epoch(self.trainer._measure(None), perf_counter())

    def on_train_epoch_start(self, trainer, module):
        self.stop_their_clock()
        begun = now()
        number = len(self.trainer.epochs)
        self.trainer._finish_epoch(self.trainer._train_epoch(number, lambda **_: None), begun[0])
        self.ours.append((now() - begun) / self.trainer.windows_an_epoch)
        self.windows = 0
        self.begun = now()

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.windows += len(batch["X"] if isinstance(batch, dict) else batch[0])

    def on_fit_end(self, trainer, module):
        self.stop_their_clock()

    def stop_their_clock(self):
        if self.begun is not None:
            self.theirs.append((now() - self.begun) / self.windows)

    def told(self):
        """By clock, then by processor."""
        ours, theirs = np.array(self.ours[1:]), np.array(self.theirs[1:])
        figures = {
            "ours_ms_a_window": 1000 * np.median(ours, axis=0),
            "theirs_ms_a_window": 1000 * np.median(theirs, axis=0),
            "median_ratio": np.median(ours / theirs, axis=0),
            "ratio_of_fastest": ours.min(axis=0) / theirs.min(axis=0),
        }
        return {name: values.round(3).tolist() for name, values in figures.items()} | {"pairs": len(ours)}


def pyannote_alone(network, dataset, folder):
    """A model of pyannote.audio with its own task and loader."""
    import soundfile
    from pyannote.audio.core.io import Audio
    from pyannote.audio.tasks import SpeakerDiarization
    from pyannote.core import Segment
    from pyannote.database.protocol import SpeakerDiarizationProtocol

    class Soundfile(Audio):
        """Reads as we do: torchcodec, which pyannote.audio reads with, wants ffmpeg."""

        def crop(self, file, segment: Segment, **how):
            start, frames = round(segment.start * self.sample_rate), round(segment.duration * self.sample_rate)
            audio, rate = soundfile.read(str(file["audio"]), start=start, frames=frames, dtype="float32")
            return torch.from_numpy(audio)[None], rate

    class Protocol(SpeakerDiarizationProtocol):
        name = dataset.info.name

        def files(self, subset):
            for recording in dataset.subset(subset):
                yield {
                    "uri": recording.uri,
                    "database": dataset.info.name,
                    "scope": "file",
                    "audio": recording.audio,
                    "annotation": recording.reference,
                    "annotated": recording.scored,
                    "torchaudio.info": soundfile.info(str(recording.audio)),
                }

        def train_iter(self):
            return self.files("train")

        def development_iter(self):
            return self.files("dev")

    model = network.model
    model.audio = Soundfile(sample_rate=16_000, mono="downmix")
    model.task = SpeakerDiarization(
        Protocol(),
        duration=RECIPE.window_s,
        max_speakers_per_chunk=3,
        max_speakers_per_frame=2,
        batch_size=RECIPE.batch_size,
        num_workers=0,
    )
    # It never ends by itself: Lightning counts.
    return model, lambda: islice(model.task.train_dataloader(), len(model.task.train_dataloader()))


def nemo_alone(network, dataset, folder):
    """NeMo's Sortformer with its own loader, on manifests of the same windows' length."""
    from omegaconf import OmegaConf

    write_nemo_manifests(dataset, folder, window_s=RECIPE.window_s)
    model = network.model
    for subset, setup in (("train", model.setup_training_data), ("dev", model.setup_validation_data)):
        setup(
            OmegaConf.create(
                {
                    "manifest_filepath": str(folder / f"{subset}_manifest.json"),
                    "sample_rate": 16_000,
                    "num_spks": 4,
                    "session_len_sec": RECIPE.window_s,
                    "soft_label_thres": 0.5,
                    "soft_targets": False,
                    "batch_size": RECIPE.batch_size,
                    "num_workers": 0,
                }
            )
        )
    return model, lambda: model._train_dl


ALONE = {"pyannote": pyannote_alone, "nemo": nemo_alone}


@pytest.mark.full
@pytest.mark.benchmark(group="epochs of ours and of the toolkit alone, in turn")
@pytest.mark.parametrize("name", ALONE)
def test_epochs_of_our_loop_to_the_toolkit_alone(name, tmp_path, benchmark):
    """Below 1 ours is the faster. On a machine that is busy otherwise only the processor's time says something."""
    backend, dataset = registry.load(name), open_dataset("ami-mini")
    networks = []
    for _ in range(2):
        seed_all(1, 0)
        networks.append(backend.network(backend.locate("auto"), RECIPE.objective))
    ours = Trainer(networks[0], name, dataset, RECIPE, 1, Fabric(accelerator="cpu", devices=1), tmp_path / "ours")
    model, loader = ALONE[name](networks[1], dataset, tmp_path)
    model._optimizer = torch.optim.AdamW(model.parameters(), lr=RECIPE.learning_rate)  # where NeMo's step looks for it
    model.configure_optimizers = lambda: model._optimizer
    turns = TakingTurns(ours)
    theirs = LightningTrainer(
        accelerator="cpu",
        devices=1,
        max_epochs=RECIPE.epochs,
        gradient_clip_val=RECIPE.gradient_clip,
        num_sanity_val_steps=0,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[turns, ModelCheckpoint(tmp_path / "theirs", save_last=True)],
    )
    benchmark.pedantic(theirs.fit, (model,), rounds=1)
    told = {**turns.told(), "loading": loading(ours, loader)}
    benchmark.extra_info.update(told, ratio=told["median_ratio"][1])
    log.warning("%s, time of ours to that of the toolkit alone, by clock and by processor: %s", name, told)


def loading(ours, theirs):
    """The processor's seconds a window to read it and to make its targets: ours, the toolkit's, and the ratio."""
    fastest = {}
    for _ in range(5):
        for name, batches in (("ours", ours._batches(ours._draw(1))), ("theirs", theirs())):
            begun, windows = process_time(), 0
            for batch in batches:
                windows += len(batch.windows if name == "ours" else batch["X"] if isinstance(batch, dict) else batch[0])
            fastest[name] = min(fastest.get(name, np.inf), (process_time() - begun) / windows)
    return {**fastest, "ratio": fastest["ours"] / fastest["theirs"]}
