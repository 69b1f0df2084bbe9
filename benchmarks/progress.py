"""What `bench run` shows while it works: live bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class RunProgress:
    """One run after another; feed it the worker's events."""

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

    def __enter__(self) -> RunProgress:
        self.bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.bars.stop()

    def begin(self, name: str, position: str) -> None:
        """The next run, ``position`` being such as ``1/2``."""
        self.name, self.position, self.dev_der = name, position, ""

    def end(self, outcome: str) -> None:
        """How the run ended."""
        self._close()
        self._line(outcome)

    def on(self, event: dict[str, Any]) -> None:
        """Show a worker's event."""
        if "state" in event:
            self._close()
            self.state = event["state"]
            if not self.live and self.state != "done":  # `end` tells that
                self._line(self.state)
        elif "dev_der" in event:
            self.dev_der = f"dev DER {event['dev_der']:.1%}"
            if not self.live:
                self._line(f"epoch {event['epoch']}/{event['epochs']}, {self.dev_der}")
        elif self.live:
            self._advance(event)

    def _advance(self, event: dict[str, Any]) -> None:
        done, total = event["done"], event["total"]
        figures = event.get("stage", "")
        if "epoch" in event:  # the whole training is one bar, so that the time left is that of all epochs
            done, total = (event["epoch"] - 1) * total + done, event["epochs"] * total
            figures = f"epoch {event['epoch']}/{event['epochs']}  loss {event['loss']:.3f}  {self.dev_der}"
        if self.task is None:
            description = f"{self.position} {self.name}: {self.state}"
            self.task = self.bars.add_task(description, total=total, figures=figures)
        self.bars.update(self.task, completed=done, total=total, figures=figures)

    def _line(self, text: str) -> None:
        self.console.print(f"{self.position} {self.name}: {text}", soft_wrap=True, highlight=False, markup=False)

    def _close(self) -> None:
        if self.task is not None:
            self.bars.remove_task(self.task)
            self.task = None
