"""Training in several processes gives the losses of one."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
from places import TESTS

from diarbench.backends import registry

pytest.importorskip("torch")


def table(path: Path) -> list[list[float]]:
    return [[float(cell) for cell in row] for row in list(csv.reader(path.open()))[1:]]


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one(tmp_path: Path) -> None:
    """Both toolkits, with gloo on the CPU, dropout off and BatchNorm frozen."""
    if command := registry.missing("pyannote") or registry.missing("nemo"):
        pytest.skip(command)
    script = TESTS / "helpers" / "ddp_script.py"
    for devices in ("1", "2"):
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.run(
            [sys.executable, script, devices, tmp_path / devices],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        assert process.returncode == 0, process.stderr[-3000:]
    for backend in ("pyannote", "nemo"):
        one, two = (table(tmp_path / devices / backend / "epochs.csv") for devices in ("1", "2"))
        assert len(one) == 3 and one[0][3] != one[2][3], "it learns"
        for a, b in zip(one, two, strict=True):
            assert a == pytest.approx(b, abs=1e-5, nan_ok=True)
