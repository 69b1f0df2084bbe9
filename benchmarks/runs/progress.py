"""The progress display of `bench run`: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
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


class _Spinner(SpinnerColumn):
    """Turns for as long as the phase is shown: what follows its last event, such as loading the next network, too."""

    def render(self, task: Task) -> RenderableType:
        return self.spinner.render(task.get_time())


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
        if left is not None and task.completed and not task.finished:
            return Text(f"{timedelta(seconds=int(left))} left", style="progress.remaining")
        return Text(f"{timedelta(seconds=int(task.elapsed or 0))}", style="progress.elapsed")


class _Display(Progress):
    """Each run's name above its bar, so that both fit in 80 columns."""

    def get_renderables(self) -> Iterable[RenderableType]:
        for task in self.tasks:
            if task.fields["heading"]:
                yield Text(task.fields["heading"], overflow="ellipsis", no_wrap=True)
            yield self.make_tasks_table([task])


@dataclass
class _Shown:
    """What is shown of one run."""

    heading: str
    """Its position and name, such as ``1/2 ami-mini-nemo-quick-seed1``."""
    state: str = ""
    dev_der: str = ""
    headed: bool = False
    """Whether the header of its table of epochs was printed."""
    task: TaskID | None = None


class RunProgress:
    """Shows the workers' events, of runs one after another or side by side; with ``verbose`` every epoch."""

    def __init__(self, console: Console, verbose: bool = False) -> None:
        self.console, self.verbose = console, verbose
        self.live = console.is_terminal
        self.bars = _Display(
            _Spinner(),
            TextColumn("{task.description}", markup=False),
            _Bar(bar_width=None),
            TextColumn("{task.fields[figures]}", markup=False),
            _Time(),
            console=console,
            expand=True,
            transient=True,
            disable=not self.live,
        )
        self.runs: dict[str, _Shown] = {}
        self.comparing = _Shown("")

    def __enter__(self) -> RunProgress:
        self.bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for shown in (*self.runs.values(), self.comparing):
            self._close(shown)
        self.bars.stop()

    def name(self, run: str, position: str) -> None:
        """A run that will be shown; ``position`` is a text such as ``1/2``."""
        self.runs[run] = _Shown(f"{position} {run}")

    def begin(self, run: str) -> None:
        """Show that a run starts."""
        self._open(self.runs[run], "starting")

    def end(self, run: str, outcome: str) -> None:
        """Show how a run ended."""
        self._close(self.runs[run])
        self._line(self.runs[run], outcome)

    def work(self, text: str) -> None:
        """Show what is done after the last run."""
        self._open(self.comparing, text)

    def on(self, run: str, event: dict[str, Any]) -> None:
        """Show one event of a run's worker."""
        shown = self.runs[run]
        if "state" in event:
            self._close(shown)
            shown.state = event["state"]
            if shown.state not in ("done", "failed"):  # `end` shows it
                self._open(shown, shown.state)
                if not self.live:
                    self._line(shown, shown.state)
        elif "finished" in event:
            self._finished(shown, event["finished"], event["epochs"])
        elif "note" in event:
            self._line(shown, event["note"])
        elif self.live:
            self._advance(shown, event)

    def _advance(self, shown: _Shown, event: dict[str, Any]) -> None:
        done, total = event["done"], event["total"]
        figures = f"{event.get('stage', '')} {done}{'' if total is None else f'/{total}'}".strip()
        if "epoch" in event:  # one bar for all epochs, so that it estimates the time left for all
            done, total = (event["epoch"] - 1) * total + done, event["epochs"] * total
            figures = f"epoch {event['epoch']}/{event['epochs']}  loss {event['loss']:.3f}  {shown.dev_der}".strip()
        if shown.task is None:
            self._open(shown, shown.state)
        assert shown.task is not None
        self.bars.update(shown.task, completed=done, total=total, figures=figures, at=self.bars.get_time())

    def _finished(self, shown: _Shown, epoch: dict[str, Any], epochs: int) -> None:
        """Keep the dev DER for the bar; print a short line without a terminal, and a table's row with ``verbose``."""
        shown.dev_der = f"dev DER {epoch['der']:.1%}"
        if self.live and shown.task is not None and not epoch["epoch"]:
            self.bars.update(shown.task, figures=f"before training: {shown.dev_der}", at=self.bars.get_time())
        if not self.live and epoch["epoch"]:
            self._line(shown, f"epoch {epoch['epoch']}/{epochs}, {shown.dev_der}")
        if not (self.live and self.verbose):
            return
        if not shown.headed:
            shown.headed = True
            self.console.print("".join(f"{name:>9}" for name in EPOCH_HEADS.values()), style="bold", highlight=False)
        values = (epoch[field] for field in EPOCH_HEADS)
        cells = (
            "-" if value is None else f"{value:d}" if isinstance(value, int) else f"{value:.4f}" for value in values
        )
        self.console.print("".join(f"{cell:>9}" for cell in cells), highlight=False)

    def _line(self, shown: _Shown, text: str) -> None:
        """On a terminal in lines of whole words; elsewhere in one line, as a log is searched."""
        self.console.print(f"{shown.heading}: {text}", soft_wrap=not self.live, highlight=False, markup=False)

    def _open(self, shown: _Shown, phase: str) -> None:
        self._close(shown)
        shown.task = self.bars.add_task(phase, total=None, figures="", heading=shown.heading, at=self.bars.get_time())

    def _close(self, shown: _Shown) -> None:
        if shown.task is not None:
            self.bars.remove_task(shown.task)
            shown.task = None
