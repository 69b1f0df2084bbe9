"""The progress display of `bench run`: live bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

EPOCH_HEADS = {
    "epoch": "epoch",
    "loss_train": "train",
    "loss_val": "val",
    "loss_val_vad": "val/vad",
    "der": "dev DER",
    "confusion": "conf",
    "false_alarm": "FA",
    "miss": "miss",
}
"""The columns of epochs.csv that fit a terminal of 80 characters."""


class RunProgress:
    """Shows the worker's events, one run after another."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.live = console.is_terminal
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            expand=True,
            disable=not self.live,
        )
        self.task: TaskID | None = None
        self.name, self.position, self.state, self.dev_der = "", "", "", ""
        self.headed = False
        """Whether the header of this run's table of epochs was printed."""

    def __enter__(self) -> RunProgress:
        self.bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.bars.stop()

    def begin(self, name: str, position: str) -> None:
        """Start the next run; ``position`` is a text such as ``1/2``."""
        self.name, self.position, self.dev_der, self.headed = name, position, "", False

    def end(self, outcome: str) -> None:
        """Show how the run ended."""
        self._close()
        self._line(outcome)

    def on(self, event: dict[str, Any]) -> None:
        """Show one event of the worker."""
        if "state" in event:
            self._close()
            self.state = event["state"]
            if not self.live and self.state != "done":  # `end` shows it
                self._line(self.state)
        elif "finished" in event:
            self._finished(event["finished"], event["epochs"])
        elif "note" in event:
            self._line(event["note"])
        elif self.live:
            self._advance(event)

    def _advance(self, event: dict[str, Any]) -> None:
        done, total = event["done"], event["total"]
        figures = event.get("stage", "")
        if "epoch" in event:  # one bar for all epochs, so that it estimates the time left for all
            done, total = (event["epoch"] - 1) * total + done, event["epochs"] * total
            figures = f"epoch {event['epoch']}/{event['epochs']}  loss {event['loss']:.3f}  {self.dev_der}"
        if self.task is None:
            description = f"{self.position} {self.name}: {self.state}"
            self.task = self.bars.add_task(description, total=total, figures=figures)
        self.bars.update(self.task, completed=done, total=total, figures=figures)

    def _finished(self, epoch: dict[str, Any], epochs: int) -> None:
        """Print the epoch as a line of a table above the bars; without a terminal, as a short line."""
        self.dev_der = f"dev DER {epoch['der']:.1%}"
        if not self.live:
            if epoch["epoch"]:
                self._line(f"epoch {epoch['epoch']}/{epochs}, {self.dev_der}")
            return
        if not self.headed:
            self.headed = True
            self.console.print("".join(f"{name:>9}" for name in EPOCH_HEADS.values()), style="bold", highlight=False)
        values = (epoch[field] for field in EPOCH_HEADS)
        cells = (
            "-" if value is None else f"{value:d}" if isinstance(value, int) else f"{value:.4f}" for value in values
        )
        self.console.print("".join(f"{cell:>9}" for cell in cells), highlight=False)

    def _line(self, text: str) -> None:
        self.console.print(f"{self.position} {self.name}: {text}", soft_wrap=True, highlight=False, markup=False)

    def _close(self) -> None:
        if self.task is not None:
            self.bars.remove_task(self.task)
            self.task = None
