"""Overhead of our training loop: ``bench throughput --suite harness --full``.

For each toolkit, epochs of our loop alternate in one process with epochs of a script that trains with the toolkit
alone (Lightning's trainer; pyannote.audio's task, or NeMo's Sortformer with its own loader). The suite reports the
ratio of their time per window, in wall and processor time: of the fastest epochs, and the median over pairs of epochs.
Both train on the same recordings in batches of ten, and validate on dev and save a checkpoint after each epoch. Data
loading is also compared on its own. On a GPU both read ahead in as many processes, and wall time counts: processor time
is that of this process alone, which mostly waits.
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
from diarbench.backends.recipes.schema import Recipe
from diarbench.backends.training.batches import default_workers
from diarbench.backends.training.distributed import seed_all
from diarbench.backends.training.trainer import Trainer
from diarbench.benchmarks.throughput.systems import device
from diarbench.datasets.corpora.catalog import open_dataset
from diarbench.datasets.exports import write_nemo_manifests

log = logging.getLogger(__name__)

BY_CLOCK = device() == "cuda"
"""Whether wall time decides; on a CPU it is processor time, which other processes disturb less."""

PAIRS = 5

RECIPE = Recipe(
    name="plain", optimizer="AdamW", learning_rate=1e-4, epochs=PAIRS + 1, batch_size=10, window_s=10, gradient_clip=0.5
)


def now():
    """Wall time and processor time of this process, in seconds; a GPU has finished its work."""
    if device() == "cuda":
        torch.cuda.synchronize()
    return np.array([perf_counter(), process_time()])


class AlternatingEpochs(Callback):
    """Runs one of our epochs before each of Lightning's; the first pair is a warm-up and is not counted."""

    def __init__(self, trainer):
        self.ours, self.theirs, self.windows = [], [], 0
        self.trainer, self.started = trainer, None
        self.trainer.start(lambda **_: None)

    def on_train_epoch_start(self, trainer, module):
        self.stop_their_clock()
        started = now()
        self.trainer.train_epoch(lambda **_: None)
        self.ours.append((now() - started) / self.trainer.loader.windows_per_epoch)
        self.windows = 0
        self.started = now()

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.windows += len(batch["X"] if isinstance(batch, dict) else batch[0])

    def on_fit_end(self, trainer, module):
        self.stop_their_clock()

    def stop_their_clock(self):
        if self.started is not None:
            self.theirs.append((now() - self.started) / self.windows)

    def figures(self):
        """Each figure in wall time, then in processor time."""
        ours, theirs = np.array(self.ours[1:]), np.array(self.theirs[1:])
        figures = {
            "ours_ms_a_window": 1000 * np.median(ours, axis=0),
            "theirs_ms_a_window": 1000 * np.median(theirs, axis=0),
            "median_ratio": np.median(ours / theirs, axis=0),
            "ratio_of_fastest": ours.min(axis=0) / theirs.min(axis=0),
        }
        return {name: values.round(3).tolist() for name, values in figures.items()} | {"pairs": len(ours)}


def pyannote_alone(network, dataset, folder):
    """pyannote.audio's model with its own task and loader."""
    import soundfile
    from pyannote.audio.core.io import Audio
    from pyannote.audio.tasks import SpeakerDiarization
    from pyannote.core import Segment
    from pyannote.database.protocol import SpeakerDiarizationProtocol

    class Soundfile(Audio):
        """Reads with soundfile as we do, since pyannote.audio's torchcodec needs ffmpeg."""

        def crop(self, file, segment: Segment, **options):
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
        num_workers=default_workers(device(), 1),
    )
    # The loader is infinite; Lightning counts its batches.
    return model, lambda: islice(model.task.train_dataloader(), len(model.task.train_dataloader()))


def nemo_alone(network, dataset, folder):
    """NeMo's Sortformer with its own loader, on manifests with windows of the same length."""
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
                    "num_workers": default_workers(device(), 1),
                }
            )
        )
    return model, lambda: model._train_dl


ALONE = {"pyannote": pyannote_alone, "nemo": nemo_alone}


@pytest.mark.full
@pytest.mark.benchmark(group="epochs of our loop and of the toolkit alone, alternating")
@pytest.mark.parametrize("name", ALONE)
def test_epochs_of_our_loop_to_the_toolkit_alone(name, tmp_path, benchmark):
    """Ratios below 1 mean that ours is faster. On a busy machine only the processor time is meaningful."""
    backend, dataset = registry.load(name), open_dataset("ami-mini")
    networks = []
    for _ in range(2):
        seed_all(1, 0)
        networks.append(backend.network(backend.resolve_init("auto"), RECIPE.objective))
    ours = Trainer(networks[0], name, dataset, RECIPE, 1, Fabric(accelerator=device(), devices=1), tmp_path / "ours")
    model, loader = ALONE[name](networks[1], dataset, tmp_path)
    model._optimizer = torch.optim.AdamW(model.parameters(), lr=RECIPE.learning_rate)  # NeMo's training step reads it
    model.configure_optimizers = lambda: model._optimizer
    alternating = AlternatingEpochs(ours)
    theirs = LightningTrainer(
        accelerator=device(),
        devices=1,
        max_epochs=RECIPE.epochs,
        gradient_clip_val=RECIPE.gradient_clip,
        num_sanity_val_steps=0,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[alternating, ModelCheckpoint(tmp_path / "theirs", save_last=True)],
    )
    benchmark.pedantic(theirs.fit, (model,), rounds=1)
    figures = {**alternating.figures(), "loading": loading_s(ours, loader)}
    benchmark.extra_info.update(figures, ratio=figures["median_ratio"][0 if BY_CLOCK else 1])
    log.warning("%s: our time relative to the toolkit alone, wall and processor: %s", name, figures)


def loading_s(ours, theirs):
    """Seconds per window to read it and make its targets: ours, the toolkit's, and the ratio."""
    fastest, clock = {}, perf_counter if BY_CLOCK else process_time
    for _ in range(5):
        for name, batches in (("ours", ours.loader.train_batches(1)), ("theirs", theirs())):
            started, windows = clock(), 0
            for batch in batches:
                windows += len(batch.windows if name == "ours" else batch["X"] if isinstance(batch, dict) else batch[0])
            fastest[name] = min(fastest.get(name, np.inf), (clock() - started) / windows)
    return {**fastest, "ratio": fastest["ours"] / fastest["theirs"]}
