"""Train both toolkits for an epoch or two with one process or several: ``ddp_script.py DEVICES FOLDER KIND``.

With dropout off and BatchNorm frozen, so that the losses of several are those of one. Lightning starts this script
again for each further process.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from diarbench.backends import registry
from diarbench.backends.recipes.schema import Recipe
from diarbench.backends.training.distributed import launch_fabric, seed_all
from diarbench.backends.training.trainer import Trainer
from diarbench.datasets.corpora.catalog import open_dataset

RECIPE = Recipe(
    name="ddp",
    optimizer="SGD",
    optimizer_options={"momentum": 0.9},
    learning_rate=0.01,
    schedule={"name": "PolynomialLR", "every": "step"},
    epochs=2,
    # Of six windows: two processes have three and two of the first batch, and one and none of the second.
    batch_size=5,
    window_s=10,
    gradient_clip=0.5,
    average=0.9,
    freeze={"nemo": ["*.batch_norm.*"]},
)


def without_dropout(network: Any) -> None:
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(module, torch.nn.LSTM):
            module.dropout = 0.0


def still(network: Any) -> None:
    """Nothing that a process would draw for itself."""
    without_dropout(network)
    if hasattr(network.model, "preprocessor"):
        network.model.preprocessor.featurizer.dither = 0.0
        # NeMo scales a batch by its loudest sample, which is not that of each process's share: here each window is so
        # loud that nothing is left to scale.
        own = network.model.process_signal
        network.model.process_signal = lambda audio_signal, audio_signal_length: own(
            audio_signal / audio_signal.amax(dim=1, keepdim=True), audio_signal_length
        )


def main() -> None:
    torch.set_num_threads(1)
    torch.backends.cudnn.allow_tf32 = False  # the losses of one and of several devices are compared in full precision
    folder = Path(sys.argv[2])
    fabric = launch_fabric(sys.argv[3], int(sys.argv[1]), nodes=1, strategy="auto", precision="32-true")
    dataset = open_dataset("ami-mini")
    few = {"train": dataset.subset("train")[:2], "dev": dataset.subset("dev")[:1], "test": dataset.subset("test")}
    for name in ("pyannote", "nemo"):
        seed_all(1, 0)
        backend = registry.load(name)
        network: Any = backend.network(backend.resolve_init("auto"), RECIPE.objective)
        still(network)
        Trainer(network, name, replace(dataset, recordings=few), RECIPE, 1, fabric, folder / name).run(lambda **_: None)


if __name__ == "__main__":
    main()
