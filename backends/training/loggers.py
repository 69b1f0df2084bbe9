"""``epochs.csv``, and logging of each epoch to TensorBoard and MLflow.

A resumed run logs all epochs again from the first; each logger stores every epoch once.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from diarbench.backends.packages import importable
from diarbench.datasets.io.errors import UserError, check_choice
from diarbench.datasets.io.files import read_text, write_atomic
from diarbench.reports.results.run import EPOCH_COLUMNS, Epoch

PACKAGES = {"csv": None, "mlflow": "mlflow", "tensorboard": "tensorboard"}
"""Package of each ``--logger``; epochs.csv is always written."""


class EpochLogger(Protocol):
    """Stores the figures of epochs."""

    def log(self, epoch: Epoch, learning_rate: float) -> None:
        """Store an epoch's figures and the learning rate at its end."""
        ...

    def close(self, succeeded: bool) -> None:
        """Called when the training has ended or failed."""
        ...


def check_name(name: str) -> None:
    """Raises UserError for an unknown logger, or one whose package is not installed."""
    check_choice("logger", name, PACKAGES)
    package = PACKAGES[name]
    if package and not importable(package):
        raise UserError(f"--logger {name}: not installed: pip install 'diarbench[track]'")


@contextmanager
def open_loggers(names: Sequence[str], folder: Path, settings: dict[str, Any]) -> Iterator[list[EpochLogger]]:
    """The loggers of a run that trains in a folder; ``settings`` are logged first, to each of them."""
    classes: dict[str, Callable[[Path, dict[str, Any]], EpochLogger]] = {"mlflow": MLflow, "tensorboard": TensorBoard}
    loggers = [classes[name](folder, settings) for name in names if name in classes]
    succeeded = False
    try:
        yield loggers
        succeeded = True
    finally:
        for logger in loggers:
            logger.close(succeeded)


def figures(epoch: Epoch) -> dict[str, float]:
    """An epoch's figures by the guide's column names, without those that the epoch lacks."""
    named = {title: getattr(epoch, field) for field, title in EPOCH_COLUMNS.items() if field != "epoch"}
    return {title: value for title, value in named.items() if value is not None}


class TensorBoard:
    """Event files in ``tensorboard/`` in the run's folder; rewritten when a run resumes."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        shutil.rmtree(folder / "tensorboard", ignore_errors=True)
        self.writer: Any = SummaryWriter(str(folder / "tensorboard"))
        self.writer.add_text("settings", "\n".join(f"    {name}: {value}" for name, value in settings.items()))

    def log(self, epoch: Epoch, learning_rate: float) -> None:
        for name, value in {**figures(epoch), "learning rate": learning_rate}.items():
            self.writer.add_scalar(name, value, epoch.epoch)
        self.writer.flush()

    def close(self, succeeded: bool) -> None:
        self.writer.close()


TOTALS = {EPOCH_COLUMNS[field]: f"{EPOCH_COLUMNS[field]}/total" for field in ("loss_train", "loss_val")}
"""MLflow's file store has one file per figure, so ``loss/val`` would be both a file and the folder of other figures."""

LAST = EPOCH_COLUMNS["threshold"]
"""The figure that is logged last: an epoch that has it is complete."""


class MLflow:
    """A run of MLflow's experiment ``diarbench``, in ``MLFLOW_TRACKING_URI``, or ``mlruns/`` in the run's folder.

    Its id is stored in ``mlflow-run``, so that a resumed run continues the same MLflow run.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        # MLflow refuses to use its file store without this.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        self.client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or (folder / "mlruns").as_uri())
        id_file = folder / "mlflow-run"
        try:
            if not id_file.is_file():
                existing = self.client.get_experiment_by_name("diarbench")
                experiment_id = existing.experiment_id if existing else self.client.create_experiment("diarbench")
                run = self.client.create_run(experiment_id, run_name=folder.name)
                for name, value in settings.items():
                    self.client.log_param(run.info.run_id, name, value)
                write_atomic(id_file, run.info.run_id)
            self.run_id = read_text(id_file)
            self.client.update_run(self.run_id, "RUNNING")
            history = self.client.get_metric_history(self.run_id, LAST)
        except MlflowException as error:
            raise UserError(f"--logger mlflow: {str(error).splitlines()[0]}") from error
        self.logged_epochs = {metric.step for metric in history}

    def log(self, epoch: Epoch, learning_rate: float) -> None:
        if epoch.epoch not in self.logged_epochs:
            for name, value in {"learning rate": learning_rate, **figures(epoch)}.items():
                if name != LAST:
                    self.client.log_metric(self.run_id, TOTALS.get(name, name), value, step=epoch.epoch)
            self.client.log_metric(self.run_id, LAST, figures(epoch)[LAST], step=epoch.epoch)

    def close(self, succeeded: bool) -> None:
        self.client.set_terminated(self.run_id, "FINISHED" if succeeded else "FAILED")


TRAIN_LOSSES = ("loss_train_segmentation", "loss_train_vad", "loss_train")


def write_epochs(path: Path, epochs: Sequence[Epoch]) -> None:
    """Write ``epochs.csv``: one line per epoch, the guide's columns."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(EPOCH_COLUMNS.values())
    for epoch in epochs:
        values = [getattr(epoch, field) for field in EPOCH_COLUMNS]
        writer.writerow("nan" if v is None else v if isinstance(v, int) else f"{v:.6f}" for v in values)
    write_atomic(path, table.getvalue())
