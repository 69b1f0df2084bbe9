"""Logged epochs, read back with the loggers' own readers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diarbench.backends.training import loggers
from diarbench.datasets.io.errors import UserError
from diarbench.reports.results.run import EPOCH_COLUMNS, Epoch

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


def log(name: str, folder: Path, epochs: list[Epoch]) -> None:
    with loggers.open_loggers(["csv", name], folder, {"optimizer": "NAdam", "epochs": 2}) as (logger,):
        for epoch, rate in zip(epochs, RATES, strict=False):
            logger.log(epoch, rate)
        if len(epochs) < len(EPOCHS):
            raise FloatingPointError


def log_and_resume(name: str, folder: Path, between: Callable[[], None] = lambda: None) -> None:
    """Log two epochs, fail, and log all three again, as a resumed run does."""
    folder.mkdir()
    with pytest.raises(FloatingPointError):
        log(name, folder, EPOCHS[:2])
    between()
    log(name, folder, EPOCHS)


def expected() -> dict[str, list[tuple[int, float]]]:
    """(step, value) of each figure, as it should be stored: once."""
    fields = {title: field for field, title in EPOCH_COLUMNS.items() if field != "epoch"}
    values: dict[str, list[tuple[int, float]]] = {
        title: [(e.epoch, getattr(e, field)) for e in EPOCHS if getattr(e, field) is not None]
        for title, field in fields.items()
    }
    return {**values, "learning rate": list(enumerate(RATES))}


def test_tensorboard_holds_each_epoch_once(tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log_and_resume("tensorboard", tmp_path / "run")
    events: Any = reader.EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    logged = {tag: [(e.step, pytest.approx(e.value)) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert logged == expected()
    (settings,) = events.Tensors("settings/text_summary")
    assert "optimizer: NAdam" in settings.tensor_proto.string_val[0].decode()


def test_mlflow_holds_each_epoch_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def client_and_run() -> tuple[Any, Any]:
        client = mlflow.MlflowClient((tmp_path / "run" / "mlruns").as_uri())
        (run,) = client.search_runs([client.get_experiment_by_name("diarbench").experiment_id])
        return client, run

    states: list[str] = []
    log_and_resume("mlflow", tmp_path / "run", lambda: states.append(client_and_run()[1].info.status))
    client, run = client_and_run()
    assert states == ["FAILED"], "a failed training is not marked as running"
    assert run.info.run_name == "run" and run.info.status == "FINISHED"
    assert run.data.params == {"optimizer": "NAdam", "epochs": "2"}
    logged = {
        name.removesuffix("/total"): [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }
    assert logged == expected()


def test_unknown_and_missing_loggers(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"--logger tensorbord: no such logger \(did you mean tensorboard\?\)"):
        loggers.check_name("tensorbord")
    monkeypatch.setattr(loggers, "importable", lambda package: False)
    with pytest.raises(UserError, match=r"--logger mlflow: not installed: pip install 'diarbench\[track\]'"):
        loggers.check_name("mlflow")
    loggers.check_name("csv")
