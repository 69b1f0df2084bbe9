"""Hours of audio per hour of training, with the loop that all backends share."""

from __future__ import annotations

from itertools import count
from time import perf_counter

import pytest

from diarbench.backends import registry
from diarbench.backends.recipes import load as recipes
from diarbench.benchmarks.throughput.systems import SYSTEMS, device, full, synchronised
from diarbench.datasets.corpora.catalog import open_dataset


@pytest.mark.benchmark(group="training, an epoch of ami-mini")
def test_training(benchmark, system, tmp_path, repeats):
    """An epoch on five minutes of real meetings, including validation on dev and checkpoints."""
    time_an_epoch(benchmark, system, recipes.load("quick"), tmp_path, max(1, repeats - 2))


@pytest.mark.benchmark(group="training, by batch size")
@pytest.mark.parametrize("batch_size", full(4, 16, 32))
def test_batch_size(benchmark, system, batch_size, tmp_path):
    """The same with other batches than quick's."""
    recipe = recipes.with_settings(recipes.load("quick"), batch_size=batch_size)
    time_an_epoch(benchmark, system, recipe, tmp_path, rounds=1)


@pytest.mark.benchmark(group="training, the network's time for a batch over that of reading it")
@pytest.mark.full
def test_reading(benchmark, system, tmp_path):
    """How many times as fast batches are read as the network trains on them; the first start the reading processes."""
    from lightning.fabric import Fabric

    from diarbench.backends.training.trainer import Trainer

    name, init = SYSTEMS[system]
    backend = registry.load(name)
    started, timed = (5, 40) if device() == "cuda" else (1, 1)
    steps = {"max_steps": started + timed, "evaluate_every": started + timed, "epochs": 1, "batch_size": 32}
    recipe = recipes.with_settings(recipes.load("quick"), **steps)
    network = backend.network(backend.resolve_init(init), recipe.objective)
    fabric = Fabric(accelerator=device(), devices=1)
    trainer = Trainer(network, name, open_dataset("ami-mini"), recipe, 1, fabric, tmp_path)

    def seconds(work):
        for done, batch in enumerate(trainer.loader.train_batches(1), start=1):
            work(batch)
            if done == started:
                synchronised(lambda: None)()
                begun = perf_counter()
        synchronised(lambda: None)()
        return perf_counter() - begun

    def train(batch):
        fabric.backward(trainer.wrapped("loss", batch.waveforms, batch.targets).total)

    reading_s = benchmark.pedantic(seconds, (lambda batch: None,), rounds=1)
    benchmark.extra_info["ratio"] = seconds(train) / reading_s


def time_an_epoch(benchmark, system, recipe, folder, rounds):
    """Time the first epoch of a recipe in a subfolder; records hours of audio per hour."""
    from lightning.fabric import Fabric

    from diarbench.backends.training.distributed import seed_all
    from diarbench.backends.training.trainer import Trainer

    name, init = SYSTEMS[system]
    backend, dataset = registry.load(name), open_dataset("ami-mini")
    recipe = recipes.with_settings(recipe, epochs=1)
    number, results = count(), []

    def prepare():
        seed_all(1, 0)
        network = backend.network(backend.resolve_init(init), recipe.objective)
        run = folder / f"{next(number)}"
        run.mkdir()
        fabric = Fabric(accelerator=device(), devices=1)
        return (Trainer(network, name, dataset, recipe, 1, fabric, run),), {}

    def train(trainer):
        results.append(trainer.run(lambda **progress: None))

    benchmark.pedantic(train, setup=prepare, rounds=rounds, warmup_rounds=0)
    audio_s = results[-1].audio_s
    benchmark.extra_info["audio_s"] = audio_s
    benchmark.extra_info["hours_an_hour"] = audio_s / benchmark.stats.stats.median
