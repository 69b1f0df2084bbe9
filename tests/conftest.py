"""Fixtures that every test may use."""

from __future__ import annotations

import pytest

from diarbench.datasets.catalog import open_dataset
from diarbench.datasets.layout import Dataset


@pytest.fixture(scope="session")
def ami_mini() -> Dataset:
    """The embedded real dataset, fetched into the user's cache where it is not there yet."""
    return open_dataset("ami-mini")
