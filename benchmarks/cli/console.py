"""Progress and warnings on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    pass


class _Progress:
    """Counts recordings on the terminal as they are done."""

    def __init__(self, done: str) -> None:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        text = TextColumn(f"{{task.completed}} recordings {done}")
        self.bar = Progress(SpinnerColumn(), text, TimeElapsedColumn(), console=Console(stderr=True))
        self.task = self.bar.add_task(done, total=None)

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def __call__(self, done: int) -> None:
        self.bar.update(self.task, completed=done)


def _log_to_terminal() -> None:
    """What is dropped or mended is logged as a warning: show it, a line each."""
    import logging

    from rich.console import Console
    from rich.logging import RichHandler

    handler = RichHandler(console=Console(stderr=True), show_time=False, show_path=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
