"""Cost of a process: time to the first output, peak memory, and overhead of isolated runs."""

from __future__ import annotations

import subprocess
import sys
from time import perf_counter

import pytest

from diarbench.backends.recipes import load as recipes
from diarbench.benchmarks.runs.environment import worker_environment
from diarbench.benchmarks.throughput.systems import SYSTEMS, device, full, run_in_process
from diarbench.datasets.corpora.catalog import open_dataset
from diarbench.datasets.io.records import read_record, write_record
from diarbench.reports.results.job import Job
from diarbench.reports.results.run import Run

DIARIZE = """if 1:
    import json, resource, sys
    from pathlib import Path
    import torch
    from diarbench.backends import registry
    from diarbench.backends.objective import Objective
    from diarbench.datasets.dataset import Recording
    name, init, device, audio = sys.argv[1:]
    torch.manual_seed(1)
    backend, audio = registry.load(name), Path(audio)
    diarizer = backend.diarizer(backend.network(backend.resolve_init(init), Objective()), device)
    recording = Recording(audio.stem, "test", audio, audio, audio)
    loaded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    inference = diarizer.infer(recording)
    inferred = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    diarizer.decode(recording, inference, diarizer.defaults)
    decoded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peaks_mb = {"loaded": loaded / 1e3, "inferred": inferred / 1e3, "decoded": decoded / 1e3}
    if device == "cuda":
        peaks_mb["device"] = torch.cuda.max_memory_allocated() / 1e6
    print(json.dumps(peaks_mb))
"""

TEN_MINUTES_S = 600


@pytest.mark.benchmark(group="a process from start to the turns of 30 s")
def test_cold_start(benchmark, system, recording_of, repeats):
    arguments = (*SYSTEMS[system], device(), recording_of(30).audio)
    benchmark.pedantic(run_in_process, (DIARIZE, *arguments), rounds=max(1, repeats - 2), warmup_rounds=0)


@pytest.mark.benchmark(group="bench --help")
def test_help(benchmark, repeats):
    def show_help():
        subprocess.run([sys.executable, "-m", "diarbench.benchmarks.cli", "--help"], check=True, capture_output=True)

    benchmark.pedantic(show_help, rounds=2 * repeats, warmup_rounds=1)


@pytest.mark.benchmark(group="peak memory, by seconds of audio")
@pytest.mark.parametrize("audio_s", [300, *full(1800, 3600, 5 * 3600)])
def test_peak_memory(benchmark, system, recording_of, audio_s):
    """Peak memory of a process that diarizes one recording: after loading, after inference and after decoding."""
    if system == "nemo" and audio_s > 1800:
        pytest.skip("offline Sortformer rejects recordings that do not fit in memory")
    arguments = (*SYSTEMS[system], device(), recording_of(audio_s).audio)
    peaks_mb = benchmark.pedantic(run_in_process, (DIARIZE, *arguments), rounds=1)
    benchmark.extra_info |= {"peaks_mb": peaks_mb, "peak_mb": peaks_mb["decoded"]}
    if "device" in peaks_mb:
        benchmark.extra_info["device_peak_mb"] = peaks_mb["device"]


@pytest.mark.benchmark(group="a run in its own process, and its overhead")
@pytest.mark.parametrize("epochs", [1, *full(40)])
def test_isolation(benchmark, system, tmp_path, epochs):
    """Seconds that a run in its own process spends on startup and bookkeeping, with an empty inference cache.

    Most of them do not depend on the length of the run, so they are reported relative to ten minutes, or to the run if
    it is longer. ``startup_s`` is the import of the toolkit and the loading of the initial weights, which a script
    without isolation needs once per toolkit; ``bookkeeping_s`` is the time outside all phases.
    """
    backend, init = SYSTEMS[system]
    dataset = open_dataset("ami-mini")
    job = Job(
        backend=backend,
        dataset=dataset.info.name,
        dataset_root=str(dataset.root.resolve()),
        fingerprint=dataset.info.fingerprint,
        recipe=recipes.load("quick").model_copy(update={"epochs": epochs}).model_dump(),
        seed=1,
        init=init,
        init_sha256=None,
        device=device(),
        threads=1,
    )
    write_record(tmp_path / "job.json", job)
    command = [sys.executable, "-m", "diarbench.benchmarks.runs.worker", str(tmp_path / "job.json")]

    def run():
        started = perf_counter()
        variables = {**worker_environment(1), "DIARBENCH_CACHE": str(tmp_path / "cache")}
        process = subprocess.run(command, env=variables, capture_output=True, text=True)
        assert process.returncode == 0, (tmp_path / "log.txt").read_text()
        return perf_counter() - started

    seconds = benchmark.pedantic(run, rounds=1)
    phases = {phase.name: phase.seconds for phase in read_record(tmp_path / "run.json", Run).phases}
    bookkeeping_s = seconds - sum(phases.values())
    startup_s = phases["loading"]
    benchmark.extra_info.update(
        phases_s=phases,
        startup_s=startup_s,
        bookkeeping_s=bookkeeping_s,
        share_of_ten_minutes=(startup_s + bookkeeping_s) / max(seconds, TEN_MINUTES_S),
        bookkeeping_share_of_ten_minutes=bookkeeping_s / max(seconds, TEN_MINUTES_S),
    )
