"""The real toolkits, where they are installed."""

from __future__ import annotations

from typing import Any

import pytest

from diarbench.backends import registry


def load_or_skip(name: str) -> Any:
    """A backend; the test is skipped where its toolkit is not installed."""
    if command := registry.missing(name):
        pytest.skip(command)
    return registry.load(name)
