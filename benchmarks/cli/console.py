"""Progress and warnings on the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.console import Console


@contextmanager
def working(console: Console, text: str) -> Iterator[None]:
    """Show a spinner while something is being done; nothing where the output is not a terminal."""
    from rich.text import Text

    with console.status(Text(text)):
        yield


class RecordingProgress:
    """A context manager that shows how many recordings are done; call it with the count."""

    def __init__(self, action: str) -> None:
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        from diarbench.reports.console import make_console

        text = TextColumn(f"recordings {action}: {{task.completed}}", markup=False)
        self.bar = Progress(SpinnerColumn(), text, TimeElapsedColumn(), console=make_console(stderr=True))
        self.task = self.bar.add_task(action, total=None)

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def __call__(self, completed: int) -> None:
        self.bar.update(self.task, completed=completed)


class FileProgress:
    """Shows on a terminal's standard error how many files are done, and the time, while toolkits' output is hidden."""

    def __init__(self, action: str, total: int) -> None:
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        from diarbench.reports.console import make_console

        # Toolkits' output is hidden by redirecting the standard streams, which this copy is not part of.
        self.stderr = os.fdopen(os.dup(sys.stderr.fileno()), "w")
        console = make_console(file=self.stderr)
        text = TextColumn(f"files {action}: {{task.completed}} of {{task.total}}", markup=False)
        self.bar = Progress(
            SpinnerColumn(),
            text,
            TimeElapsedColumn(),
            console=console,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),
            redirect_stderr=False,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task(action, total=total)

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()
        self.stderr.close()

    def advance(self) -> None:
        """One more file is done."""
        self.bar.advance(self.task)


def log_to_terminal() -> None:
    """Show logged warnings, such as what a conversion drops or fixes, on stderr."""
    import logging

    from rich.logging import RichHandler

    from diarbench.reports.console import make_console

    handler = RichHandler(console=make_console(stderr=True), show_time=False, show_path=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])


LONGEST_S = 100 * 365 * 24 * 3600
"""An estimate beyond this is no use to anybody, and one from a stranger's record can be any number."""


def duration(seconds: float) -> str:
    """A length of time, such as ``1:02:03``."""
    if not seconds < LONGEST_S:  # or not a number
        return "over a century"
    return str(timedelta(seconds=round(seconds)))
