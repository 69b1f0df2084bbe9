"""Follow a run that another process works, through the files in its folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import read_text
from diarbench.reports.results.run import EPOCH_COLUMNS, Epoch
from diarbench.reports.results.run_folder import RunFolder


class Watch:
    """What changed in a run's folder since the last look."""

    def __init__(self, folder: RunFolder, epochs: int) -> None:
        self.folder, self.epochs = folder, epochs
        self.state = ""
        self.size = 0
        """The size of ``epochs.csv``: it is read again only where it grew."""
        self.epoch = max((epoch.epoch for epoch in read_epochs(folder.epochs)), default=-1)
        self.told: set[str] = set()

    def events(self) -> Iterator[dict[str, Any]]:
        """The worker's events, as far as its files show them."""
        state = self.state
        with suppress(OSError):
            state = read_text(self.folder.state).strip()
        if self.state == "training":  # it may have ended with an epoch
            yield from self._epochs()
        if state != self.state:
            self.state = state
            yield from ({"note": note} for note in self._notes())
            yield {"state": state}
        yield from self._epochs()

    def _notes(self) -> Iterator[str]:
        """The run's notes and decisions since the last look."""
        with suppress(UserError):
            run = self.folder.read_run()
            for note in (*run.notes, *run.decisions):
                if note not in self.told:
                    self.told.add(note)
                    yield note

    def _epochs(self) -> Iterator[dict[str, Any]]:
        with suppress(OSError):
            size = self.folder.epochs.stat().st_size
            if size != self.size:
                self.size = size
                for epoch in read_epochs(self.folder.epochs):
                    if epoch.epoch > self.epoch:
                        self.epoch = epoch.epoch
                        yield {"finished": epoch.model_dump(), "epochs": max(self.epochs, epoch.epoch)}


def read_epochs(path: Path) -> list[Epoch]:
    """The epochs of an ``epochs.csv``, which may be written at this moment; empty where there is none yet."""
    fields = {column: field for field, column in EPOCH_COLUMNS.items()}
    epochs = []
    with suppress(OSError, ValueError, csv.Error):
        for line in csv.DictReader(io.StringIO(read_text(path))):
            named = {fields[column]: value or None for column, value in line.items() if column in fields}
            epochs.append(Epoch.model_validate(named))
    return epochs
