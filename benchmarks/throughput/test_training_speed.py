"""Hours of audio trained an hour, by the one loop that trains every backend."""

from __future__ import annotations

from itertools import count

import pytest

from diarbench.backends import recipes, registry
from diarbench.benchmarks.throughput.shared import SYSTEMS, device
from diarbench.datasets.catalog import open_dataset


@pytest.mark.benchmark(group="training, an epoch of ami-mini")
def test_training(benchmark, system, tmp_path, repeats):
    """An epoch of five minutes of real meetings, with its measuring on dev and its checkpoints."""
    from lightning.fabric import Fabric

    from diarbench.backends.training import Trainer, seed_all

    name, init = SYSTEMS[system]
    backend, dataset = registry.load(name), open_dataset("ami-mini")
    recipe = recipes.load("quick").model_copy(update={"epochs": 1})
    number, trained = count(), []

    def prepare():
        seed_all(1, 0)
        network = backend.network(backend.locate(init), recipe.objective)
        folder = tmp_path / f"{next(number)}"
        folder.mkdir()
        fabric = Fabric(accelerator=device(), devices=1)
        return (Trainer(network, name, dataset, recipe, 1, fabric, folder),), {}

    def train(trainer):
        trained.append(trainer.run(lambda **progress: None))

    benchmark.pedantic(train, setup=prepare, rounds=max(1, repeats - 2), warmup_rounds=0)
    audio_s = trained[-1].audio_s
    benchmark.extra_info["audio_s"] = audio_s
    benchmark.extra_info["hours_an_hour"] = audio_s / benchmark.stats.stats.median
