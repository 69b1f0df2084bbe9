"""Fixtures that every test may use."""

from __future__ import annotations

import os

import pytest

from diarbench.datasets.catalog import open_dataset
from diarbench.datasets.layout import Dataset

# No telemetry, as in a run.
os.environ.setdefault("PYANNOTE_METRICS_ENABLED", "0")


@pytest.fixture(scope="session")
def ami_mini() -> Dataset:
    """The embedded real dataset, fetched into the user's cache where it is not there yet."""
    return open_dataset("ami-mini")
