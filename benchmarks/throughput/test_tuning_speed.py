"""What tuning costs beside one inference pass of the same files, and beside pyannote.pipeline's own Optimizer.

Time is the process' own, so that what else the machine does is left out. The full profile has half an hour of dev.
"""

from __future__ import annotations

from functools import cache
from time import process_time

import pytest
import soundfile
from optuna.samplers import TPESampler

from diarbench.benchmarks.cache import InferenceCache
from diarbench.benchmarks.throughput.shared import device, full, make_diarizer
from diarbench.benchmarks.tuning import Budget, Tuner
from diarbench.datasets.catalog import open_dataset
from diarbench.datasets.layout import SAMPLE_RATE, Recording, from_annotation
from diarbench.datasets.rttm import Turn, write_rttm

TRIALS = 50


@pytest.fixture(scope="module")
def dev_of(recording_of, tmp_path_factory):
    """Six recordings of so many seconds in all, with their references: ami-mini's, one after the other."""
    dataset = open_dataset("ami-mini")
    found = [r for subset in ("test", "dev", "train") for r in dataset.subset(subset)]
    folder = tmp_path_factory.mktemp("dev")

    def make(seconds):
        each = seconds // 6
        audio = recording_of(each).audio
        turns, at, k = [], 0.0, 0
        while at < each:
            part = found[k % len(found)]
            turns += [Turn(at + t.start_s, min(at + t.end_s, each), f"{part.uri} {t.speaker}") for t in part.turns]
            at, k = at + part.duration_s, k + 1
        made = []
        for number in range(6):
            uri = f"r{number}"
            rttm, uem = folder / f"{uri}-{seconds}.rttm", folder / f"{uri}-{seconds}.uem"
            write_rttm(rttm, uri, [t._replace(speaker=t.speaker.replace(" ", "_")) for t in turns if t.start_s < each])
            uem.write_text(f"{uri} 1 0 {each}\n")
            made.append(Recording(uri, "dev", audio, rttm, uem))
        return made

    return make


@pytest.fixture(scope="module")
def inferred_of(dev_of):
    """Dev, one inference pass of it, and the process' seconds that the pass took."""

    @cache
    def make(system, seconds):
        dev, diarizer = dev_of(seconds), make_diarizer(system)
        begun = process_time()
        inferred = {recording.uri: diarizer.infer(recording) for recording in dev}
        took = process_time() - begun
        for inference in inferred.values():
            if "activity" in inference:  # a Sortformer from scratch is silent: each frame's rank is a talkative one's
                frames = inference["activity"]
                inference["activity"] = (frames.argsort(0).argsort(0) / len(frames)).astype(frames.dtype)
        return dev, inferred, took

    return make


def network_of(diarizer):
    return diarizer.network if hasattr(diarizer, "network") else diarizer.pipeline._segmentation.model


class Given(InferenceCache):
    """Inference that was made before, so that what is timed is the trials."""

    def __init__(self, inferred):
        self.inferred = inferred

    def infer(self, diarizer, recording, model):
        from diarbench.benchmarks.speed import Cost

        return self.inferred[recording.uri], Cost()


def tuned(diarizer, dev, inferred, seed, path):
    """The search, and the seconds of the process that it took."""
    network = network_of(diarizer)
    network.architecture = getattr(network, "architecture", dict)
    tuner = Tuner(network, device(), dev, "full", seed, Given(inferred), path)
    begun = process_time()
    found = tuner.run(diarizer, {}, Budget(TRIALS))
    return found, process_time() - begun


@pytest.mark.benchmark(group="fifty trials against an inference pass")
@pytest.mark.parametrize("audio_s", [120, *full(1800)])
def test_fifty_trials(benchmark, system, diarizer, inferred_of, audio_s, tmp_path):
    dev, inferred, infer_s = inferred_of(system, audio_s)
    found, trials_s = benchmark.pedantic(tuned, (diarizer, dev, inferred, 1, tmp_path / "tuning.json"), rounds=1)
    benchmark.extra_info |= {
        "infer_s": round(infer_s, 2),
        "trials_s": round(trials_s, 2),
        "of_which_storage_s": round(found.storage_s, 2),
        "all_over_inference": round((infer_s + trials_s) / infer_s, 3),
        "dev_der": [found.default_der, found.best.der],
    }


@pytest.mark.benchmark(group="against pyannote.pipeline's Optimizer")
@pytest.mark.parametrize("audio_s", [120, *full(1800)])
def test_against_pyannote_s_optimizer(benchmark, inferred_of, audio_s, tmp_path):
    """The same number of trials on the same files by the same kind of sampler; inference is given to both."""
    pytest.importorskip("pyannote.audio")
    from pyannote.pipeline import Optimizer

    from diarbench.backends.pyannote.pipeline import _segmentation
    from diarbench.benchmarks.scoring import CONDITIONS, pooled, score

    diarizer = make_diarizer("pyannote")
    dev, inferred, _ = inferred_of("pyannote", audio_s)
    found, ours_s = benchmark.pedantic(tuned, (diarizer, dev, inferred, 1, tmp_path / "tuning.json"), rounds=1)

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
    optimizer = Optimizer(diarizer.pipeline, sampler=TPESampler(seed=1))
    begun = process_time()
    optimizer.tune(files, n_iterations=TRIALS, show_progress=False)
    theirs_s = process_time() - begun
    chosen = {f"{group}.{name}": value for group, own in optimizer.best_params.items() for name, value in own.items()}
    theirs = {r.uri: from_annotation(diarizer.decode(r, inferred[r.uri], chosen)) for r in dev}
    reference, scored = {r.uri: r.turns for r in dev}, {r.uri: r.regions for r in dev}
    their_der = pooled(score(reference, theirs, scored, [CONDITIONS["full"]])["full"]).der
    benchmark.extra_info |= {
        "ours_s": round(ours_s, 2),
        "theirs_s": round(theirs_s, 2),
        "times_faster": round(theirs_s / ours_s, 1),
        "our_dev_der": found.best.der,
        "their_dev_der": their_der,
    }
