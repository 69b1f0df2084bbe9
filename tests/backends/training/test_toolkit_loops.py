"""The training loop with both real toolkits follows the recipe."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from diarbench.backends.recipes import load as recipes
from diarbench.backends.recipes.schema import Recipe
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.errors import UserError
from diarbench.reports.results.run import EPOCH_COLUMNS

pytestmark = pytest.mark.slow
torch = pytest.importorskip("torch")
from diarbench.backends.checkpoints import load_checkpoint
from diarbench.backends.training.distributed import launch_fabric, seed_all
from diarbench.backends.training.trainer import Trainer, TrainingResult

GUIDE = {
    "guide-1-adam": ("Adam", False, 20, 32),
    "guide-2-adamw": ("AdamW", False, 20, 32),
    "guide-3-radam": ("RAdam", False, 20, 32),
    "guide-4-radam-cosine": ("RAdam", True, 20, 32),
    "guide-5-adamw-cosine": ("AdamW", True, 50, 32),
    "guide-6-nadam-cosine": ("NAdam", True, 50, 32),
    "guide-7-nadam-cosine-128": ("NAdam", True, 50, 128),
    "guide-8-nadam-cosine-256": ("NAdam", True, 50, 256),
}
"""The guide's eight experiments: optimizer, cosine annealing, epochs, batch size."""


@pytest.fixture(scope="module")
def tiny(ami_mini: Dataset) -> Dataset:
    """One recording of half a minute in train and one in dev."""
    return replace(ami_mini, recordings={subset: ami_mini.subset(subset)[:1] for subset in ("train", "dev")})


def train(backend: Any, dataset: Dataset, recipe: Recipe, folder: Path) -> tuple[TrainingResult, dict[str, Any]]:
    """Train pretrained pyannote or a compact Sortformer; returns the result and the last checkpoint."""
    fabric = launch_fabric("cpu", 1, 1, "auto", recipe.precision)
    seed_all(1, 0)
    network = backend.network(
        backend.resolve_init("auto" if backend.name == "pyannote" else "scratch"), recipe.objective
    )
    trained = Trainer(network, backend.name, dataset, recipe, 1, fabric, folder).run(lambda **_: None)
    return trained, load_checkpoint(folder / "checkpoints" / "last.ckpt", backend.name)


def default_settings(name: str) -> dict[str, Any]:
    """An optimizer's settings in its state; they differ between the guide's optimizers."""
    optimizer = getattr(torch.optim, name)([torch.nn.Parameter(torch.zeros(1))], lr=1e-4)
    return settings(optimizer.state_dict())


def settings(state: dict[str, Any]) -> dict[str, Any]:
    (group,) = state["param_groups"]
    return {key: value for key, value in group.items() if key not in ("params", "lr", "initial_lr")}


def test_the_guide_s_optimizers_have_different_settings() -> None:
    assert len({str(default_settings(name)) for name, *_ in GUIDE.values()}) == 4
    assert sorted(GUIDE) == [name for name in recipes.names() if name.startswith("guide-")]


@pytest.mark.parametrize("name", GUIDE)
def test_each_experiment_of_the_guide_trains(name: str, backend: Any, tiny: Dataset, tmp_path: Path) -> None:
    """Cut to two epochs of three windows."""
    optimizer, annealed, epochs, batch = GUIDE[name]
    recipe = recipes.load(name)
    assert (recipe.epochs, recipe.learning_rate, recipe.gradient_clip, recipe.patience) == (epochs, 1e-4, 0.5, 10)
    trained, last = train(backend, tiny, recipes.with_settings(recipe, epochs=2), tmp_path)

    table = list(csv.DictReader((tmp_path / "epochs.csv").open()))
    assert list(table[0]) == list(EPOCH_COLUMNS.values())
    assert [row["Epoch"] for row in table] == ["0", "1", "2"]
    for row in table:
        figures = {column: float(value) for column, value in row.items()}
        assert [column for column, value in figures.items() if not math.isfinite(value)] == (
            [column for column in figures if column.startswith("loss/train")] if row["Epoch"] == "0" else []
        )
        assert figures["loss/val"] == pytest.approx(
            figures["loss/val/segmentation"] + figures["loss/val/vad"], abs=2e-6
        )
    assert len({row["loss/val"] for row in table}) == 3, "each epoch changes the loss"

    assert settings(last["optimizer"]) == default_settings(optimizer)
    assert {state["step"].item() for state in last["optimizer"]["state"].values()} == {2}
    assert last["rates"] == pytest.approx([1e-4, 1e-4, 5e-5] if annealed else [1e-4] * 3)
    assert trained.audio_s == 2 * 30
    assert f"a batch of {batch} windows is more than the train subset holds: each epoch is one batch of 3" in (
        trained.notes
    )
    first = load_checkpoint(tmp_path / "checkpoints" / "first.ckpt", backend.name)["weights"]
    changed = [key for key in first if not torch.equal(first[key], last["weights"][key])]
    assert len(changed) > len(first) / 2
    assert all(tensor.isfinite().all() for tensor in last["weights"].values())


def test_training_uses_the_recipe_s_precision(backend: Any, tiny: Dataset, tmp_path: Path) -> None:
    """16 bits change the losses clearly, 64 bits hardly."""
    losses = {}
    for precision in ("32-true", "64-true", "bf16-mixed"):
        recipe = recipes.with_settings(recipes.load("quick"), epochs=1, window_s=5, precision=precision)
        trained, last = train(backend, tiny, recipe, tmp_path / precision)
        assert last["weights"][next(iter(last["weights"]))].dtype == (
            torch.float64 if precision == "64-true" else torch.float32
        )
        losses[precision] = [trained.epochs[0].loss_val, trained.epochs[1].loss_train]
    assert losses["64-true"] == pytest.approx(losses["32-true"], rel=1e-4) and losses["64-true"] != losses["32-true"]
    assert losses["bf16-mixed"] == pytest.approx(losses["32-true"], rel=0.05)
    assert all(abs(a - b) > 1e-5 * b for a, b in zip(losses["bf16-mixed"], losses["32-true"], strict=True))
    with pytest.raises(UserError, match="precision 16-mixed: not available on a CPU; use bf16-mixed or 32-true"):
        launch_fabric("cpu", 1, 1, "auto", "16-mixed")
