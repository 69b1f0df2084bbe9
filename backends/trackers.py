"""Trackers that are told of each epoch, beside ``epochs.csv``: TensorBoard and MLflow.

Each is told of all epochs from the first when a run goes on, and holds every epoch once.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from diarbench.backends.registry import importable
from diarbench.reports.records import EPOCH_COLUMNS, Epoch, UserError, check_choice, write_whole

PACKAGES = {"csv": None, "mlflow": "mlflow", "tensorboard": "tensorboard"}
"""By ``--logger``; epochs.csv needs none, and is written in any case."""


class Tracker(Protocol):
    """Somebody who keeps the figures of epochs."""

    def log(self, epoch: Epoch, learning_rate: float) -> None:
        """Keep an epoch's figures, and the learning rate that it ended with."""
        ...

    def close(self, whole: bool) -> None:
        """End with the training, which came to its end or failed."""
        ...


def check_name(name: str) -> None:
    """Raises UserError for a tracker that there isn't, or whose package is not installed."""
    check_choice("logger", name, PACKAGES, "tracker")
    package = PACKAGES[name]
    if package and not importable(package):
        raise UserError(f"--logger {name}: not installed: pip install 'diarbench[track]'")


@contextmanager
def tracking(names: Sequence[str], folder: Path, settings: dict[str, Any]) -> Iterator[list[Tracker]]:
    """The trackers of a run in a folder while it trains; ``settings`` are told to each of them first."""
    known: dict[str, Callable[[Path, dict[str, Any]], Tracker]] = {"mlflow": MLflow, "tensorboard": TensorBoard}
    made = [known[name](folder, settings) for name in names if name in known]
    whole = False
    try:
        yield made
        whole = True
    finally:
        for tracker in made:
            tracker.close(whole)


def figures(epoch: Epoch) -> dict[str, float]:
    """An epoch's figures by the guide's names, without those that there are none of."""
    named = {title: getattr(epoch, field) for field, title in EPOCH_COLUMNS.items() if field != "epoch"}
    return {title: value for title, value in named.items() if value is not None}


class TensorBoard:
    """Event files in ``tensorboard/`` in the run's folder; written anew when a run goes on."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        shutil.rmtree(folder / "tensorboard", ignore_errors=True)
        self.writer: Any = SummaryWriter(str(folder / "tensorboard"))
        self.writer.add_text("settings", "\n".join(f"    {name}: {value}" for name, value in settings.items()))

    def log(self, epoch: Epoch, learning_rate: float) -> None:
        for name, value in {**figures(epoch), "learning rate": learning_rate}.items():
            self.writer.add_scalar(name, value, epoch.epoch)
        self.writer.flush()

    def close(self, whole: bool) -> None:
        self.writer.close()


TOTALS = {EPOCH_COLUMNS[field]: f"{EPOCH_COLUMNS[field]}/total" for field in ("loss_train", "loss_val")}
"""MLflow's store of files has a file a figure, and none can have the name of the folder of others."""

LAST = EPOCH_COLUMNS["threshold"]
"""The figure that is told last: an epoch that has it is told in full."""


class MLflow:
    """A run of MLflow's experiment ``diarbench``, in ``MLFLOW_TRACKING_URI``, or ``mlruns/`` in the run's folder.

    Which run it is stands in ``mlflow-run``, so that a run that goes on goes on there.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        # MLflow's store of plain files wants to be asked for.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        self.client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or (folder / "mlruns").as_uri())
        kept = folder / "mlflow-run"
        try:
            if not kept.is_file():
                found = self.client.get_experiment_by_name("diarbench")
                experiment = found.experiment_id if found else self.client.create_experiment("diarbench")
                made = self.client.create_run(experiment, run_name=folder.name)
                for name, value in settings.items():
                    self.client.log_param(made.info.run_id, name, value)
                write_whole(kept, made.info.run_id)
            self.run = kept.read_text()
            self.client.update_run(self.run, "RUNNING")
            told = self.client.get_metric_history(self.run, LAST)
        except MlflowException as error:
            raise UserError(f"--logger mlflow: {str(error).splitlines()[0]}") from error
        self.told = {metric.step for metric in told}

    def log(self, epoch: Epoch, learning_rate: float) -> None:
        if epoch.epoch not in self.told:
            for name, value in {"learning rate": learning_rate, **figures(epoch)}.items():
                if name != LAST:
                    self.client.log_metric(self.run, TOTALS.get(name, name), value, step=epoch.epoch)
            self.client.log_metric(self.run, LAST, figures(epoch)[LAST], step=epoch.epoch)

    def close(self, whole: bool) -> None:
        self.client.set_terminated(self.run, "FINISHED" if whole else "FAILED")
