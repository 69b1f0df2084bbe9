"""The progress display of `bench run`: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from types import TracebackType
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn
from rich.progress_bar import ProgressBar
from rich.text import Text

STILL_S = 3
"""Seconds without an event after which the bar pulses: it never looks as if it had stopped."""

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


class _Bar(BarColumn):
    """A bar that pulses while the worker reports nothing."""

    def render(self, task: Task) -> ProgressBar:
        bar = super().render(task)
        bar.pulse = bar.pulse or task.get_time() - task.fields["at"] > STILL_S
        return bar


class _Time(ProgressColumn):
    """The time left, or the time since the phase began where the rest is unknown."""

    def render(self, task: Task) -> Text:
        left = task.time_remaining
        if left is not None and task.completed:
            return Text(f"{timedelta(seconds=int(left))} left", style="progress.remaining")
        return Text(f"{timedelta(seconds=int(task.elapsed or 0))}", style="progress.elapsed")


class _Display(Progress):
    """The run's name above its bar, so that both fit in 80 columns."""

    heading = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        if self.heading:
            yield Text(self.heading, overflow="ellipsis", no_wrap=True)
        yield from super().get_renderables()


class RunProgress:
    """Shows the worker's events, one run after another; with ``verbose`` every epoch."""

    def __init__(self, console: Console, verbose: bool = False) -> None:
        self.console, self.verbose = console, verbose
        self.live = console.is_terminal
        self.bars = _Display(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            _Bar(bar_width=None),
            TextColumn("{task.fields[figures]}", markup=False),
            _Time(),
            console=console,
            expand=True,
            transient=True,
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
        self._close()
        self.bars.stop()

    def begin(self, name: str, position: str) -> None:
        """Start the next run; ``position`` is a text such as ``1/2``."""
        self.name, self.position, self.dev_der, self.headed = name, position, "", False
        self.bars.heading = f"{position} {name}"
        self._open("starting")

    def end(self, outcome: str) -> None:
        """Show how the run ended."""
        self._close()
        self._line(outcome)

    def work(self, text: str) -> None:
        """Show what is done after the last run."""
        self._close()
        self._open(text)

    def on(self, event: dict[str, Any]) -> None:
        """Show one event of the worker."""
        if "state" in event:
            self._close()
            self.state = event["state"]
            if self.state != "done":  # `end` shows it
                self.bars.heading = f"{self.position} {self.name}"
                self._open(self.state)
                if not self.live:
                    self._line(self.state)
        elif "finished" in event:
            self._finished(event["finished"], event["epochs"])
        elif "note" in event:
            self._line(event["note"])
        elif self.live:
            self._advance(event)

    def _advance(self, event: dict[str, Any]) -> None:
        done, total = event["done"], event["total"]
        figures = f"{event.get('stage', '')} {done}{'' if total is None else f'/{total}'}".strip()
        if "epoch" in event:  # one bar for all epochs, so that it estimates the time left for all
            done, total = (event["epoch"] - 1) * total + done, event["epochs"] * total
            figures = f"epoch {event['epoch']}/{event['epochs']}  loss {event['loss']:.3f}  {self.dev_der}".strip()
        if self.task is None:
            self._open(self.state)
        assert self.task is not None
        self.bars.update(self.task, completed=done, total=total, figures=figures, at=self.bars.get_time())

    def _finished(self, epoch: dict[str, Any], epochs: int) -> None:
        """Keep the dev DER for the bar; print a short line without a terminal, and a table's row with ``verbose``."""
        self.dev_der = f"dev DER {epoch['der']:.1%}"
        if self.live and self.task is not None and not epoch["epoch"]:
            self.bars.update(self.task, figures=f"before training: {self.dev_der}", at=self.bars.get_time())
        if not self.live and epoch["epoch"]:
            self._line(f"epoch {epoch['epoch']}/{epochs}, {self.dev_der}")
        if not (self.live and self.verbose):
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

    def _open(self, phase: str) -> None:
        self._close_task()
        self.task = self.bars.add_task(phase, total=None, figures="", at=self.bars.get_time())

    def _close_task(self) -> None:
        if self.task is not None:
            self.bars.remove_task(self.task)
            self.task = None

    def _close(self) -> None:
        self.bars.heading = ""
        self._close_task()
