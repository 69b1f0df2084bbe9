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

torch = pytest.importorskip("torch")

GPUS = [pytest.mark.gpu, pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there are no two CUDA devices")]


def table(path: Path) -> list[list[float]]:
    return [[float(cell) for cell in row] for row in list(csv.reader(path.open()))[1:]]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "tolerance"), [("cpu", 1e-5), pytest.param("cuda", 1e-3, marks=GPUS)])
def test_two_processes_have_the_losses_of_one(kind: str, tolerance: float, tmp_path: Path) -> None:
    """Both toolkits, with gloo on the CPU and NCCL on two GPUs, dropout off and BatchNorm frozen."""
    if command := registry.missing("pyannote") or registry.missing("nemo"):
        pytest.skip(command)
    script = TESTS / "helpers" / "ddp_script.py"
    for devices in ("1", "2"):
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.run(
            [sys.executable, script, devices, tmp_path / devices, kind],
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
            assert a == pytest.approx(b, abs=tolerance, nan_ok=True)
