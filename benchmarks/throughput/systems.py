"""Helpers of the suites: the systems, the device, and a calibration kernel that makes machines comparable."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from statistics import median
from time import perf_counter

import numpy as np
import pytest

from diarbench.backends import registry
from diarbench.backends.objective import Objective
from diarbench.backends.packages import importable

SYSTEMS = {
    "pyannote": ("pyannote", "auto"),
    "nemo": ("nemo", "scratch:compact"),
    "nemo-streaming": ("nemo", "scratch:compact-streaming"),
}
"""Backend and initial weights by name."""


def full(*values):
    """Parameter values that run only in the full profile."""
    return [pytest.param(value, marks=pytest.mark.full) for value in values]


@cache
def device():
    if importable("torch"):
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"
    return "cpu"


def calibrate():
    """Median seconds of nine products of two 768 x 768 matrices in single precision."""
    a = np.full((768, 768), 0.5, dtype=np.float32)
    seconds = []
    for _ in range(9):
        started = perf_counter()
        a @ a
        seconds.append(perf_counter() - started)
    return median(seconds)


@cache
def make_diarizer(system):
    import torch

    name, init = SYSTEMS[system]
    torch.manual_seed(1)
    backend = registry.load(name)
    return backend.diarizer(backend.network(backend.resolve_init(init), Objective()), device())


def synchronised(work):
    """``work``, followed by a wait for the accelerator, so that all of the work is timed."""
    import torch

    def timed():
        result = work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return result

    return timed


def run_in_process(script, *arguments):
    """Run a Python script in a new process; returns the JSON on the last line that it prints."""
    process = subprocess.run([sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])
