"""What the suites import: the systems, the device, a kernel that makes machines comparable."""

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

SYSTEMS = {
    "pyannote": ("pyannote", "auto"),
    "nemo": ("nemo", "scratch:compact"),
    "nemo-streaming": ("nemo", "scratch:compact-streaming"),
}
"""By name: a backend and its first weights."""


def full(*values):
    """Values of a parameter that are in the full profile alone."""
    return [pytest.param(value, marks=pytest.mark.full) for value in values]


@cache
def device():
    if registry.importable("torch"):
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"
    return "cpu"


def calibrate():
    """Seconds of one product of two matrices of 768 x 768, single precision: the median of nine."""
    a = np.full((768, 768), 0.5, dtype=np.float32)
    seconds = []
    for _ in range(9):
        begun = perf_counter()
        a @ a
        seconds.append(perf_counter() - begun)
    return median(seconds)


@cache
def make_diarizer(system):
    import torch

    name, init = SYSTEMS[system]
    torch.manual_seed(1)
    backend = registry.load(name)
    return backend.diarizer(backend.network(backend.locate(init), Objective()), device())


def synchronised(work):
    """The work, with the accelerator's clock waited for, so that what is timed is done."""
    import torch

    def timed():
        result = work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return result

    return timed


def in_a_process(script, *arguments):
    """The JSON on the last line that a script of Python prints, run in a process of its own."""
    ran = subprocess.run([sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])
