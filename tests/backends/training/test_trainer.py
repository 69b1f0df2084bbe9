"""The training loop with a network of a few parameters: recipe settings, resuming and error messages."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from places import DUMMY_BACKEND

from diarbench.backends.recipes.load import with_settings
from diarbench.backends.recipes.schema import Recipe, Schedule
from diarbench.datasets.dataset import Dataset, MixedRecordings
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.rttm import Region

torch = pytest.importorskip("torch")
sys.path.insert(0, str(DUMMY_BACKEND))

from dummy_backend import make_network
from lightning.fabric import Fabric

from diarbench.backends.checkpoints import load_checkpoint, save_checkpoint
from diarbench.backends.threads import usable_cores
from diarbench.backends.training import trainer as trainer_module
from diarbench.backends.training.averaging import ExponentialMovingAverage
from diarbench.backends.training.batches import default_workers
from diarbench.backends.training.distributed import seed_all
from diarbench.backends.training.optimizer import build_optimizer, freeze
from diarbench.backends.training.schedule import WarmupSchedule
from diarbench.backends.training.trainer import Trainer, TrainingResult

BASIC = Recipe(name="basic", optimizer="SGD", learning_rate=0.1, epochs=4, batch_size=8, window_s=10)


class StopHereError(Exception):
    """Stops a training in place of a signal."""


def trainer(dataset: Dataset, recipe: Recipe, folder: Path) -> Trainer:
    seed_all(1, 0)
    return Trainer(make_network(), "dummy", dataset, recipe, 1, Fabric(accelerator="cpu", devices=1), folder)


def train(
    dataset: Dataset, recipe: Recipe, folder: Path, progress: Callable[..., None] = lambda **_: None
) -> TrainingResult:
    return trainer(dataset, recipe, folder).run(progress)


def epoch_and_batch(event: dict[str, Any]) -> tuple[int, int | None]:
    """Epoch and batch of a progress event; the batch is None where the epoch is finished."""
    return (event["finished"]["epoch"], None) if "finished" in event else (event["epoch"], event["done"])


def rates(recipe: Recipe, steps_per_epoch: int, figures: list[float] | None = None) -> list[float]:
    """The learning rate of each step, rounded."""
    optimizer = build_optimizer(torch.nn.Linear(1, 1), recipe, {})
    schedule, rates_of_steps = WarmupSchedule(optimizer, recipe, steps_per_epoch), []
    for epoch in range(recipe.epochs):
        for _ in range(steps_per_epoch):
            rates_of_steps.append(round(optimizer.param_groups[0]["lr"], 6))
            optimizer.step()
            schedule.after_step()
        schedule.after_epoch(figures[epoch] if figures else 0.0)
    return rates_of_steps


def with_schedule(name: str, every: str = "epoch", warmup: float = 0, **options: Any) -> Recipe:
    return BASIC.model_copy(
        update={"schedule": Schedule(name=name, every=every, options=options), "warmup": warmup}  # type: ignore[arg-type]
    )


def test_epoch_hours_limits_an_epoch(ami_mini: Dataset, tmp_path: Path) -> None:
    """Five minutes hold 30 windows of 10 s; an epoch of two minutes has 12 of them, different ones each time."""
    recipe = BASIC.model_copy(update={"epoch_hours": 2 / 60, "epochs": 2})
    assert trainer(ami_mini, BASIC, tmp_path / "all").loader.windows_per_epoch == 30
    part = trainer(ami_mini, recipe, tmp_path / "part")
    drawn = [{window.recording.uri for window in part.loader.train_windows(epoch)} for epoch in range(1, 9)]
    assert set.union(*drawn) == {recording.uri for recording in ami_mini.subset("train")}
    assert any(uris != drawn[0] for uris in drawn)
    assert part.run(lambda **_: None).audio_s == 2 * 120


def test_an_epoch_of_so_many_steps_goes_on_where_the_last_one_ended(ami_mini: Dataset, tmp_path: Path) -> None:
    """Five steps of eight windows are more than one pass over thirty; three such epochs are exactly four passes."""
    recipe = with_settings(BASIC, epochs=3, max_steps=15, evaluate_every=5)
    loader = trainer(ami_mini, recipe, tmp_path / "steps").loader
    assert loader.batches_per_epoch == 5
    drawn = [window for epoch in (1, 2, 3) for window in loader.train_windows(epoch)]
    passes = trainer(ami_mini, BASIC, tmp_path / "passes").loader
    assert drawn == [window for number in (1, 2, 3, 4) for window in passes.train_windows(number)]
    trained = train(ami_mini, recipe, tmp_path / "trained")
    assert len(trained.epochs) == 4 and trained.audio_s == 15 * 8 * 10
    assert "an epoch of this recipe is 5 steps" in trained.notes


def test_a_share_of_each_epoch_is_mixed_in_and_all_of_it_in_turn(ami_mini: Dataset, tmp_path: Path) -> None:
    """Six recordings have 18 windows of 10 s; 6 more are a quarter. Four others have 12: two epochs hold each once."""
    own, others = ami_mini.subset("train")[:6], ami_mini.subset("train")[6:]
    mixed = MixedRecordings("others", others, 0.25)
    dataset = replace(ami_mini, recordings={**ami_mini.recordings, "train": own}, mixed_in=(mixed,))
    loader = trainer(dataset, BASIC, tmp_path / "mixed").loader
    epochs = [loader.train_windows(number) for number in (1, 2)]
    assert [len(windows) for windows in epochs] == [24, 24]
    drawn = [window for windows in epochs for window in windows if window.recording in others]
    assert {recording.uri: sum(w.recording is recording for w in drawn) for recording in others} == dict.fromkeys(
        (recording.uri for recording in others), 3
    )
    first = [window.recording in others for window in epochs[0]]
    assert sum(first) == 6 and not all(first[-6:]), "between the others"
    trained = train(dataset, BASIC.model_copy(update={"epochs": 1}), tmp_path / "trained")
    assert trained.audio_s == 240
    assert "25% of the windows of each epoch are from the train subset of others" in trained.notes
    with pytest.raises(UserError, match="mix: others: no annotated train region is as long as a window of 30 s"):
        short = tuple(replace(recording, only=(Region(0, 29),)) for recording in others)
        trainer(
            replace(dataset, mixed_in=(replace(mixed, recordings=short),)),
            BASIC.model_copy(update={"window_s": 30}),
            tmp_path,
        )


def test_the_average_of_the_best_epochs_is_one_more_epoch(ami_mini: Dataset, tmp_path: Path) -> None:
    recipe = with_settings(BASIC, average_best=2, best="loss/val")
    trained = train(ami_mini, recipe, tmp_path / "averaged")
    alone = train(ami_mini, with_settings(BASIC, best="loss/val"), tmp_path / "alone")
    assert trained.epochs[:5] == alone.epochs and len(trained.epochs) == 6
    best = sorted(range(1, 5), key=lambda number: alone.epochs[number].loss_val)[:2]
    assert f"epoch 5 is the average of the weights of epochs {min(best)}, {max(best)}" in trained.notes
    folder = tmp_path / "averaged" / "checkpoints"
    assert {path.stem for path in folder.glob("epoch-*")} == {f"epoch-{number}" for number in best}
    a, b, mean = (
        load_checkpoint(folder / f"{name}.ckpt", "dummy")["weights"] for name in (*map("epoch-{}".format, best), "last")
    )
    for name, weights in mean.items():
        torch.testing.assert_close(weights, (a[name] + b[name]) / 2)
    assert train(ami_mini, recipe, tmp_path / "averaged").epochs == trained.epochs  # resumed after its end


def test_the_learning_rate_of_each_step_by_hand() -> None:
    assert rates(BASIC, 2) == [0.1] * 8
    # (1 + cos(pi k / 4)) / 2 of 0.1 in epoch k of four.
    cosine = [0.1, 0.085355, 0.05, 0.014645]
    assert rates(with_schedule("CosineAnnealingLR"), 2) == [rate for rate in cosine for _ in range(2)]
    assert rates(with_schedule("PolynomialLR", every="step"), 1) == [0.1, 0.075, 0.05, 0.025]
    # A quarter of eight steps rises by thirds to the start of the schedule; the other six fall to 0.
    warmed_up = rates(with_schedule("PolynomialLR", every="step", warmup=0.25), 2)
    assert warmed_up == [0.033333, 0.066667, *[round(0.1 * k / 6, 6) for k in (6, 5, 4, 3, 2, 1)]]
    # Per epoch: the first of four is the warm-up, three are left for the cosine.
    assert rates(with_schedule("CosineAnnealingLR", warmup=0.25), 2) == [
        *(0.033333, 0.066667),
        *(rate for rate in (0.1, 0.075, 0.025) for _ in range(2)),
    ]
    halved = rates(with_schedule("ReduceLROnPlateau", factor=0.5, patience=0), 1, figures=[1.0, 1.0, 0.5, 0.5])
    assert halved == [0.1, 0.1, 0.05, 0.05]
    one_cycle = rates(with_schedule("OneCycleLR", pct_start=0.5), 2)
    assert max(one_cycle) == 0.1 and one_cycle[0] == 0.004 and one_cycle[-1] < 0.004


def test_values_that_torch_rejects() -> None:
    network = torch.nn.Linear(1, 1)
    with pytest.raises(UserError, match="recipe basic: optimizer_options: Invalid momentum value: -1"):
        build_optimizer(network, BASIC.model_copy(update={"optimizer_options": {"momentum": -1}}), {})
    recipe = with_schedule("OneCycleLR", pct_start=2)
    with pytest.raises(UserError, match="recipe basic: schedule: OneCycleLR: Expected float between 0 and 1"):
        WarmupSchedule(build_optimizer(network, recipe, {}), recipe, 1)


def test_accumulated_batches_equal_one_larger_batch(ami_mini: Dataset, tmp_path: Path) -> None:
    """Thirty windows: the last batch of eight has six, and so has the last step of two batches of eight."""
    large = train(ami_mini, BASIC.model_copy(update={"batch_size": 16}), tmp_path / "16")
    accumulated = train(ami_mini, BASIC.model_copy(update={"accumulate": 2}), tmp_path / "2x8")
    for a, b in zip(large.epochs, accumulated.epochs, strict=True):
        assert a.model_dump() == pytest.approx(b.model_dump(), abs=1e-6)
    assert large.epochs[0].loss_val != pytest.approx(large.epochs[1].loss_val, abs=1e-3)


def test_frozen_layers_and_learning_rates_per_layer() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 2))
    frozen_modules = freeze(network, ["1.*"])
    assert frozen_modules == [network[1]]
    optimizer = build_optimizer(network, BASIC, {"*.weight": 0.1, "2.*": 0.5})
    assert [(len(group["params"]), group["lr"]) for group in optimizer.param_groups] == [
        (2, pytest.approx(0.01)),
        (1, pytest.approx(0.1)),
        (1, pytest.approx(0.05)),
    ]
    with pytest.raises(
        UserError, match=r"freeze: 'lstm.\*' matches no parameter of the network; its parts are 0.bias, "
    ):
        freeze(network, ["lstm.*"])
    with pytest.raises(UserError, match=r"layer_rates: 'lstm.\*' matches no parameter"):
        build_optimizer(network, BASIC, {"lstm.*": 2.0})
    with pytest.raises(UserError, match="every parameter of the network is frozen"):
        freeze(network, ["*"])


def test_a_frozen_parameter_does_not_change(ami_mini: Dataset, tmp_path: Path) -> None:
    training = trainer(ami_mini, BASIC.model_copy(update={"freeze": {"dummy": ("layer.weight",)}}), tmp_path)
    before = {name: value.clone() for name, value in training.network.state_dict().items()}
    training.run(lambda **_: None)
    after = training.network.state_dict()
    assert torch.equal(before["layer.weight"], after["layer.weight"])
    assert not torch.equal(before["layer.bias"], after["layer.bias"])


def test_moving_average_by_hand() -> None:
    network = torch.nn.Linear(1, 1, bias=False)
    network.weight.data.fill_(0.0)
    average = ExponentialMovingAverage(network, decay=0.5)
    network.weight.data.fill_(1.0)
    average.after_step(1)  # an early average keeps 2/11 of its value
    assert average.weights["weight"].item() == pytest.approx(9 / 11)
    average.after_step(100)
    with average.in_place():
        assert network.weight.item() == pytest.approx((9 / 11 + 1) / 2)
    assert network.weight.item() == 1.0


def test_moving_average_includes_batch_norm_statistics() -> None:
    network = torch.nn.BatchNorm1d(1)
    average = ExponentialMovingAverage(network, decay=0.5)
    network(torch.tensor([[9.0], [11.0]]))  # mean 10, variance 2; the momentum is a tenth
    average.after_step(100)
    with average.in_place():
        assert (network.running_mean.item(), network.running_var.item()) == pytest.approx((0.5, 1.05))
    assert (network.running_mean.item(), network.running_var.item()) == pytest.approx((1.0, 1.1))


def test_moving_average_equals_that_of_torch() -> None:
    """The same parameters as `AveragedModel`, which cannot average running statistics without all other buffers."""
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    average = ExponentialMovingAverage(network, decay=0.3)
    averaged = torch.optim.swa_utils.AveragedModel(
        network,
        multi_avg_fn=lambda own, new, n: torch._foreach_lerp_(own, new, 1 - min(0.3, (1 + int(n)) / (10 + int(n)))),
    )
    averaged.update_parameters(network)  # the first call only copies
    for step in range(1, 9):
        for parameter in network.parameters():
            parameter.data += torch.randn_like(parameter)
        average.after_step(step)
        averaged.update_parameters(network)
        for name, parameter in averaged.module.named_parameters():
            assert torch.equal(average.weights[name], parameter)


def test_early_stopping_keeps_the_best_by_the_recipe_s_figure(ami_mini: Dataset, tmp_path: Path) -> None:
    """With far too high a learning rate nothing improves after some epoch."""
    recipe = BASIC.model_copy(update={"learning_rate": 300.0, "epochs": 30, "patience": 2, "best": "loss/val"})
    trained = train(ami_mini, recipe, tmp_path)
    losses = [epoch.loss_val for epoch in trained.epochs]
    assert trained.best_epoch == losses.index(min(losses[1:])) == len(losses) - 3 < 28
    assert trained.notes[0] == (
        f"stopped after epoch {len(losses) - 1} of 30: no improvement on epoch {trained.best_epoch} by loss/val "
        "in 2 epochs"
    )


def train_from_pretrained(dataset: Dataset, recipe: Recipe, folder: Path) -> TrainingResult:
    seed_all(1, 0)
    network, fabric = make_network(), Fabric(accelerator="cpu", devices=1)
    return Trainer(network, "dummy", dataset, recipe, 1, fabric, folder, may_keep_first=True).run(lambda **_: None)


def weights_of(folder: Path, name: str) -> dict[str, Any]:
    return load_checkpoint(folder / "checkpoints" / f"{name}.ckpt", "dummy")["weights"]


def test_the_pretrained_network_is_kept_where_training_does_not_help(
    ami_mini: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diarbench.datasets.io.files.LARGEST_BYTES", 1000)  # checkpoints may be of any size
    recipe = BASIC.model_copy(update={"learning_rate": 1e-9, "epochs": 2})
    for _ in range(2):  # the second time it resumes after the last epoch
        kept = train_from_pretrained(ami_mini, recipe, tmp_path)
        assert kept.best_epoch == 0 and kept.choice is not None and kept.choice.kept_start
        assert kept.choice.lowest in (1, 2) and kept.choice.recordings == 2
        assert kept.choice.reason == (
            f"the pretrained network is kept: epoch {kept.choice.lowest} is not better on dev (+0.0 points)"
        )
        best, first = weights_of(tmp_path, "best"), weights_of(tmp_path, "first")
        assert all(torch.equal(best[name], first[name]) for name in first)
    required = train(ami_mini, recipe, tmp_path / "required")
    assert required.best_epoch == kept.choice.lowest and required.choice is None


def test_a_trained_network_that_dev_shows_to_be_better_is_chosen(ami_mini: Dataset, tmp_path: Path) -> None:
    many = replace(ami_mini, recordings={**ami_mini.recordings, "dev": ami_mini.recordings["train"]})
    trained = train_from_pretrained(many, BASIC, tmp_path)
    choice = trained.choice
    assert choice is not None and choice.chosen == trained.best_epoch == choice.lowest > 0
    assert choice.gain == pytest.approx(trained.epochs[0].der - trained.epochs[choice.chosen].der)
    assert choice.at_least is not None and 0 < choice.at_least < choice.gain
    assert choice.reason.endswith(f"(80 % lower bound {100 * choice.at_least:+.1f} points, 10 recordings)")


EVERYTHING = BASIC.model_copy(
    update={
        "optimizer": "NAdam",
        "accumulate": 3,
        "gradient_clip": 0.5,
        "warmup": 0.2,
        "patience": 3,
        "average": 0.9,
        "average_best": 2,
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
def test_a_resumed_training_equals_an_uninterrupted_one(
    schedule: Schedule, at: tuple[int, int | None], ami_mini: Dataset, tmp_path: Path
) -> None:
    recipe = EVERYTHING.model_copy(
        update={"schedule": schedule, "warmup": 0 if schedule.name == "OneCycleLR" else EVERYTHING.warmup}
    )
    uninterrupted = train(ami_mini, recipe, tmp_path / "uninterrupted")

    def stop(**event: Any) -> None:
        if epoch_and_batch(event) == at:
            raise StopHereError

    with pytest.raises(StopHereError):
        train(ami_mini, recipe, tmp_path / "stopped", stop)
    (tmp_path / "stopped" / "epochs.csv").unlink()  # as if it had not been written yet
    resumed = train(ami_mini, recipe, tmp_path / "stopped")
    assert resumed.epochs == uninterrupted.epochs and resumed.best_epoch == uninterrupted.best_epoch
    assert (tmp_path / "stopped/epochs.csv").read_bytes() == (tmp_path / "uninterrupted/epochs.csv").read_bytes()
    for name in ("last", "best"):
        a, b = (
            load_checkpoint(tmp_path / run / "checkpoints" / f"{name}.ckpt", "dummy")
            for run in ("uninterrupted", "stopped")
        )
        for key, weights in a["weights"].items():
            assert torch.equal(weights, b["weights"][key])


def test_a_checkpoint_of_version_0_1_resumes(ami_mini: Dataset, tmp_path: Path) -> None:
    """It calls the excluded speech ``clipped``."""
    recipe = BASIC.model_copy(update={"epochs": 2})
    uninterrupted = train(ami_mini, recipe, tmp_path / "uninterrupted")
    stopped = trainer(ami_mini, BASIC.model_copy(update={"epochs": 1}), tmp_path / "stopped")
    stopped.run(lambda **_: None)
    path = tmp_path / "stopped" / "checkpoints" / "last.ckpt"
    content = load_checkpoint(path, "dummy")
    content["clipped"] = content.pop("excluded")
    named = {key: content[key] for key in content if key not in ("format", "backend", "architecture", "weights")}
    save_checkpoint(path, "dummy", stopped.network, **named)
    resumed = train(ami_mini, recipe, tmp_path / "stopped")
    assert (resumed.epochs, resumed.notes) == (uninterrupted.epochs, uninterrupted.notes)


def test_a_damaged_state_is_told_with_the_cure(ami_mini: Dataset, tmp_path: Path) -> None:
    training = trainer(ami_mini, BASIC, tmp_path)
    path = tmp_path / "checkpoints" / "last.ckpt"
    cure = f"remove {path.parent} and run the same command again, which trains anew"
    save_checkpoint(path, "dummy", training.network)
    with pytest.raises(UserError, match=f"{path}: not a state of this training \\(KeyError: 'optimizer'\\); .*{cure}"):
        training.state.resume()
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match=f"{path}: not a readable checkpoint .*; .*{cure}"):
        training.state.resume()
    path.unlink()
    assert not training.state.resume()


def test_a_note_for_a_batch_larger_than_an_epoch(ami_mini: Dataset, tmp_path: Path) -> None:
    trained = train(ami_mini, BASIC.model_copy(update={"batch_size": 256, "epochs": 1}), tmp_path)
    assert trained.audio_s == 300
    assert trained.notes[0] == (
        "a batch of 256 windows is more than the train subset holds: each epoch is one batch of 30"
    )


def test_non_finite_weights_stop_the_training_and_keep_the_last_good_epoch(ami_mini: Dataset, tmp_path: Path) -> None:
    training = trainer(ami_mini, BASIC, tmp_path)

    def spoil(**event: Any) -> None:
        if epoch_and_batch(event) == (2, 4):
            training.network.layer.weight.data.fill_(torch.nan)

    with pytest.raises(
        UserError, match="the weights became non-finite on dev in epoch 2: lower the learning rate; epoch 1"
    ):
        training.run(spoil)
    last = load_checkpoint(tmp_path / "checkpoints" / "last.ckpt", "dummy")
    assert len(last["epochs"]) == 2 and torch.isfinite(last["weights"]["layer.weight"]).all()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda loss, weight: loss * torch.nan, "the loss became nan in epoch 2, batch 2"),
        # Adds 0 to the loss, with a gradient of nan.
        (lambda loss, weight: loss + (weight * 0).abs().sqrt().sum(), "a gradient became nan in epoch 2, batch 2"),
    ],
)
@pytest.mark.parametrize("per_reading", [1, 3])
def test_a_non_finite_loss_or_gradient_ends_the_training_and_names_its_batch(
    spoil: Callable[[Any, Any], Any],
    message: str,
    per_reading: int,
    ami_mini: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where it is read together with later batches, as on a GPU. The last good epoch stays saved."""
    monkeypatch.setattr(trainer_module, "batches_per_reading", lambda device: per_reading)
    training = trainer(ami_mini, BASIC, tmp_path)
    original, batches = training.network.loss, count(1)

    def loss(waveforms: Any, targets: Any) -> Any:
        losses = original(waveforms, targets)
        fails = len(training.history.epochs) == 2 and training.network.training and next(batches) == 2
        return losses._replace(total=spoil(losses.total, training.network.layer.weight)) if fails else losses

    training.network.loss = loss
    with pytest.raises(UserError, match=f"{message}: lower the learning rate; epoch 1 is saved in .*last.ckpt"):
        training.run(lambda **_: None)
    last = load_checkpoint(tmp_path / "checkpoints" / "last.ckpt", "dummy")
    assert len(last["epochs"]) == 2 == len((tmp_path / "epochs.csv").read_text().splitlines()) - 1
    assert all(value.isfinite().all() for value in last["weights"].values())


def test_losses_of_several_batches_read_at_once_are_those_of_each(
    ami_mini: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU; the last reading of an epoch has what is left of its four batches."""
    one_by_one, at_once = list[dict[str, Any]](), list[dict[str, Any]]()
    expected = train(ami_mini, BASIC, tmp_path / "one by one", lambda **event: one_by_one.append(event))
    monkeypatch.setattr(trainer_module, "batches_per_reading", lambda device: 3)
    trained = train(ami_mini, BASIC, tmp_path / "at once", lambda **event: at_once.append(event))
    assert trained.epochs == expected.epochs and trained.audio_s == expected.audio_s
    assert [epoch_and_batch(event)[1] for event in at_once] == [None, *[3, 4, None] * 4]
    assert at_once == [event for event in one_by_one if epoch_and_batch(event)[1] in (3, 4, None)]


def test_recordings_shorter_than_the_window(ami_mini: Dataset, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="no annotated train region is as long as a window of 31 s; use a recipe with a short"
    ):
        trainer(ami_mini, BASIC.model_copy(update={"window_s": 31}), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_batch_that_does_not_fit_into_memory(ami_mini: Dataset, tmp_path: Path) -> None:
    """The network allocates more memory than any machine has."""
    training = trainer(ami_mini, BASIC, tmp_path)
    original = training.network.loss
    training.network.loss = lambda waveforms, targets: original(
        waveforms, targets + torch.empty(len(waveforms) << 45).sum()
    )
    with pytest.raises(
        UserError, match="a batch of 8 windows of 10 s does not fit in the memory of cpu: lower batch_size"
    ):
        training.run(lambda **_: None)


def test_processes_that_read_ahead_change_nothing(ami_mini: Dataset, tmp_path: Path) -> None:
    """The same epochs and weights to the bit, augmented, whether this process reads the batches or two others do."""
    augmentation = {"noise": {"probability": 0.5}, "band": {"probability": 0.5}}
    recipe = with_settings(BASIC, epochs=2, epoch_hours=2 / 60, augmentation=augmentation)
    epochs, states = {}, {}
    for workers in (0, 2):
        seed_all(1, 0)
        fabric, folder = Fabric(accelerator="cpu", devices=1), tmp_path / f"{workers}"
        reading = Trainer(make_network(), "dummy", ami_mini, recipe, 1, fabric, folder, workers=workers)
        assert reading.loader.workers == workers
        epochs[workers] = reading.run(lambda **_: None).epochs
        states[workers] = torch.get_rng_state()
    assert epochs[0] == epochs[2]
    assert torch.equal(states[0], states[2]), "a network with dropout would draw the same"
    weights = [load_checkpoint(tmp_path / f"{workers}/checkpoints/last.ckpt", "dummy")["weights"] for workers in (0, 2)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_an_error_in_a_process_that_reads_ahead_is_one_line(ami_mini: Dataset, tmp_path: Path) -> None:
    import soundfile

    short = tmp_path / "short.wav"
    soundfile.write(short, [0.0] * 160_000, 16_000)
    first, *others = ami_mini.subset("train")
    damaged = replace(first, audio=short, only=(Region(0, 10),))
    dataset = replace(ami_mini, recordings={**ami_mini.recordings, "train": (damaged, *others)})
    seed_all(1, 0)
    fabric = Fabric(accelerator="cpu", devices=1)
    reading = Trainer(make_network(), "dummy", dataset, BASIC, 1, fabric, tmp_path / "run", workers=1)
    soundfile.write(short, [0.0] * 80_000, 16_000)
    with pytest.raises(UserError) as raised:
        list(reading.loader.train_batches(1))
    assert str(raised.value) == (
        f"{short}: ends at 5.0 s, though a window lasts until 10.0 s: it changed while it was used; restore it, "
        "and run the same command again"
    )


def test_on_a_gpu_processes_read_ahead_by_cores_and_on_a_cpu_none() -> None:
    assert default_workers("cpu", 1) == 0
    assert default_workers("cuda", 1) == min(8, len(usable_cores()) - 1)
    assert default_workers("cuda", 1000) == 0
