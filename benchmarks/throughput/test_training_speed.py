"""Hours of audio per hour of training, with the loop that all backends share."""

from __future__ import annotations

from itertools import count

import pytest

from diarbench.backends import registry
from diarbench.backends.recipes import load as recipes
from diarbench.benchmarks.throughput.systems import SYSTEMS, device
from diarbench.datasets.corpora.catalog import open_dataset


@pytest.mark.benchmark(group="training, an epoch of ami-mini")
def test_training(benchmark, system, tmp_path, repeats):
    """An epoch on five minutes of real meetings, including validation on dev and checkpoints."""
    from lightning.fabric import Fabric

    from diarbench.backends.training.distributed import seed_all
    from diarbench.backends.training.trainer import Trainer

    name, init = SYSTEMS[system]
    backend, dataset = registry.load(name), open_dataset("ami-mini")
    recipe = recipes.load("quick").model_copy(update={"epochs": 1})
    number, results = count(), []

    def prepare():
        seed_all(1, 0)
        network = backend.network(backend.resolve_init(init), recipe.objective)
        folder = tmp_path / f"{next(number)}"
        folder.mkdir()
        fabric = Fabric(accelerator=device(), devices=1)
        return (Trainer(network, name, dataset, recipe, 1, fabric, folder),), {}

    def train(trainer):
        results.append(trainer.run(lambda **progress: None))

    benchmark.pedantic(train, setup=prepare, rounds=max(1, repeats - 2), warmup_rounds=0)
    audio_s = results[-1].audio_s
    benchmark.extra_info["audio_s"] = audio_s
    benchmark.extra_info["hours_an_hour"] = audio_s / benchmark.stats.stats.median
