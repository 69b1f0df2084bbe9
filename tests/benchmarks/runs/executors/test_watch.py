"""A run that another process works, followed through its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from run_helpers import plan_of

from diarbench.backends.training.loggers import write_epochs
from diarbench.benchmarks.runs.evaluation import queued_run
from diarbench.benchmarks.runs.executors.watch import Watch
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.records import write_record
from diarbench.reports.results.run import Epoch
from diarbench.reports.results.run_folder import RunFolder

MEASURED: dict[str, Any] = dict.fromkeys(
    ("loss_val_segmentation", "loss_val_vad", "loss_val", "confusion", "false_alarm", "miss", "threshold", "der"), 0.1
)


def test_news_come_in_the_order_in_which_they_happened(ami_mini: Dataset, tmp_path: Path) -> None:
    """An epoch before the state that followed it; nothing that was there before; each note once."""
    job = plan_of(ami_mini, "scratch").job
    folder, epochs = RunFolder(tmp_path), [Epoch(epoch=epoch, **MEASURED) for epoch in range(3)]
    record = queued_run(job)
    write_record(folder.run, record)
    write_epochs(folder.epochs, epochs[:2])
    watch = Watch(folder, 2)
    assert list(watch.events()) == []
    folder.state.write_text("training\n")
    assert list(watch.events()) == [{"state": "training"}]
    write_epochs(folder.epochs, epochs)
    write_record(folder.run, record.model_copy(update={"notes": ("1.2 s were left out",)}))
    folder.state.write_text("tuning\n")
    finished, note, state = watch.events()
    assert finished["finished"]["epoch"] == 2
    assert (note, state) == ({"note": "1.2 s were left out"}, {"state": "tuning"})
    folder.state.write_text("diarizing\n")
    assert list(watch.events()) == [{"state": "diarizing"}]
