"""Speed of scoring: ``bench throughput --suite scoring --full``.

Since seconds depend on the machine, the suite also reports the ratio to pyannote.metrics in the same run, on as many
recordings and turns as VoxConverse's test set, and turns per second from a thousand to a million turns. All times are
processor times, so that other load on the machine does not count.
"""

from __future__ import annotations

from time import process_time

import numpy as np
import pytest

from diarbench.benchmarks.scoring.der import CONDITIONS, score
from diarbench.benchmarks.scoring.turns import merge_overlapping
from diarbench.benchmarks.throughput.systems import full
from diarbench.datasets.dataset import to_annotation
from diarbench.datasets.io.rttm import Region, Turn, read_rttm, rttm_text

PROTOCOLS = list(CONDITIONS.values())


def conversations(recordings, turns, seed):
    """Simulated turns by recording: six speakers with some overlap, times rounded to milliseconds."""
    rng = np.random.default_rng(seed)
    by_uri = {}
    for i in range(recordings):
        starts = np.cumsum(rng.gamma(1.2, 2.0, turns) + 0.2).round(3)
        ends = (starts + rng.gamma(1.5, 1.6, turns) + 0.1).round(3)
        speakers = rng.integers(0, 6, turns)
        by_uri[f"r{i}"] = [
            Turn(start, end, f"s{speaker}")
            for start, end, speaker in zip(starts.tolist(), ends.tolist(), speakers.tolist(), strict=True)
        ]
    return by_uri


def with_errors(reference, seed):
    """The same turns with shifted boundaries and some speakers exchanged."""
    rng = np.random.default_rng(seed)

    def moved(turn):
        start, end = turn.start_s + rng.normal(0, 0.1), turn.end_s + rng.normal(0, 0.1)
        speaker = turn.speaker if rng.random() < 0.9 else f"s{rng.integers(0, 6)}"
        return Turn(round(max(start, 0), 3), round(max(end, start + 0.05, 0.05), 3), speaker)

    return {uri: [moved(turn) for turn in turns] for uri, turns in reference.items()}


def full_regions(reference):
    return {uri: [Region(0, max(turn.end_s for turn in turns) + 1)] for uri, turns in reference.items()}


def pyannote_seconds(reference, hypothesis, scored):
    """pyannote.metrics' totals by condition; its collar is the full width, twice ours."""
    from pyannote.core import Segment, Timeline
    from pyannote.metrics.diarization import DiarizationErrorRate

    totals = {}
    for protocol in PROTOCOLS:
        metric = DiarizationErrorRate(collar=2 * protocol.collar_s, skip_overlap=not protocol.score_overlap)
        for uri, regions in scored.items():
            metric(reference[uri], hypothesis[uri], uem=Timeline([Segment(*region) for region in regions]))
        totals[protocol.name] = metric[:]
    return totals


@pytest.fixture(scope="module")
def voxconverse_sized():
    reference = conversations(232, 84, seed=1)
    merged = [merge_overlapping(side, list(side)) for side in (reference, with_errors(reference, seed=2))]
    return *merged, full_regions(reference)  # pyannote.metrics counts a speaker's own overlap twice


@pytest.mark.benchmark(group="against pyannote.metrics", timer=process_time)
@pytest.mark.parametrize("parsing", [False, True], ids=["in memory", "with parsing"])
def test_against_pyannote_metrics(benchmark, voxconverse_sized, tmp_path, parsing):
    reference, hypothesis, scored = voxconverse_sized
    for name, side in (("ref", reference), ("hyp", hypothesis)):
        (tmp_path / f"{name}.rttm").write_text("".join(rttm_text(uri, turns) for uri, turns in side.items()))
    files = [tmp_path / "ref.rttm", tmp_path / "hyp.rttm"]

    def ours():
        return score(*(map(read_rttm, files) if parsing else (reference, hypothesis)), scored, PROTOCOLS)

    in_memory = [{uri: to_annotation(uri, side[uri]) for uri in side} for side in (reference, hypothesis)]

    def theirs():
        from pyannote.database.util import load_rttm

        return pyannote_seconds(*(map(load_rttm, files) if parsing else in_memory), scored)

    scores = benchmark.pedantic(ours, rounds=5, warmup_rounds=1)
    started = process_time()
    their_figures = theirs()
    their_s = process_time() - started
    total = sum(errors.total for errors in scores["full"].values())
    assert their_figures["full"]["total"] == pytest.approx(total, rel=1e-3)  # both scored the same speech
    benchmark.extra_info["pyannote_metrics_s"] = round(their_s, 2)
    benchmark.extra_info["times_faster"] = round(their_s / benchmark.stats["median"], 1)


@pytest.mark.benchmark(group="by number of turns", timer=process_time)
@pytest.mark.parametrize("recordings", [10, 100, *full(1_000, 10_000)])
def test_cost_is_proportional_to_turns(benchmark, recordings):
    """A hundred turns per recording, up to a million turns."""
    reference = conversations(recordings, 100, seed=3)
    hypothesis, scored = with_errors(reference, seed=4), full_regions(reference)
    benchmark.pedantic(score, (reference, hypothesis, scored, PROTOCOLS), rounds=3, warmup_rounds=1)
    benchmark.extra_info["reference_turns_per_s"] = round(recordings * 100 / benchmark.stats["median"])


@pytest.mark.benchmark(group="one long recording, by number of turns", timer=process_time)
@pytest.mark.parametrize("turns", [1_000, 10_000, *full(100_000, 1_000_000)])
def test_cost_of_one_recording(benchmark, turns):
    reference = conversations(1, turns, seed=5)
    hypothesis, scored = with_errors(reference, seed=6), full_regions(reference)
    benchmark.pedantic(score, (reference, hypothesis, scored, PROTOCOLS), rounds=3, warmup_rounds=1)
    benchmark.extra_info["reference_turns_per_s"] = round(turns / benchmark.stats["median"])
