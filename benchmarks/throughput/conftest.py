"""Fixtures of the suites: real recordings of any length, the systems, and the metadata of every session.

Run the suites with ``bench throughput``, or ``pytest benchmarks/throughput -p no:xdist [--full]``.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import soundfile

from diarbench.backends import registry
from diarbench.benchmarks.runs.environment import environment
from diarbench.benchmarks.throughput.systems import SYSTEMS, calibrate, device, make_diarizer
from diarbench.datasets.corpora.catalog import open_dataset
from diarbench.datasets.dataset import Recording
from diarbench.datasets.io.audio import SAMPLE_RATE


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="Long recordings, more sizes and more repeats; takes hours.")


def pytest_configure(config):
    config.addinivalue_line("markers", "full: runs only in the full profile")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--full"):
        for item in items:
            if item.get_closest_marker("full"):
                item.add_marker(pytest.mark.skip(reason="only in the full profile (--full)"))


def pytest_benchmark_update_machine_info(config, machine_info):
    machine_info["diarbench"] = environment(device()).model_dump()


@pytest.fixture(autouse=True)
def calibration(request):
    """Time the calibration kernel before and after each benchmark, to detect changes of machine speed.

    On a GPU also the benchmark's peak memory there, with that of whatever is loaded.
    """
    if "benchmark" not in request.fixturenames:
        yield
        return
    benchmark = request.getfixturevalue("benchmark")
    on_gpu = device() == "cuda"
    if on_gpu:
        import torch

        torch.cuda.reset_peak_memory_stats()
    before = calibrate()
    yield
    benchmark.extra_info["calibration_s"] = (before + calibrate()) / 2
    if on_gpu:
        benchmark.extra_info.setdefault("device_peak_mb", torch.cuda.max_memory_allocated() / 1e6)


@pytest.fixture(scope="session")
def repeats(request):
    return 5 if request.config.getoption("--full") else 3


@pytest.fixture(scope="session")
def recording_of(tmp_path_factory):
    """Make a recording of a given length in seconds by repeating those of ami-mini."""
    dataset = open_dataset("ami-mini")
    recordings = [r for subset in ("test", "dev", "train") for r in dataset.subset(subset)]
    seven_minutes = np.concatenate([soundfile.read(r.audio, dtype="int16")[0] for r in recordings])
    folder = tmp_path_factory.mktemp("recordings")

    @cache
    def make(seconds):
        path, remaining = folder / f"{seconds}s.wav", seconds * SAMPLE_RATE
        with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1) as file:
            while remaining > 0:
                file.write(seven_minutes[:remaining])
                remaining -= len(seven_minutes)
        return Recording(path.stem, "test", path, path, path)

    return make


@pytest.fixture(scope="session", params=list(SYSTEMS))
def system(request):
    """A system's name."""
    if message := registry.missing(SYSTEMS[request.param][0]):
        pytest.skip(message)
    return request.param


@pytest.fixture(scope="session")
def diarizer(system):
    return make_diarizer(system)
