"""The training loop with both real toolkits: what a recipe asks for is what is done to their networks."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from diarbench.backends import recipes
from diarbench.backends.recipes import Recipe
from diarbench.datasets.layout import Dataset
from diarbench.reports.records import EPOCH_COLUMNS, UserError

pytestmark = pytest.mark.slow
torch = pytest.importorskip("torch")
from diarbench.backends.base import load_checkpoint  # noqa: E402
from diarbench.backends.training import Trained, Trainer, launched, seed_all  # noqa: E402

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
"""The guide's eight experiments: optimizer, whether the rate is annealed, epochs, batch."""


@pytest.fixture(scope="module")
def tiny(ami_mini: Dataset) -> Dataset:
    """A recording of half a minute to train on, and one to choose by."""
    return replace(ami_mini, recordings={subset: ami_mini.subset(subset)[:1] for subset in ("train", "dev")})


def train(backend: Any, dataset: Dataset, recipe: Recipe, folder: Path) -> tuple[Trained, dict[str, Any]]:
    """Train pretrained pyannote or a compact Sortformer; what that came to, and the last checkpoint."""
    fabric = launched("cpu", 1, 1, "auto", recipe.precision)
    seed_all(1, 0)
    network = backend.network(backend.locate("auto" if backend.name == "pyannote" else "scratch"), recipe.objective)
    trained = Trainer(network, backend.name, dataset, recipe, 1, fabric, folder).run(lambda **_: None)
    return trained, load_checkpoint(folder / "checkpoints" / "last.ckpt", backend.name)


def groups_of(name: str) -> dict[str, Any]:
    """An optimizer's settings as its state tells them: no two of the guide's have the same."""
    optimizer = getattr(torch.optim, name)([torch.nn.Parameter(torch.zeros(1))], lr=1e-4)
    return told(optimizer.state_dict())


def told(state: dict[str, Any]) -> dict[str, Any]:
    (group,) = state["param_groups"]
    return {key: value for key, value in group.items() if key not in ("params", "lr", "initial_lr")}


def test_the_guide_s_optimizers_are_told_apart() -> None:
    assert len({str(groups_of(name)) for name, *_ in GUIDE.values()}) == 4
    assert sorted(GUIDE) == [name for name in recipes.names() if name.startswith("guide-")]


@pytest.mark.parametrize("name", GUIDE)
def test_each_experiment_of_the_guide_trains(name: str, backend: Any, tiny: Dataset, tmp_path: Path) -> None:
    """Cut to two epochs of three windows."""
    optimizer, annealed, epochs, batch = GUIDE[name]
    whole = recipes.load(name)
    assert (whole.epochs, whole.learning_rate, whole.gradient_clip, whole.patience) == (epochs, 1e-4, 0.5, 10)
    trained, last = train(backend, tiny, recipes.altered(whole, epochs=2), tmp_path)

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
    assert len({row["loss/val"] for row in table}) == 3, "each epoch changes what it says"

    assert told(last["optimizer"]) == groups_of(optimizer)
    assert {state["step"].item() for state in last["optimizer"]["state"].values()} == {2}
    assert last["rates"] == pytest.approx([1e-4, 1e-4, 5e-5] if annealed else [1e-4] * 3)
    assert trained.audio_s == 2 * 30
    assert f"a batch of {batch} windows is more than the train subset holds: each epoch is one batch of 3" in (
        trained.notes
    )
    first = load_checkpoint(tmp_path / "checkpoints" / "first.ckpt", backend.name)["weights"]
    moved = [key for key in first if not torch.equal(first[key], last["weights"][key])]
    assert len(moved) > len(first) / 2
    assert all(tensor.isfinite().all() for tensor in last["weights"].values())


def test_precision_is_what_is_trained_in(backend: Any, tiny: Dataset, tmp_path: Path) -> None:
    """16 bits change the losses, and 64 bits next to nothing."""
    found = {}
    for precision in ("32-true", "64-true", "bf16-mixed"):
        recipe = recipes.altered(recipes.load("quick"), epochs=1, window_s=5, precision=precision)
        trained, last = train(backend, tiny, recipe, tmp_path / precision)
        assert last["weights"][next(iter(last["weights"]))].dtype == (
            torch.float64 if precision == "64-true" else torch.float32
        )
        found[precision] = [trained.epochs[0].loss_val, trained.epochs[1].loss_train]
    assert found["64-true"] == pytest.approx(found["32-true"], rel=1e-4) and found["64-true"] != found["32-true"]
    assert found["bf16-mixed"] == pytest.approx(found["32-true"], rel=0.05)
    assert all(abs(a - b) > 1e-5 * b for a, b in zip(found["bf16-mixed"], found["32-true"], strict=True))
    with pytest.raises(UserError, match="precision 16-mixed: not on a CPU; take bf16-mixed, or 32-true"):
        launched("cpu", 1, 1, "auto", "16-mixed")
