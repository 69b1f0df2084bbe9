"""Progress and warnings on the terminal."""

from __future__ import annotations

from typing import Self


class RecordingProgress:
    """A context manager that shows how many recordings are done; call it with the count."""

    def __init__(self, action: str) -> None:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        text = TextColumn(f"{{task.completed}} recordings {action}")
        self.bar = Progress(SpinnerColumn(), text, TimeElapsedColumn(), console=Console(stderr=True))
        self.task = self.bar.add_task(action, total=None)

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def __call__(self, completed: int) -> None:
        self.bar.update(self.task, completed=completed)


def log_to_terminal() -> None:
    """Show logged warnings, such as what a conversion drops or fixes, on stderr."""
    import logging

    from rich.console import Console
    from rich.logging import RichHandler

    handler = RichHandler(console=Console(stderr=True), show_time=False, show_path=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
