"""Cost of conversion and checking: ``bench throughput --suite data --full``.

The suite times the conversion of a hundred recordings, reports the speed-up of two workers over one on a thousand
recordings, compares the peak memory for a hundred and a thousand recordings, and checks a reference of 100,000 turns.
Of 500 recordings of 30 s, in the full profile 5,000 (42 hours), it times opening, drawing an epoch's windows and their
targets, and the check by one process and by one a core.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from itertools import count
from time import perf_counter, process_time

import numpy as np
import pytest
import soundfile

from diarbench.backends.threads import usable_cores
from diarbench.backends.training.windows import targets, training_windows
from diarbench.benchmarks.throughput.systems import full
from diarbench.datasets.checking.check import check
from diarbench.datasets.conversion.convert import convert
from diarbench.datasets.conversion.corpus import Corpus, SourceRecording
from diarbench.datasets.dataset import SUBSETS, Dataset, DatasetInfo
from diarbench.datasets.io.audio import SAMPLE_RATE, Clip
from diarbench.datasets.io.records import write_record
from diarbench.datasets.io.rttm import Region, Turn, rttm_text, write_rttm, write_uem

log = logging.getLogger(__name__)

RECORDINGS, DURATION_S, RATE = 1_000, 5.0, 44_100


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A thousand recordings to mix down and resample, with an RTTM each; hard links to ten different files."""
    root = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    for k in range(10):
        samples = rng.uniform(-0.25, 0.25, (round(DURATION_S * RATE), 2))
        soundfile.write(str(root / f"r{k:05d}.wav"), samples, RATE)
    for k in range(RECORDINGS):
        path = root / f"r{k:05d}.wav"
        if not path.exists():
            path.hardlink_to(root / f"r{k % 10:05d}.wav")
        turns = [Turn(float(t), t + 1.5, f"s{t % 3}") for t in range(8)]
        (root / f"r{k:05d}.rttm").write_text(rttm_text(path.stem, turns))
    return root


def recordings(root, number):
    return [
        SourceRecording(path.stem, (Clip(path),), [Turn(0.0, 1.0, "a")]) for path in sorted(root.glob("*.wav"))[:number]
    ]


@pytest.mark.benchmark(group="conversion of a hundred recordings")
def test_conversion(corpus, tmp_path, benchmark, repeats):
    """44.1 kHz, two channels, one worker."""
    number = count()

    def run():
        convert(Corpus("c", recordings(corpus, 100)), tmp_path / f"{next(number)}", workers=1)

    benchmark.pedantic(run, rounds=repeats, warmup_rounds=1)


@pytest.mark.full
@pytest.mark.benchmark(group="conversion of a thousand recordings with one and two workers")
def test_two_workers_to_one(corpus, tmp_path, benchmark):
    """Ratio of one worker to two, in wall time (at most 2 with two free cores) and in processor time.

    On a busy machine only the processor time is meaningful: a ratio of 1 means that a second worker adds no overhead.
    """
    wall_s, cpu_s = {}, {}

    def run():
        for workers in (1, 2):
            cpu_before, started = sum(os.times()[:4]), perf_counter()
            convert(Corpus("c", recordings(corpus, RECORDINGS)), tmp_path / f"by{workers}", workers=workers)
            wall_s[workers], cpu_s[workers] = perf_counter() - started, sum(os.times()[:4]) - cpu_before

    benchmark.pedantic(run, rounds=1)
    figures = {"wall_s": wall_s, "cpu_s": cpu_s, "wall": wall_s[1] / wall_s[2], "cpu": cpu_s[1] / cpu_s[2]}
    benchmark.extra_info.update(figures, ratio=figures["wall"])
    log.warning("%d recordings by one and by two workers: %s", RECORDINGS, figures)


@pytest.mark.full
@pytest.mark.benchmark(group="peak memory of converting a hundred and a thousand recordings")
def test_memory_as_the_count_grows(corpus, tmp_path, benchmark):
    """Peak resident memory of the conversion of a hundred and of a thousand recordings; needs Linux."""
    script = """if 1:
        import sys
        from pathlib import Path
        from diarbench.datasets.conversion.convert import convert
        from diarbench.datasets.formats.detect import find_corpus
        convert(find_corpus(sys.argv[1], "rttm"), Path(sys.argv[2]))
        status = Path("/proc/self/status").read_text()
        print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
    """
    peaks_mb = {}

    def run():
        for number in (RECORDINGS // 10, RECORDINGS):
            part = tmp_path / f"of{number}"
            part.mkdir()
            for path in sorted(corpus.iterdir())[: 2 * number]:
                (part / path.name).hardlink_to(path)
            command = [sys.executable, "-c", script, str(part), str(tmp_path / f"converted{number}")]
            process = subprocess.run(command, capture_output=True, text=True, check=True)
            peaks_mb[number] = int(process.stdout) / 1024

    benchmark.pedantic(run, rounds=1)
    ratio = peaks_mb[RECORDINGS] / peaks_mb[RECORDINGS // 10]
    benchmark.extra_info.update(peaks_mb=peaks_mb, ratio=ratio)
    log.warning("peak memory by recordings, in MB: %s: ratio %.2f", peaks_mb, ratio)


@pytest.mark.benchmark(group="checking a hundred thousand turns")
def test_check_of_a_hundred_thousand_turns(tmp_path, benchmark):
    """The reference of a recording of 28 hours; its audio is one second long."""
    turns = [Turn(float(k), k + 1.5, f"s{k % 7}") for k in range(100_000)]
    soundfile.write(str(tmp_path / "x.wav"), np.zeros(16_000), 16_000)
    dataset = convert(
        Corpus("c", [SourceRecording(uri, (Clip(tmp_path / "x.wav"),), [Turn(0.0, 1.0, "a")]) for uri in "abc"]),
        tmp_path / "d",
    )
    recording = dataset.subset("train")[0]
    recording.rttm.write_text(rttm_text(recording.uri, turns))
    checked = benchmark.pedantic(lambda: check(dataset.root), rounds=3)
    assert sum(finding.kind == "turn outside the audio" for finding in checked.findings) == 100_000


WINDOW_S, LENGTH_S = 10, 30


@pytest.fixture(scope="module", params=[500, *full(5_000)])
def many(request, tmp_path_factory):
    """A dataset of many recordings, nearly all of them train; hard links to ten different files."""
    root = tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(0)
    sources = [root / f"source{k}.wav" for k in range(10)]
    for source in sources:
        soundfile.write(str(source), rng.uniform(-0.25, 0.25, LENGTH_S * SAMPLE_RATE), SAMPLE_RATE)
    turns = [Turn(2.0 * k, 2.0 * k + 2.5, f"s{k % 3}") for k in range(13)]
    uris = {"dev": ["dev0"], "test": ["test0"], "train": [f"r{k:05d}" for k in range(request.param - 2)]}
    for subset in SUBSETS:
        for kind in ("wav", "rttm", "uem"):
            (root / subset / kind).mkdir(parents=True)
        for number, uri in enumerate(uris[subset]):
            (root / subset / "wav" / f"{uri}.wav").hardlink_to(sources[number % 10])
            write_rttm(root / subset / "rttm" / f"{uri}.rttm", uri, turns)
            write_uem(root / subset / "uem" / f"{uri}.uem", {uri: [Region(0.0, float(LENGTH_S))]})
        (root / f"{subset}.txt").write_text("".join(f"{uri}\n" for uri in uris[subset]))
    words = dict.fromkeys(("corpus", "source", "licence", "split_rule"), "")
    write_record(root / "dataset.json", DatasetInfo(name="many", fingerprint="0" * 64, subsets={}, **words))
    return root


@pytest.mark.benchmark(group="opening a dataset, drawing an epoch and its targets")
def test_opening_drawing_and_targets(many, benchmark, repeats):
    """Processor time is reported too: on a busy machine only that is meaningful."""
    samples, centres, processor_s = WINDOW_S * SAMPLE_RATE, np.arange(589) * 0.017, []

    def run():
        begun = process_time()
        windows = training_windows(Dataset.open(many).subset("train"), WINDOW_S, 1, 1)
        for window in windows:
            targets(window, samples, centres, 3)
        processor_s.append(process_time() - begun)
        return len(windows)

    windows = benchmark.pedantic(run, rounds=repeats)
    benchmark.extra_info.update(windows=windows, processor_s=min(processor_s))
    log.warning(
        "%d windows opened, drawn and their targets made in %.2f s of processor time", windows, min(processor_s)
    )


@pytest.mark.benchmark(group="checking a dataset by one process and by one a core")
def test_check_by_cores(many, benchmark):
    """The ratio of wall times, which says something on a quiet machine only."""
    seconds = {}

    def run():
        for workers in (1, len(usable_cores())):
            begun = perf_counter()
            check(many, workers)
            seconds[workers] = perf_counter() - begun

    benchmark.pedantic(run, rounds=1)
    ratio = seconds[1] / seconds[len(usable_cores())]
    benchmark.extra_info.update(seconds_by_workers=seconds, ratio=ratio)
    log.warning("seconds of checking by number of workers: %s", seconds)
