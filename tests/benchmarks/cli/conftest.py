"""Fixtures of the tests of the commands."""

from __future__ import annotations

import sys

import pytest
from run_helpers import Bench

from diarbench.benchmarks.cli.__main__ import main


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Bench:
    """Runs ``bench`` in this process."""
    monkeypatch.setenv("COLUMNS", "300")

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        return (code, *capfd.readouterr())

    return run
