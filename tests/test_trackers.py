"""What trackers were told, read back with their own readers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diarbench.backends import trackers
from diarbench.reports.records import EPOCH_COLUMNS, Epoch, UserError

EPOCHS = [
    Epoch(
        epoch=number,
        loss_val_segmentation=0.5 / (number + 1),
        loss_val_vad=0.25,
        loss_val=0.75 / (number + 1),
        der=0.5,
        confusion=0.125,
        false_alarm=0.25,
        miss=0.125,
        threshold=0.5,
        **({"loss_train_segmentation": 0.5, "loss_train_vad": 0.25, "loss_train": 0.75} if number else {}),
    )
    for number in range(3)
]
RATES = [0.5, 0.25, 0.125]


def tell(name: str, folder: Path, epochs: list[Epoch]) -> None:
    with trackers.tracking(["csv", name], folder, {"optimizer": "NAdam", "epochs": 2}) as (tracker,):
        for epoch, rate in zip(epochs, RATES, strict=False):
            tracker.log(epoch, rate)
        if len(epochs) < len(EPOCHS):
            raise FloatingPointError


def tell_twice(name: str, folder: Path, between: Callable[[], None] = lambda: None) -> None:
    """Two epochs, a failure, and all three again, as a run that goes on tells them."""
    folder.mkdir()
    with pytest.raises(FloatingPointError):
        tell(name, folder, EPOCHS[:2])
    between()
    tell(name, folder, EPOCHS)


def expected() -> dict[str, list[tuple[int, float]]]:
    """Each figure's (step, value), as it should be kept: once."""
    fields = {title: field for field, title in EPOCH_COLUMNS.items() if field != "epoch"}
    kept: dict[str, list[tuple[int, float]]] = {
        title: [(e.epoch, getattr(e, field)) for e in EPOCHS if getattr(e, field) is not None]
        for title, field in fields.items()
    }
    return {**kept, "learning rate": list(enumerate(RATES))}


def test_tensorboard_holds_each_epoch_once(tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    tell_twice("tensorboard", tmp_path / "run")
    events: Any = reader.EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    found = {tag: [(e.step, pytest.approx(e.value)) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert found == expected()
    (settings,) = events.Tensors("settings/text_summary")
    assert "optimizer: NAdam" in settings.tensor_proto.string_val[0].decode()


def test_mlflow_holds_each_epoch_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def kept() -> tuple[Any, Any]:
        client = mlflow.MlflowClient((tmp_path / "run" / "mlruns").as_uri())
        (run,) = client.search_runs([client.get_experiment_by_name("diarbench").experiment_id])
        return client, run

    states: list[str] = []
    tell_twice("mlflow", tmp_path / "run", lambda: states.append(kept()[1].info.status))
    client, run = kept()
    assert states == ["FAILED"], "a training that failed is not taken for one that goes on"
    assert run.info.run_name == "run" and run.info.status == "FINISHED"
    assert run.data.params == {"optimizer": "NAdam", "epochs": "2"}
    found = {
        name.removesuffix("/total"): [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }
    assert found == expected()


def test_what_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"--logger tensorbord: no such tracker \(did you mean tensorboard\?\)"):
        trackers.check_name("tensorbord")
    monkeypatch.setattr(trackers, "importable", lambda package: False)
    with pytest.raises(UserError, match=r"--logger mlflow: not installed: pip install 'diarbench\[track\]'"):
        trackers.check_name("mlflow")
    trackers.check_name("csv")
