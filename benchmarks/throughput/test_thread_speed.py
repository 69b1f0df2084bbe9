"""Threads by the machine's load against fixed numbers of threads: ``bench throughput --suite thread``.

A process trains or diarizes with one thread, with as many as there are cores, and by load, in turn: alone, beside a
process that keeps one core busy, and beside a second process that does the same work in the same way. The number of all
cores is left out beside others, where it takes many times as long, except in the full profile.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

from diarbench.backends.threads import usable_cores
from diarbench.benchmarks.throughput.systems import SYSTEMS

log = logging.getLogger(__name__)

WORKER = """if 1:
    import json, sys, tempfile, time
    from pathlib import Path
    import torch
    from lightning.fabric import Fabric
    from diarbench.backends import registry, threads
    from diarbench.backends.recipes import load as recipes
    from diarbench.backends.training.trainer import Trainer
    from diarbench.datasets.corpora.catalog import open_dataset
    from diarbench.datasets.dataset import Recording

    kind, name, init, audio = sys.argv[1:]
    recipe = recipes.load("quick").model_copy(update={"epochs": 1000, "epoch_hours": 2 / 60})
    backend, cores = registry.load(name), len(threads.usable_cores())
    torch.manual_seed(1)
    torch.set_num_threads(1)  # for the warm-up: two processes with all cores each would take minutes
    network = backend.network(backend.resolve_init(init), recipe.objective)
    if kind == "training":
        fabric = Fabric(accelerator="cpu", devices=1)
        trainer = Trainer(network, name, open_dataset("ami-mini"), recipe, 1, fabric, Path(tempfile.mkdtemp()))
        trainer.start(lambda **_: None)
        work = lambda: trainer.train_epoch(lambda **_: None)
    else:
        diarizer, recording = backend.diarizer(network, "cpu"), Recording("a", "test", *[Path(audio)] * 3)
        def work():
            threads.adapt_threads()
            diarizer.infer(recording)
    work()
    print("ready", flush=True)
    for line in sys.stdin:
        number, times = json.loads(line)
        threads._by_load = None
        torch.set_num_threads(number or cores)
        if number is None:
            threads.follow_load(cores)
            time.sleep(threads.INTERVAL_S)
        begun = time.perf_counter()
        for _ in range(times):
            work()
        print(time.perf_counter() - begun, flush=True)
"""

BUSY = "while True: pass"

LONGER = 4
"""How often the work is repeated when another process does the same work.

Both processes start on an idle machine, and each takes all cores at first.
"""


@contextmanager
def process(script, *arguments):
    started = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def wait_until_ready(worker):
    for line in worker.stdout:
        if line == "ready\n":
            return
    raise AssertionError("the process ended")


def seconds_of(workers, threads, times):
    """Seconds that the first of these processes takes, all at work at once; ``threads`` None: by load."""
    for worker in workers:
        worker.stdin.write(json.dumps([threads, times]) + "\n")
        worker.stdin.flush()
    first, *_ = [float(worker.stdout.readline()) for worker in workers]
    return first


@pytest.mark.benchmark(group="threads by load over the best fixed number")
@pytest.mark.parametrize("kind", ["training", "inference"])
def test_threads_by_load(benchmark, system, kind, recording_of, repeats, request):
    if system == "nemo-streaming":
        pytest.skip("works like Sortformer's offline form")
    arguments = (WORKER, kind, *SYSTEMS[system], recording_of(30).audio)
    cores, full = len(usable_cores()), request.config.getoption("--full")
    times = 1 if kind == "training" or system == "pyannote" else 6
    ratios, loads = {}, {}
    with process(*arguments) as first, process(*arguments) as second:
        for worker in (first, second):
            wait_until_ready(worker)
        for beside in ("nothing", "a busy process", "the same work"):
            numbers = [1, *([cores] if beside == "nothing" or full else []), None]
            workers, longer = ([first, second], LONGER) if beside == "the same work" else ([first], 1)
            seconds = {number: [] for number in numbers}
            with process(BUSY if beside == "a busy process" else ""):
                for _ in range(repeats):
                    for number in numbers:
                        seconds[number].append(seconds_of(workers, number, longer * times))
            fastest = {number: min(values) for number, values in seconds.items()}
            by_load = fastest.pop(None)
            ratios[beside], loads[beside] = by_load / min(fastest.values()), os.getloadavg()[0]
            log.warning("%s, %s, beside %s: %s, load %.1f", system, kind, beside, seconds, loads[beside])
        benchmark.pedantic(seconds_of, ([first], None, times), rounds=1)
    benchmark.extra_info.update(ratios=ratios, loads=loads, ratio=max(ratios.values()))
