"""Cost of inference by length and batch size, of decoding, and relative to the toolkit's own call."""

from __future__ import annotations

from time import perf_counter, process_time

import numpy as np
import pytest
import soundfile
import yaml

from diarbench.benchmarks.throughput.systems import full, make_diarizer, synchronised
from diarbench.datasets.dataset import from_annotation
from diarbench.datasets.io.audio import SAMPLE_RATE
from diarbench.datasets.io.rttm import Turn, write_rttm


@pytest.mark.benchmark(group="inference, by seconds of audio")
@pytest.mark.parametrize("audio_s", [30, *full(300, 3600)])
def test_inference(benchmark, diarizer, recording_of, audio_s, repeats):
    recording = recording_of(audio_s)
    rounds = repeats if audio_s <= 300 else 1
    benchmark.pedantic(synchronised(lambda: diarizer.infer(recording)), rounds=rounds, warmup_rounds=rounds > 1)
    record_rate(benchmark, audio_s)


@pytest.mark.benchmark(group="inference, by batch size")
@pytest.mark.parametrize("batch_size", [1, 16, *full(4, 8, 32, 64)])
def test_batch_size(benchmark, recording_of, batch_size, repeats):
    """pyannote only; Sortformer processes one recording at a time."""
    pytest.importorskip("pyannote.audio")
    from diarbench.backends.pyannote.inference import embed, segment

    diarizer, audio = make_diarizer("pyannote"), recording_of(60).audio
    inference = diarizer.pipeline._segmentation

    def infer():
        embed(inference, diarizer.parts.embedder, audio, segment(inference, audio, batch_size), True, batch_size)

    benchmark.pedantic(synchronised(infer), rounds=repeats, warmup_rounds=1)
    record_rate(benchmark, 60)


@pytest.mark.benchmark(group="decoding, by seconds of audio")
@pytest.mark.parametrize("audio_s", [30, *full(300, 3600)])
def test_decoding(benchmark, diarizer, recording_of, audio_s, repeats):
    recording = recording_of(audio_s)
    inference = diarizer.infer(recording)
    chosen = parameters_with_turns(diarizer, inference)
    benchmark.pedantic(diarizer.decode, (recording, inference, chosen), rounds=repeats, warmup_rounds=1)
    record_rate(benchmark, audio_s)


@pytest.mark.benchmark(group="against the toolkit's own call")
@pytest.mark.parametrize("what", ["audio to annotation", "file to RTTM"])
@pytest.mark.parametrize("audio_s", [60, *full(600)])
def test_against_the_toolkit_s_own_call(benchmark, system, diarizer, recording_of, what, audio_s, repeats, tmp_path):
    """Ours and the toolkit's alternate on the same file and yield the same turns; the median ratio is reported.

    For "audio to annotation" the toolkit receives decoded audio from memory, while ours still reads the file. On a busy
    machine only the ratio of processor times is meaningful.
    """
    recording = recording_of(audio_s)
    chosen = parameters_with_turns(diarizer, diarizer.infer(recording))
    in_memory, _ = soundfile.read(recording.audio, dtype="float32")
    to_rttm, turns, seconds = what == "file to RTTM", {}, {"ours": [], "theirs": []}

    def ours():
        turns["ours"] = from_annotation(diarizer.decode(recording, diarizer.infer(recording), chosen))
        if to_rttm:
            write_rttm(tmp_path / "ours.rttm", recording.uri, turns["ours"])

    def theirs():
        turns["theirs"] = CALLS[system](diarizer, recording, None if to_rttm else in_memory, chosen, tmp_path)
        if to_rttm:
            write_rttm(tmp_path / "theirs.rttm", recording.uri, turns["theirs"])

    def clocked(work):
        def timed():
            started = perf_counter(), process_time()
            synchronised(work)()
            seconds[work.__name__].append((perf_counter() - started[0], process_time() - started[1]))

        return timed

    benchmark.pedantic(clocked(ours), setup=clocked(theirs), rounds=repeats, warmup_rounds=1)
    our_s, their_s = (np.array(seconds[name][-repeats:]) for name in ("ours", "theirs"))
    by_clock, by_processor = (their_s / our_s).T
    benchmark.extra_info["toolkit_s"] = float(np.median(their_s[:, 0]))
    benchmark.extra_info["times_as_fast"] = float(np.median(by_clock))
    benchmark.extra_info["times_as_fast_deviation"] = float(np.std(by_clock, ddof=1))
    benchmark.extra_info["times_as_fast_by_processor"] = float(np.median(by_processor))
    record_rate(benchmark, audio_s)
    assert_same(turns["ours"], turns["theirs"])


def pyannote_call(diarizer, recording, audio, chosen, folder):
    import torch
    from pyannote.core import Segment

    pipeline = diarizer.pipeline
    pipeline.training = False  # no cache
    pipeline.segmentation_batch_size = pipeline.embedding_batch_size = 32  # as in its published configuration
    named = {tuple(name.split(".")): value for name, value in chosen.items()}
    clustering = {key: named["clustering", key] for key in ("method", "min_cluster_size", "threshold")}
    pipeline.instantiate({"segmentation": {"min_duration_off": 0.0}, "clustering": clustering})
    audio = soundfile.read(recording.audio, dtype="float32")[0] if audio is None else audio
    file = {"uri": recording.uri, "waveform": torch.from_numpy(audio)[None], "sample_rate": SAMPLE_RATE}
    return from_annotation(pipeline.apply(file).crop(Segment(0, recording.duration_s)))


def nemo_call(diarizer, recording, audio, chosen, folder):
    parameters = {name.removesuffix("_s"): value for name, value in chosen.items()}
    (folder / "parameters.yaml").write_text(yaml.safe_dump({"parameters": parameters}))
    (lines,) = diarizer.network.model.diarize(
        audio=str(recording.audio) if audio is None else audio,
        sample_rate=SAMPLE_RATE,
        postprocessing_yaml=str(folder / "parameters.yaml"),
        verbose=False,
    )
    parts = [line.split() for line in lines]
    return [Turn(float(start), float(end), speaker) for start, end, speaker in parts]


CALLS = {"pyannote": pyannote_call, "nemo": nemo_call, "nemo-streaming": nemo_call}


def parameters_with_turns(diarizer, inference):
    """The default parameters; for Sortformer with a threshold that some of the activity exceeds.

    It is the middle of the widest gap in the activity without its extremes, so that rounding puts nothing across it.
    """
    if "activity" not in inference:
        return diarizer.defaults
    activity = np.sort(inference["activity"], axis=None)
    inner = activity[len(activity) // 20 : -(len(activity) // 20)].astype(float)
    widest = np.diff(inner).argmax()
    threshold = float(inner[widest : widest + 2].mean())
    return {**diarizer.defaults, "onset": threshold, "offset": threshold}


def assert_same(ours, theirs):
    """Both have the same turns; the tolerance is for NeMo, which rounds to 10 ms."""
    assert len(ours) == len(theirs) > 0
    edges = [np.array(sorted((turn.start_s, turn.end_s) for turn in turns)) for turns in (ours, theirs)]
    np.testing.assert_allclose(*edges, atol=0.0201)


def record_rate(benchmark, audio_s):
    benchmark.extra_info["audio_s"] = audio_s
    benchmark.extra_info["real_time_factor"] = benchmark.stats.stats.median / audio_s
