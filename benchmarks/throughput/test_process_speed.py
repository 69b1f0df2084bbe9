"""What a process costs: until its first answer, at its peak of memory, and beside the work that it was started for."""

from __future__ import annotations

import subprocess
import sys
from time import perf_counter

import pytest

from diarbench.backends import recipes
from diarbench.benchmarks.runner import worker_environment
from diarbench.benchmarks.throughput.shared import SYSTEMS, device, full, in_a_process
from diarbench.datasets.catalog import open_dataset
from diarbench.reports.records import Job, Run, read_record, write_record

DIARIZE = """if 1:
    import json, resource, sys
    from pathlib import Path
    import torch
    from diarbench.backends import registry
    from diarbench.backends.objective import Objective
    from diarbench.datasets.layout import Recording
    name, init, device, audio = sys.argv[1:]
    torch.manual_seed(1)
    backend, audio = registry.load(name), Path(audio)
    diarizer = backend.diarizer(backend.network(backend.locate(init), Objective()), device)
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


@pytest.mark.benchmark(group="a process, from its start to the turns of 30 s")
def test_cold_start(benchmark, system, recording_of, repeats):
    arguments = (*SYSTEMS[system], device(), recording_of(30).audio)
    benchmark.pedantic(in_a_process, (DIARIZE, *arguments), rounds=max(1, repeats - 2), warmup_rounds=0)


@pytest.mark.benchmark(group="bench --help")
def test_help(benchmark, repeats):
    def ask():
        subprocess.run([sys.executable, "-m", "diarbench.benchmarks.cli", "--help"], check=True, capture_output=True)

    benchmark.pedantic(ask, rounds=2 * repeats, warmup_rounds=1)


@pytest.mark.benchmark(group="peak memory, by seconds of audio")
@pytest.mark.parametrize("audio_s", [300, *full(1800, 3600, 5 * 3600)])
def test_peak_memory(benchmark, system, recording_of, audio_s):
    """Peaks of a process that diarizes one recording: once loaded, once inferred and once decoded."""
    if system == "nemo" and audio_s > 1800:
        pytest.skip("the offline form is refused where memory does not hold it")
    arguments = (*SYSTEMS[system], device(), recording_of(audio_s).audio)
    peaks_mb = benchmark.pedantic(in_a_process, (DIARIZE, *arguments), rounds=1)
    benchmark.extra_info |= {"peaks_mb": peaks_mb, "peak_mb": peaks_mb["decoded"]}
    if "device" in peaks_mb:
        benchmark.extra_info["device_peak_mb"] = peaks_mb["device"]


@pytest.mark.benchmark(group="a whole run, and what of it is no phase's")
@pytest.mark.parametrize("epochs", [1, *full(40)])
def test_isolation(benchmark, system, tmp_path, epochs):
    """A run in a process of its own: of its seconds, those for starting, loading and keeping books.

    Most of them do not depend on how long the run is, so they are told against ten minutes, or the run if that was
    longer; nothing is inferred before. ``startup_s`` is the import of the toolkit and the first weights, which a script
    without isolation would wait for once a toolkit; ``books_s`` is what no phase holds.
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
    command = [sys.executable, "-m", "diarbench.benchmarks.worker", str(tmp_path / "job.json")]

    def run():
        begun = perf_counter()
        alone = {**worker_environment(1), "DIARBENCH_CACHE": str(tmp_path / "cache")}
        done = subprocess.run(command, env=alone, capture_output=True, text=True)
        assert done.returncode == 0, (tmp_path / "log.txt").read_text()
        return perf_counter() - begun

    seconds = benchmark.pedantic(run, rounds=1)
    phases = {phase.name: phase.seconds for phase in read_record(tmp_path / "run.json", Run).phases}
    books_s = seconds - sum(phases.values())
    startup_s = phases["loading"]
    benchmark.extra_info.update(
        phases_s=phases,
        startup_s=startup_s,
        books_s=books_s,
        share_of_ten_minutes=(startup_s + books_s) / max(seconds, TEN_MINUTES_S),
        books_share_of_ten_minutes=books_s / max(seconds, TEN_MINUTES_S),
    )
