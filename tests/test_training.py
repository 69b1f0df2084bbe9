"""The training loop with a network of a few parameters: a recipe is followed, and a stop changes nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diarbench.backends.recipes import Recipe, Schedule
from diarbench.datasets.layout import Dataset
from diarbench.reports.records import UserError

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent / "dummy_backend"))

from dummy_backend import make_network  # noqa: E402
from lightning.fabric import Fabric  # noqa: E402

from diarbench.backends.base import load_checkpoint  # noqa: E402
from diarbench.backends.optimizing import Average, LearningRate, freeze, optimizer_of  # noqa: E402
from diarbench.backends.training import Trained, Trainer, seed_all  # noqa: E402

BASIC = Recipe(name="basic", optimizer="SGD", learning_rate=0.1, epochs=4, batch_size=8, window_s=10)


class StopHereError(Exception):
    """In place of a signal: the trainer is left as it is."""


def trainer(dataset: Dataset, recipe: Recipe, folder: Path) -> Trainer:
    seed_all(1, 0)
    return Trainer(make_network(), "dummy", dataset, recipe, 1, Fabric(accelerator="cpu", devices=1), folder)


def train(dataset: Dataset, recipe: Recipe, folder: Path, progress: Callable[..., None] = lambda **_: None) -> Trained:
    return trainer(dataset, recipe, folder).run(progress)


def moment(event: dict[str, Any]) -> tuple[int, int | None]:
    """Epoch and batch of a progress event; no batch where an epoch is finished."""
    return (event["finished"]["epoch"], None) if "finished" in event else (event["epoch"], event["done"])


def rates(recipe: Recipe, steps_an_epoch: int, figures: list[float] | None = None) -> list[float]:
    """The learning rate of each step, rounded."""
    optimizer = optimizer_of(torch.nn.Linear(1, 1), recipe, {})
    rate, seen = LearningRate(optimizer, recipe, steps_an_epoch), []
    for epoch in range(recipe.epochs):
        for _ in range(steps_an_epoch):
            seen.append(round(optimizer.param_groups[0]["lr"], 6))
            optimizer.step()
            rate.after_step()
        rate.after_epoch(figures[epoch] if figures else 0.0)
    return seen


def with_schedule(name: str, every: str = "epoch", warmup: float = 0, **options: Any) -> Recipe:
    return BASIC.model_copy(
        update={"schedule": Schedule(name=name, every=every, options=options), "warmup": warmup}  # type: ignore[arg-type]
    )


def test_an_epoch_of_some_of_the_hours(ami_mini: Dataset, tmp_path: Path) -> None:
    """Five minutes hold 30 windows of 10 s; an epoch of two minutes has 12 of them, others each time."""
    recipe = BASIC.model_copy(update={"epoch_hours": 2 / 60, "epochs": 2})
    assert trainer(ami_mini, BASIC, tmp_path / "all").windows_an_epoch == 30
    part = trainer(ami_mini, recipe, tmp_path / "part")
    drawn = [{window.recording.uri for window in part._draw(epoch)} for epoch in range(1, 9)]
    assert set.union(*drawn) == {recording.uri for recording in ami_mini.subset("train")}
    assert any(uris != drawn[0] for uris in drawn)
    assert part.run(lambda **_: None).audio_s == 2 * 120


def test_the_learning_rate_of_each_step_by_hand() -> None:
    assert rates(BASIC, 2) == [0.1] * 8
    # (1 + cos(pi k / 4)) / 2 of 0.1 in epoch k of four.
    cosine = [0.1, 0.085355, 0.05, 0.014645]
    assert rates(with_schedule("CosineAnnealingLR"), 2) == [rate for rate in cosine for _ in range(2)]
    assert rates(with_schedule("PolynomialLR", every="step"), 1) == [0.1, 0.075, 0.05, 0.025]
    # A quarter of eight steps climbs by thirds to where the schedule begins; the other six go down to nothing.
    climbing = rates(with_schedule("PolynomialLR", every="step", warmup=0.25), 2)
    assert climbing == [0.033333, 0.066667, *[round(0.1 * k / 6, 6) for k in (6, 5, 4, 3, 2, 1)]]
    # By epochs: the first of four is the climb, three are left to the cosine.
    assert rates(with_schedule("CosineAnnealingLR", warmup=0.25), 2) == [
        *(0.033333, 0.066667),
        *(rate for rate in (0.1, 0.075, 0.025) for _ in range(2)),
    ]
    halved = rates(with_schedule("ReduceLROnPlateau", factor=0.5, patience=0), 1, figures=[1.0, 1.0, 0.5, 0.5])
    assert halved == [0.1, 0.1, 0.05, 0.05]
    one_cycle = rates(with_schedule("OneCycleLR", pct_start=0.5), 2)
    assert max(one_cycle) == 0.1 and one_cycle[0] == 0.004 and one_cycle[-1] < 0.004


def test_values_that_torch_refuses_are_told() -> None:
    network = torch.nn.Linear(1, 1)
    with pytest.raises(UserError, match="recipe basic: optimizer_options: Invalid momentum value: -1"):
        optimizer_of(network, BASIC.model_copy(update={"optimizer_options": {"momentum": -1}}), {})
    recipe = with_schedule("OneCycleLR", pct_start=2)
    with pytest.raises(UserError, match="recipe basic: schedule: OneCycleLR: Expected float between 0 and 1"):
        LearningRate(optimizer_of(network, recipe, {}), recipe, 1)


def test_accumulated_batches_are_as_one_larger_batch(ami_mini: Dataset, tmp_path: Path) -> None:
    """Thirty windows: the last batch of eight has six, and so has the last step of two batches of eight."""
    whole = train(ami_mini, BASIC.model_copy(update={"batch_size": 16}), tmp_path / "16")
    parts = train(ami_mini, BASIC.model_copy(update={"accumulate": 2}), tmp_path / "2x8")
    for a, b in zip(whole.epochs, parts.epochs, strict=True):
        assert a.model_dump() == pytest.approx(b.model_dump(), abs=1e-6)
    assert whole.epochs[0].loss_val != pytest.approx(whole.epochs[1].loss_val, abs=1e-3)


def test_frozen_layers_rest_and_layers_have_rates_of_their_own() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 2))
    resting = freeze(network, ["1.*"])
    assert resting == [network[1]]
    optimizer = optimizer_of(network, BASIC, {"*.weight": 0.1, "2.*": 0.5})
    assert [(len(group["params"]), group["lr"]) for group in optimizer.param_groups] == [
        (2, pytest.approx(0.01)),
        (1, pytest.approx(0.1)),
        (1, pytest.approx(0.05)),
    ]
    with pytest.raises(UserError, match=r"freeze: 'lstm.\*' fits no parameter of the network; its parts are 0.bias, "):
        freeze(network, ["lstm.*"])
    with pytest.raises(UserError, match=r"layer_rates: 'lstm.\*' fits no parameter"):
        optimizer_of(network, BASIC, {"lstm.*": 2.0})
    with pytest.raises(UserError, match="every parameter of the network is frozen"):
        freeze(network, ["*"])


def test_a_frozen_network_s_statistics_stay(ami_mini: Dataset, tmp_path: Path) -> None:
    made = trainer(ami_mini, BASIC.model_copy(update={"freeze": {"dummy": ("layer.weight",)}}), tmp_path)
    before = {name: value.clone() for name, value in made.plain.state_dict().items()}
    made.run(lambda **_: None)
    after = made.plain.state_dict()
    assert torch.equal(before["layer.weight"], after["layer.weight"])
    assert not torch.equal(before["layer.bias"], after["layer.bias"])


def test_the_average_by_hand() -> None:
    network = torch.nn.Linear(1, 1, bias=False)
    network.weight.data.fill_(0.0)
    average = Average(network, decay=0.5)
    network.weight.data.fill_(1.0)
    average.after_step(1)  # a young average keeps 2/11 of what it was
    assert average.weights["weight"].item() == pytest.approx(9 / 11)
    average.after_step(100)
    with average.in_place():
        assert network.weight.item() == pytest.approx((9 / 11 + 1) / 2)
    assert network.weight.item() == 1.0


def test_the_average_has_a_batch_norm_s_measures_too() -> None:
    network = torch.nn.BatchNorm1d(1)
    average = Average(network, decay=0.5)
    network(torch.tensor([[9.0], [11.0]]))  # of a mean of 10 and variance of 2; a tenth of each is taken over
    average.after_step(100)
    with average.in_place():
        assert (network.running_mean.item(), network.running_var.item()) == pytest.approx((0.5, 1.05))
    assert (network.running_mean.item(), network.running_var.item()) == pytest.approx((1.0, 1.1))


def test_early_stopping_keeps_the_best_by_the_recipe_s_figure(ami_mini: Dataset, tmp_path: Path) -> None:
    """A rate far too high: from some epoch on nothing gets better."""
    recipe = BASIC.model_copy(update={"learning_rate": 300.0, "epochs": 30, "patience": 2, "best": "loss/val"})
    trained = train(ami_mini, recipe, tmp_path)
    losses = [epoch.loss_val for epoch in trained.epochs]
    assert trained.best_epoch == losses.index(min(losses[1:])) == len(losses) - 3 < 28
    assert trained.notes[0] == (
        f"stopped after epoch {len(losses) - 1} of 30: 2 epochs were no better than epoch {trained.best_epoch} "
        "by loss/val"
    )


EVERYTHING = BASIC.model_copy(
    update={
        "optimizer": "NAdam",
        "accumulate": 3,
        "gradient_clip": 0.5,
        "warmup": 0.2,
        "patience": 3,
        "average": 0.9,
        "layer_rates": {"dummy": {"*.bias": 0.1}},
    }
)


@pytest.mark.parametrize(
    ("schedule", "at"),
    [
        (Schedule(name="ReduceLROnPlateau", options={"patience": 0}), (3, 1)),
        (Schedule(name="CosineAnnealingLR", every="step"), (2, 4)),
        (Schedule(name="MultiStepLR", options={"milestones": [1, 3]}), (4, 2)),
        (Schedule(name="CyclicLR", options={"base_lr": 0.01, "step_size_up": 2}), (2, None)),
        (Schedule(name="OneCycleLR"), (1, 2)),
    ],
    ids=lambda value: value.name if isinstance(value, Schedule) else "",
)
def test_a_stop_at_any_step_changes_nothing(
    schedule: Schedule, at: tuple[int, int | None], ami_mini: Dataset, tmp_path: Path
) -> None:
    recipe = EVERYTHING.model_copy(
        update={"schedule": schedule, "warmup": 0 if schedule.name == "OneCycleLR" else EVERYTHING.warmup}
    )
    whole = train(ami_mini, recipe, tmp_path / "whole")

    def stop(**event: Any) -> None:
        if moment(event) == at:
            raise StopHereError

    with pytest.raises(StopHereError):
        train(ami_mini, recipe, tmp_path / "stopped", stop)
    (tmp_path / "stopped" / "epochs.csv").unlink()  # as if the stop had come before it was written
    again = train(ami_mini, recipe, tmp_path / "stopped")
    assert again.epochs == whole.epochs and again.best_epoch == whole.best_epoch
    assert (tmp_path / "stopped/epochs.csv").read_bytes() == (tmp_path / "whole/epochs.csv").read_bytes()
    for name in ("last", "best"):
        a, b = (
            load_checkpoint(tmp_path / run / "checkpoints" / f"{name}.ckpt", "dummy") for run in ("whole", "stopped")
        )
        for key, weights in a["weights"].items():
            assert torch.equal(weights, b["weights"][key])


def test_a_batch_larger_than_an_epoch_is_told(ami_mini: Dataset, tmp_path: Path) -> None:
    trained = train(ami_mini, BASIC.model_copy(update={"batch_size": 256, "epochs": 1}), tmp_path)
    assert trained.audio_s == 300
    assert trained.notes[0] == (
        "a batch of 256 windows is more than the train subset holds: each epoch is one batch of 30"
    )


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_epoch(ami_mini: Dataset, tmp_path: Path) -> None:
    made = trainer(ami_mini, BASIC, tmp_path)

    def spoil(**event: Any) -> None:
        if moment(event) == (2, 4):
            made.plain.layer.weight.data.fill_(torch.nan)

    with pytest.raises(
        UserError, match="weights are no numbers any more on dev in epoch 2: lower the learning rate; epoch 1"
    ):
        made.run(spoil)
    kept = load_checkpoint(tmp_path / "checkpoints" / "last.ckpt", "dummy")
    assert len(kept["epochs"]) == 2 and torch.isfinite(kept["weights"]["layer.weight"]).all()


@pytest.mark.parametrize(
    ("spoilt", "told"),
    [
        (lambda loss, weight: loss * torch.nan, "the loss became nan in epoch 2, batch 1"),
        # No more than nothing is added to the loss, and its gradient is no number.
        (lambda loss, weight: loss + (weight * 0).abs().sqrt().sum(), "a gradient became nan in epoch 2"),
    ],
)
def test_a_loss_or_gradient_that_is_no_number_spoils_no_weights(
    spoilt: Callable[[Any, Any], Any], told: str, ami_mini: Dataset, tmp_path: Path
) -> None:
    made = trainer(ami_mini, BASIC, tmp_path)
    own = made.plain.loss

    def loss(waveforms: Any, targets: Any) -> Any:
        losses = own(waveforms, targets)
        late = len(made.epochs) == 2 and made.plain.training
        return losses._replace(total=spoilt(losses.total, made.plain.layer.weight)) if late else losses

    made.plain.loss = loss
    with pytest.raises(UserError, match=f"{told}: lower the learning rate; epoch 1 is kept in .*last.ckpt"):
        made.run(lambda **_: None)
    kept = load_checkpoint(tmp_path / "checkpoints" / "last.ckpt", "dummy")
    assert len(kept["epochs"]) == 2 == len((tmp_path / "epochs.csv").read_text().splitlines()) - 1
    assert all(torch.equal(kept["weights"][name], value) for name, value in made.plain.state_dict().items())


def test_recordings_shorter_than_the_window_are_told_before_training(ami_mini: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no annotated train region holds a window of 31 s; take a recipe with a short"):
        trainer(ami_mini, BASIC.model_copy(update={"window_s": 31}), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_batch_that_does_not_fit_is_one_line(ami_mini: Dataset, tmp_path: Path) -> None:
    """The network asks torch for more than any machine has."""
    made = trainer(ami_mini, BASIC, tmp_path)
    own = made.plain.loss
    made.plain.loss = lambda waveforms, targets: own(waveforms, targets + torch.empty(len(waveforms) << 45).sum())
    with pytest.raises(
        UserError, match="a batch of 8 windows of 10 s does not fit in the memory of cpu: lower batch_size"
    ):
        made._train_epoch(1, lambda **_: None)
