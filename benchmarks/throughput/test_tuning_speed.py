"""Cost of tuning relative to one inference pass on the same files, and to pyannote.pipeline's own Optimizer.

All times are processor times, so that other load on the machine does not count. The full profile has half an hour of
dev.
"""

from __future__ import annotations

from functools import cache
from time import process_time

import pytest
import soundfile
from optuna.samplers import RandomSampler

from diarbench.benchmarks.runs.inference_cache import InferenceCache
from diarbench.benchmarks.runs.tuning import Budget, Tuner
from diarbench.benchmarks.throughput.systems import device, full, make_diarizer
from diarbench.datasets.corpora.catalog import open_dataset
from diarbench.datasets.dataset import Recording, from_annotation
from diarbench.datasets.io.audio import SAMPLE_RATE
from diarbench.datasets.io.rttm import Turn, write_rttm

TRIALS = 50


@pytest.fixture(scope="module")
def dev_of(recording_of, tmp_path_factory):
    """Make six recordings of a given total length in seconds, with references, by repeating those of ami-mini."""
    dataset = open_dataset("ami-mini")
    source = [r for subset in ("test", "dev", "train") for r in dataset.subset(subset)]
    folder = tmp_path_factory.mktemp("dev")

    def make(seconds):
        length_s = seconds // 6
        audio = recording_of(length_s).audio
        turns, at, k = [], 0.0, 0
        while at < length_s:
            part = source[k % len(source)]
            turns += [Turn(at + t.start_s, min(at + t.end_s, length_s), f"{part.uri} {t.speaker}") for t in part.turns]
            at, k = at + part.duration_s, k + 1
        recordings = []
        for number in range(6):
            uri = f"r{number}"
            rttm, uem = folder / f"{uri}-{seconds}.rttm", folder / f"{uri}-{seconds}.uem"
            write_rttm(
                rttm, uri, [t._replace(speaker=t.speaker.replace(" ", "_")) for t in turns if t.start_s < length_s]
            )
            uem.write_text(f"{uri} 1 0 {length_s}\n")
            recordings.append(Recording(uri, "dev", audio, rttm, uem))
        return recordings

    return make


@pytest.fixture(scope="module")
def inferred_of(dev_of):
    """Make dev, its inference, and the processor seconds that the inference took."""

    @cache
    def make(system, seconds):
        dev, diarizer = dev_of(seconds), make_diarizer(system)
        started = process_time()
        inferred = {recording.uri: diarizer.infer(recording) for recording in dev}
        infer_s = process_time() - started
        for inference in inferred.values():
            if "activity" in inference:  # an untrained Sortformer predicts no speech, so ranks replace its activity
                frames = inference["activity"]
                inference["activity"] = (frames.argsort(0).argsort(0) / len(frames)).astype(frames.dtype)
        return dev, inferred, infer_s

    return make


def network_of(diarizer):
    return diarizer.network if hasattr(diarizer, "network") else diarizer.pipeline._segmentation.model


class PrecomputedInference(InferenceCache):
    """Returns precomputed inference, so that only the trials are timed."""

    def __init__(self, inferred):
        self.inferred = inferred

    def infer(self, diarizer, recording, model, warm_up=None):
        from diarbench.benchmarks.runs.timing import Cost

        return self.inferred[recording.uri], Cost()


def tune(diarizer, dev, inferred, seed, path):
    """The result of the search, and the processor seconds that it took."""
    network = network_of(diarizer)
    network.architecture = getattr(network, "architecture", dict)
    tuner = Tuner(network, device(), dev, "full", seed, PrecomputedInference(inferred), path)
    started = process_time()
    result = tuner.run(diarizer, {}, Budget(TRIALS))
    return result, process_time() - started


@pytest.mark.benchmark(group="fifty trials against an inference pass")
@pytest.mark.parametrize("audio_s", [120, *full(1800)])
def test_fifty_trials(benchmark, system, diarizer, inferred_of, audio_s, tmp_path):
    dev, inferred, infer_s = inferred_of(system, audio_s)
    result, trials_s = benchmark.pedantic(tune, (diarizer, dev, inferred, 1, tmp_path / "tuning.json"), rounds=1)
    benchmark.extra_info |= {
        "infer_s": round(infer_s, 2),
        "trials_s": round(trials_s, 2),
        "of_which_storage_s": round(result.storage_s, 2),
        "all_over_inference": round((infer_s + trials_s) / infer_s, 3),
        "dev_der": [result.default_der, result.best.der],
    }


@pytest.mark.benchmark(group="against pyannote.pipeline's Optimizer")
@pytest.mark.parametrize("audio_s", [120, *full(1800)])
def test_against_pyannote_s_optimizer(benchmark, inferred_of, audio_s, tmp_path):
    """Both run the same number of trials on the same files with the same kind of sampler and the same inference."""
    pytest.importorskip("pyannote.audio")
    from pyannote.pipeline import Optimizer

    from diarbench.backends.pyannote.pipeline import _segmentation
    from diarbench.benchmarks.scoring.der import CONDITIONS, pooled, score

    diarizer = make_diarizer("pyannote")
    dev, inferred, _ = inferred_of("pyannote", audio_s)
    result, ours_s = benchmark.pedantic(tune, (diarizer, dev, inferred, 1, tmp_path / "tuning.json"), rounds=1)

    files = [
        {
            "uri": recording.uri,
            "annotation": recording.reference,
            "annotated": recording.scored,
            "waveform": soundfile.read(recording.audio, dtype="float32")[0][None],
            "sample_rate": SAMPLE_RATE,
            diarizer.pipeline.CACHED_SEGMENTATION: _segmentation(inferred[recording.uri]),
            "training_cache/embeddings": {"embeddings": inferred[recording.uri]["embeddings"]},
        }
        for recording in dev
    ]
    optimizer = Optimizer(diarizer.pipeline, sampler=RandomSampler(seed=1))
    started = process_time()
    optimizer.tune(files, n_iterations=TRIALS, show_progress=False)
    theirs_s = process_time() - started
    chosen = {f"{group}.{name}": value for group, own in optimizer.best_params.items() for name, value in own.items()}
    theirs = {r.uri: from_annotation(diarizer.decode(r, inferred[r.uri], chosen)) for r in dev}
    reference, scored = {r.uri: r.turns for r in dev}, {r.uri: r.regions for r in dev}
    their_der = pooled(score(reference, theirs, scored, [CONDITIONS["full"]])["full"]).der
    benchmark.extra_info |= {
        "ours_s": round(ours_s, 2),
        "theirs_s": round(theirs_s, 2),
        "times_faster": round(theirs_s / ours_s, 1),
        "our_dev_der": result.best.der,
        "their_dev_der": their_der,
    }
