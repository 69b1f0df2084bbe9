"""Tune a pipeline's hyper-parameters on dev: infer once, decode once per trial, for any toolkit.

Trials are drawn at random (Bergstra and Bengio 2012, "Random search for hyper-parameter optimization"). The defaults
are the first, and the trial with the lowest DER replaces them only where dev shows its gain (`choice`). A sampler that
learns from the trials, such as TPE, would fit the few recordings of dev before that rule sees them: docs/tuning.md has
figures. Trials run one after another and each decodes its recordings in parallel, so that the values depend only on the
seed and never on timing. Each trial is written to ``tuning.json`` before the next one; a search that was killed loses
no trial and repeats none.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diarbench.backends.base import Diarizer, Inference
from diarbench.benchmarks.runs.choice import choose
from diarbench.benchmarks.runs.inference_cache import CachedDiarizer, InferenceCache, model_digest
from diarbench.benchmarks.runs.search_space import Space, Values, describe_space, search_spaces
from diarbench.benchmarks.scoring.der import CONDITIONS, pooled, score
from diarbench.datasets.dataset import Recording, from_annotation
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import digest
from diarbench.datasets.io.records import read_record, write_record
from diarbench.datasets.io.watch import Watch
from diarbench.reports.results.run import Trial, Tuning

if TYPE_CHECKING:
    import optuna
    import torch

logger = logging.getLogger(__name__)

TRIALS = 50
"""The default number of trials."""

UPSTREAM_SHARE = 3
"""One trial in this many goes to the upstream diarizer, which is tuned first."""

STUDY_IDENTITY = {
    "model": "model: its network, or the code that decodes it, has changed since",
    "condition": "condition",
    "seed": "seed",
    "space": "search space",
    "defaults": "set of defaults",
    "audio_s": "dev set",
    "speech_s": "dev reference, or by version 0.1, which kept no errors by recording",
}
"""The fields that must be equal to resume a study, and their names in the error message."""


@dataclass(frozen=True)
class Budget:
    """The limits of a search; it ends at whichever is reached first."""

    trials: int | None = None
    """Total number of trials, earlier ones included."""
    seconds: float | None = None
    """Total seconds of trials, earlier ones included; inference does not count."""

    def spent(self, tuning: Tuning) -> bool:
        """Whether a search has reached a limit."""
        trials, seconds = len(tuning.trials), tuning.decode_s + tuning.storage_s
        return (self.trials is not None and trials >= self.trials) or (
            self.seconds is not None and seconds >= self.seconds
        )

    def less(self, tuning: Tuning) -> Budget:
        """The budget that remains after a search; at least one trial."""
        return Budget(
            None if self.trials is None else max(1, self.trials - len(tuning.trials)),
            None if self.seconds is None else self.seconds - tuning.decode_s - tuning.storage_s,
        )

    def share(self) -> Budget:
        """The upstream diarizer's part of the budget."""
        return Budget(
            None if self.trials is None else max(1, self.trials // UPSTREAM_SHARE),
            None if self.seconds is None else self.seconds / UPSTREAM_SHARE,
        )


class Tuner:
    """Tunes the diarizers of one network on dev; `run` resumes the study in ``path`` where it exists.

    Raises UserError where dev has no scored speech, the search space is invalid, or ``path`` holds another study.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        device: str,
        dev: Sequence[Recording],
        condition: str,
        seed: int,
        cache: InferenceCache,
        path: Path,
        on_progress: Callable[..., None] = lambda **progress: None,
    ) -> None:
        self.speech_s = check_speech(dev, condition)
        self.watch = dev[0].watch or Watch()
        self.network, self.device, self.dev, self.cache, self.path = network, device, dev, cache, path
        self.condition, self.seed, self.on_progress = condition, seed, on_progress
        self.reference = {recording.uri: recording.turns for recording in dev}
        self.scored = {recording.uri: recording.regions for recording in dev}
        self.inferred: dict[tuple[Any, ...], tuple[Diarizer, list[Inference]]] = {}
        self.infer_s = 0.0

    def run(self, diarizer: Diarizer, edits: Mapping[str, Mapping[str, Any]], budget: Budget) -> Tuning:
        """Search until the budget is spent. ``edits`` has the ranges that replace the diarizer's own."""
        upstream_space, space = search_spaces(diarizer, edits)
        tuning = self._stored(diarizer, space)
        if diarizer.upstream is not None:
            upstream = tuning.upstream or self._empty(diarizer.upstream, upstream_space)
            if not tuning.trials:  # once frozen, values stay frozen, however many trials are added
                upstream = self._search(diarizer.upstream, upstream_space, upstream, budget.share(), tuning)
            tuning = tuning.model_copy(update={"upstream": upstream})
            budget = budget.less(upstream)
        return self._search(diarizer, space, tuning, budget)

    def _stored(self, diarizer: Diarizer, space: Space) -> Tuning:
        """The study on disk; an empty one where there is none. Raises UserError where it is another study."""
        empty = self._empty(diarizer, space)
        if not self.path.is_file():
            return empty
        stored = read_record(self.path, Tuning, "remove it to tune again")
        for field, description in STUDY_IDENTITY.items():
            if getattr(stored, field) != getattr(empty, field):
                raise UserError(f"{self.path}: was tuned with another {description}; remove the file to tune again")
        return stored

    def _empty(self, diarizer: Diarizer, space: Space) -> Tuning:
        """A study without trials."""
        return Tuning(
            model=model_digest(self.network, diarizer, self.device, {}),
            condition=self.condition,
            seed=self.seed,
            space=describe_space(space),
            defaults=dict(diarizer.defaults),
            audio_s=sum(recording.duration_s for recording in self.dev),
            speech_s=self.speech_s,
        )

    def _search(
        self, diarizer: Diarizer, space: Space, tuning: Tuning, budget: Budget, downstream: Tuning | None = None
    ) -> Tuning:
        """Run trials until the budget is spent; ``downstream`` is the study that this upstream search belongs to."""
        frozen = tuning.upstream.chosen if tuning.upstream else {}
        study = study_of(tuning, space)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            while not (budget.spent(tuning) and tuning.trials):
                begun = time.perf_counter()
                number = len(tuning.trials)
                if number == 0:
                    values = dict(diarizer.defaults)
                elif number == 1 and any(diarizer.defaults[name] != value for name, value in frozen.items()):
                    values = {**diarizer.defaults, **frozen}
                else:
                    values = {**diarizer.defaults, **frozen, **draw_values(space, self.seed, number)}
                storage_s = time.perf_counter() - begun
                audio = [recording.audio for recording in self.dev]
                trial = self.watch.read(audio, partial(self._try, diarizer, number, values, frozen, pool))
                begun = time.perf_counter()
                tuning = self._append(tuning, trial, storage_s)
                _add_trial(study, trial, space, frozen)
                self._store(tuning, downstream)
                tuning = tuning.model_copy(update={"storage_s": tuning.storage_s + time.perf_counter() - begun})
                best = "" if tuning.best is None else f"best dev DER {tuning.best.der:.1%}"
                self.on_progress(stage=best, done=number + 1, total=budget.trials)
        if tuning.best is None:
            raise UserError(f"{self.path}: no trial could be decoded: {tuning.trials[0].failure}")
        tuning = tuning.model_copy(update={"importance": importance(study)})
        self._store(tuning, downstream)
        return tuning

    def _store(self, tuning: Tuning, downstream: Tuning | None) -> None:
        write_record(self.path, downstream.model_copy(update={"upstream": tuning}) if downstream else tuning)

    def _append(self, tuning: Tuning, trial: Trial, storage_s: float) -> Tuning:
        trials = (*tuning.trials, trial)
        extended = tuning.model_copy(
            update={
                "trials": trials,
                "infer_s": self.infer_s or tuning.infer_s,
                "decode_s": sum(trial.seconds for trial in trials),
                "storage_s": tuning.storage_s + storage_s,
            }
        )
        if extended.best is None:
            return extended
        choice = choose(trials, self.speech_s)
        return extended.model_copy(update={"choice": choice, "chosen": trials[choice.chosen].values})

    def _try(self, diarizer: Diarizer, number: int, values: Values, frozen: Values, pool: ThreadPoolExecutor) -> Trial:
        """Decode dev with some values and score it."""
        frozen_diarizer, inferences = self._infer_dev(diarizer, values, frozen)
        begun = time.perf_counter()
        der, failure, error_s = None, None, {}
        try:
            decode = frozen_diarizer.decode
            decoded = pool.map(lambda r, inference: from_annotation(decode(r, inference, values)), self.dev, inferences)
            hypothesis = {recording.uri: turns for recording, turns in zip(self.dev, decoded, strict=True)}
            errors = score(self.reference, hypothesis, self.scored, [CONDITIONS[self.condition]])[self.condition]
            der, error_s = pooled(errors).der, {uri: parts.error_s for uri, parts in errors.items()}
        except Exception as error:  # toolkits raise many kinds of errors for values that they cannot use
            logger.warning("trial %d could not be decoded", number, exc_info=True)
            failure = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        seconds = time.perf_counter() - begun
        return Trial(number=number, values=values, der=der, seconds=seconds, failure=failure, error_s=error_s)

    def _infer_dev(self, diarizer: Diarizer, values: Values, frozen: Values) -> tuple[Diarizer, list[Inference]]:
        """The diarizer with its frozen values, and inference of dev, made once for all trials with these values."""
        key = (id(diarizer), *(values[name] for name in frozen))
        if key not in self.inferred:
            cached = CachedDiarizer(self.cache, self.network, diarizer, self.device, values)
            inferred = [cached.infer(recording) for recording in self.dev]
            self.infer_s += sum(cost.seconds for _, cost in inferred)
            self.inferred[key] = cached.diarizer, [inference for inference, _ in inferred]
        return self.inferred[key]


def check_speech(dev: Sequence[Recording], condition: str) -> dict[str, float]:
    """Seconds of speech of each recording that the condition scores. Raises UserError where dev has none."""
    turns = {recording.uri: recording.turns for recording in dev}
    scored = {recording.uri: recording.regions for recording in dev}
    errors = score(turns, {}, scored, [CONDITIONS[condition]])[condition]
    if not pooled(errors).total:
        raise UserError(
            f"{dev[0].rttm.parent}: no speech that the condition {condition} scores, so nothing can be tuned on dev; "
            "use --no-tune or another --tune-condition"
        )
    return {uri: parts.total for uri, parts in errors.items()}


def study_of(tuning: Tuning, space: Space) -> optuna.Study:
    """The Optuna study of a search, rebuilt from its trials."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="minimize")
    for trial in tuning.trials:
        _add_trial(study, trial, space, tuning.upstream.chosen if tuning.upstream else {})
    return study


def _add_trial(study: optuna.Study, trial: Trial, space: Space, frozen: Values) -> None:
    """Add a trial to a study, unless its frozen values differ: it then says nothing about the other values."""
    from optuna.trial import TrialState, create_trial

    if all(trial.values[name] == value for name, value in frozen.items()):
        state = TrialState.FAIL if trial.der is None else TrialState.COMPLETE
        params = {name: trial.values[name] for name in space}
        study.add_trial(create_trial(state=state, value=trial.der, params=params, distributions=dict(space)))


def draw_values(space: Space, seed: int, number: int) -> Values:
    """The values of trial ``number``, drawn at random; they depend on nothing else, so a search can be resumed."""
    import optuna

    trial_seed = int.from_bytes(bytes.fromhex(digest([seed, number])[:8]), "big")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=trial_seed))
    return dict(study.ask(dict(space)).params)


def importance(study: optuna.Study) -> dict[str, float]:
    """Each hyper-parameter's share of the DER's variation, largest first; empty where the DER did not vary."""
    import optuna

    rates = {trial.value for trial in study.get_trials(deepcopy=False) if trial.value is not None}
    if len(rates) < 2:
        return {}
    return {name: float(share) for name, share in optuna.importance.get_param_importances(study).items()}
