"""What tuning gains on recordings outside dev: random search against TPE, and the rule against the lowest DER on dev.

Dev sets are drawn from the 14 recordings of ami-mini; each search has fifty trials, and the others are scored at the
defaults, at the lowest trial and at the trial that the rule chooses. The full profile has sixty draws a size.
"""

from __future__ import annotations

from functools import cache
from statistics import fmean

import numpy as np
import optuna
import pytest

from diarbench.backends import registry
from diarbench.backends.objective import Objective
from diarbench.benchmarks.runs.choice import choose
from diarbench.benchmarks.scoring.der import CONDITIONS, pooled, score
from diarbench.benchmarks.throughput.systems import device, full
from diarbench.datasets.corpora.catalog import open_dataset
from diarbench.datasets.dataset import from_annotation
from diarbench.reports.results.run import Trial

TRIALS = 50
SAMPLERS = {"random": optuna.samplers.RandomSampler, "tpe": optuna.samplers.TPESampler}


@cache
def inferred(name):
    """The pretrained diarizer of a backend, and its inference of each recording of ami-mini."""
    if message := registry.missing(name):
        pytest.skip(message)
    backend, dataset = registry.load(name), open_dataset("ami-mini")
    diarizer = backend.diarizer(backend.network(backend.resolve_init("auto"), Objective()), device())
    recordings = [recording for subset in ("train", "dev", "test") for recording in dataset.subset(subset)]
    return diarizer, {recording: diarizer.infer(recording) for recording in recordings}


def errors_of(diarizer, inferences, recordings, values):
    turns = {r.uri: from_annotation(diarizer.decode(r, inferences[r], values)) for r in recordings}
    reference, scored = {r.uri: r.turns for r in recordings}, {r.uri: r.regions for r in recordings}
    return score(reference, turns, scored, [CONDITIONS["full"]])["full"]


def search(name, sampler, dev, seed):
    """The trials of a search on dev, and the reference speech of its recordings."""
    diarizer, inferences = inferred(name)
    study, trials = optuna.create_study(sampler=SAMPLERS[sampler](seed=seed)), []
    study.enqueue_trial({parameter: diarizer.defaults[parameter] for parameter in diarizer.search_space})
    for number in range(TRIALS):
        drawn = study.ask(dict(diarizer.search_space))
        values = {**diarizer.defaults, **drawn.params}
        errors = errors_of(diarizer, inferences, dev, values)
        study.tell(drawn, pooled(errors).der)
        error_s = {uri: parts.error_s for uri, parts in errors.items()}
        trials.append(Trial(number=number, values=values, der=pooled(errors).der, seconds=0, error_s=error_s))
    return trials, {uri: parts.total for uri, parts in errors.items()}


def gains(name, sampler, size, draws):
    """Points gained over the defaults outside dev, by the lowest trial and by the rule's; one pair a draw."""
    diarizer, inferences = inferred(name)
    for draw in range(draws):
        order = np.random.default_rng([draw, size]).permutation(len(inferences))
        shuffled = [list(inferences)[k] for k in order]
        dev, rest = shuffled[:size], shuffled[size:]
        trials, speech_s = search(name, sampler, dev, draw)
        choice = choose(trials, speech_s)
        before, lowest = (
            pooled(errors_of(diarizer, inferences, rest, trials[k].values)).der for k in (0, choice.lowest)
        )
        gain = 100 * (before - lowest)
        yield gain, 0.0 if choice.kept_start else gain


@pytest.mark.benchmark(group="tuning, on recordings outside dev")
@pytest.mark.parametrize("draws", [4, *full(60)])
@pytest.mark.parametrize("size", [7, 10])
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("name", ["pyannote", "nemo"])
def test_gain_outside_dev(benchmark, name, sampler, size, draws):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    inferred(name)
    pairs = benchmark.pedantic(lambda: list(gains(name, sampler, size, draws)), rounds=1)
    for rule, found in zip(("lowest", "rule"), zip(*pairs, strict=True), strict=True):
        benchmark.extra_info[f"{rule}_points"] = round(fmean(found), 2)
        benchmark.extra_info[f"{rule}_harmed"] = round(fmean(gain < -1 for gain in found), 2)
