"""The number of threads follows the load of the machine, and changes no more than the last bits of sums."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from diarbench.backends import registry, threads
from diarbench.backends.objective import Objective
from diarbench.benchmarks.cli.deploy import _set_up_process
from diarbench.benchmarks.runs.environment import THREADS_BY_LOAD, watch_load, worker_environment

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def threads_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    monkeypatch.setattr(threads, "_by_load", None)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv(THREADS_BY_LOAD, raising=False)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def one_core() -> Iterator[None]:
    """This process, and those that it starts, may use one core only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("free_cores", "most", "expected"),
    [(2.0, 2, 2), (1.8, 2, 2), (1.6, 2, 1), (0.1, 2, 1), (15.7, 16, 15), (15.8, 16, 16), (16.0, 4, 4)],
)
def test_as_many_threads_as_free_cores(free_cores: float, most: int, expected: int) -> None:
    assert threads.suited_to(free_cores, most) == expected


def test_a_core_that_another_process_uses_is_not_free(one_core: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "INTERVAL_S", 0.5)
    torch.set_num_threads(2)
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        threads.follow_load(2)
        before = threads._read()
        threads.adapt_threads()
        assert torch.get_num_threads() == 2, "too early to choose anew"
        time.sleep(0.6)
        threads.adapt_threads()
        after = threads._read()
    finally:
        other.kill()
        other.wait()
    assert torch.get_num_threads() == 1
    assert after.available_s - before.available_s < 0.5 * (after.clock_s - before.clock_s)


def test_a_core_that_this_process_uses_is_free_for_it(one_core: None) -> None:
    before, used_s = threads._read(), time.process_time()
    while time.process_time() < used_s + 0.3:
        pass
    assert threads._read().available_s - before.available_s >= 0.3


def test_omp_num_threads_decides_where_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    assert worker_environment(2)[THREADS_BY_LOAD] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert THREADS_BY_LOAD not in worker_environment(2)
    watch_load(2)
    assert threads._by_load is None
    monkeypatch.setenv(THREADS_BY_LOAD, "1")
    assert worker_environment(2)[THREADS_BY_LOAD] == "1", "OMP_NUM_THREADS is of the command that started this process"
    watch_load(2)
    assert threads._by_load is not None


def test_bench_diarize_adapts_and_collects_garbage_as_a_run_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    before = gc.get_threshold()
    try:
        _set_up_process(tmp_path)
        assert gc.get_threshold()[0] == 50_000 != before[0] and threads._by_load is not None
    finally:
        gc.set_threshold(*before)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pyannote", "nemo"])
def test_the_number_of_threads_changes_only_the_last_bits(name: str) -> None:
    """Losses agree within 1e-6, gradients within 1e-4 of their norm; `test_inference` compares the turns."""
    if command := registry.missing(name):
        pytest.skip(command)
    backend: Any = registry.load(name)
    torch.manual_seed(1)
    network = backend.network(backend.resolve_init("auto"), Objective())
    waveforms = torch.randn(2, 12_000)
    targets = (torch.rand(2, network.num_frames(12_000), network.max_speakers) < 0.3).float()

    def loss_and_gradient(number: int) -> tuple[Any, Any]:
        torch.set_num_threads(number)
        torch.manual_seed(1)
        network.zero_grad()
        loss = network.loss(waveforms, targets).total
        loss.backward()
        return loss.item(), torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])

    loss, gradient = loss_and_gradient(1)
    other_loss, other_gradient = loss_and_gradient(2)
    assert loss == pytest.approx(other_loss, rel=1e-6)
    assert (gradient - other_gradient).norm() <= 1e-4 * gradient.norm()
