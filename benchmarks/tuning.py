"""A pipeline's hyper-parameters on dev: infer once, decode many times, whatever the toolkit.

Optuna's tree-structured Parzen estimator (Bergstra et al., 2011) looks for the least DER, pooled over dev under one
condition. The defaults are the first trial, so that dev never ends worse. Trials follow one another, and each decodes
its recordings side by side, so that their values hang on the seed alone and never on timing. Each trial is kept in
``tuning.json`` once it is told and before the next is asked for; the study is built again from there, so that a search
that was killed loses no trial and does none twice.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from diarbench.backends import registry
from diarbench.backends.base import Diarizer, Inference
from diarbench.benchmarks.cache import CachedDiarizer, InferenceCache, model_digest
from diarbench.benchmarks.scoring import CONDITIONS, pooled, score
from diarbench.datasets.layout import Recording, from_annotation
from diarbench.reports.records import Trial, Tuning, UserError, closest, digest, read_record, write_record

if TYPE_CHECKING:
    import optuna
    import torch
    from optuna.distributions import BaseDistribution

logger = logging.getLogger(__name__)

Space = Mapping[str, "BaseDistribution"]
Values = dict[str, Any]
TRIALS = 50
"""Where nothing else is asked for."""
FIRST_SHARE = 3
"""One trial in so many goes to what must be tuned before the rest."""


@dataclass(frozen=True)
class Budget:
    """How long to search; whichever ends first."""

    trials: int | None = None
    """In all, those of an earlier stretch included."""
    seconds: float | None = None
    """Of trials, those of an earlier stretch included; inference is not counted."""

    def spent(self, tuning: Tuning) -> bool:
        done, took = len(tuning.trials), tuning.decode_s + tuning.storage_s
        return (self.trials is not None and done >= self.trials) or (self.seconds is not None and took >= self.seconds)

    def less(self, tuning: Tuning) -> Budget:
        """What a search leaves of it."""
        return Budget(
            None if self.trials is None else max(1, self.trials - len(tuning.trials)),
            None if self.seconds is None else self.seconds - tuning.decode_s - tuning.storage_s,
        )

    def share(self) -> Budget:
        """Of what must be tuned before the rest."""
        return Budget(
            None if self.trials is None else max(1, self.trials // FIRST_SHARE),
            None if self.seconds is None else self.seconds / FIRST_SHARE,
        )


class Tuner:
    """Tunes diarizers around one network on dev; `run` does it all, going on from ``path`` where it is.

    Raises UserError where dev holds no speech, the search space is impossible, or ``path`` is the study of something
    else.
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
        tell: Callable[..., None] = lambda **progress: None,
    ) -> None:
        check_speech(dev, condition)
        self.network, self.device, self.dev, self.cache, self.path = network, device, dev, cache, path
        self.condition, self.seed, self.tell = condition, seed, tell
        self.reference = {recording.uri: recording.turns for recording in dev}
        self.scored = {recording.uri: recording.regions for recording in dev}
        self.inferred: dict[tuple[Any, ...], tuple[Diarizer, list[Inference]]] = {}
        self.infer_s = 0.0

    def run(self, diarizer: Diarizer, edits: Mapping[str, Mapping[str, Any]], budget: Budget) -> Tuning:
        """Search until the budget is spent. ``edits`` has ranges in place of the diarizer's own."""
        first_space, space = spaces(diarizer, edits)
        kept = self._kept(diarizer, space)
        if diarizer.first is not None:
            first = kept.first or self._none_yet(diarizer.first, first_space)
            if not kept.trials:  # what was frozen once stays so, however many trials are added
                first = self._search(diarizer.first, first_space, first, budget.share(), kept)
            kept = kept.model_copy(update={"first": first})
            budget = budget.less(first)
        return self._search(diarizer, space, kept, budget)

    def _none_yet(self, diarizer: Diarizer, space: Space) -> Tuning:
        return Tuning(
            model=model_digest(self.network, diarizer, self.device, {}),
            condition=self.condition,
            seed=self.seed,
            space=described(space),
            defaults=dict(diarizer.defaults),
            audio_s=sum(recording.duration_s for recording in self.dev),
        )

    def _kept(self, diarizer: Diarizer, space: Space) -> Tuning:
        """The study on disk; an empty one where there is none."""
        asked = self._none_yet(diarizer, space)
        if not self.path.is_file():
            return asked
        kept = read_record(self.path, Tuning)
        for field, what in OF.items():
            if getattr(kept, field) != getattr(asked, field):
                raise UserError(f"{self.path}: the study of another {what}; remove it to tune anew")
        return kept

    def _search(
        self, diarizer: Diarizer, space: Space, tuning: Tuning, budget: Budget, rest: Tuning | None = None
    ) -> Tuning:
        """Trials until the budget is spent; ``rest`` is the search that this one comes before."""
        frozen = tuning.first.chosen if tuning.first else {}
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
                    values = {**diarizer.defaults, **frozen, **_asked(study, space, self.seed, number)}
                storage_s = time.perf_counter() - begun
                trial = self._try(diarizer, number, values, frozen, pool)
                begun = time.perf_counter()
                tuning = self._with(tuning, trial, storage_s)
                _tell(study, trial, space, frozen)
                self._keep(tuning, rest)
                tuning = tuning.model_copy(update={"storage_s": tuning.storage_s + time.perf_counter() - begun})
                best = "" if tuning.best is None else f"best dev DER {tuning.best.der:.1%}"
                self.tell(stage=best, done=number + 1, total=budget.trials)
        if tuning.best is None:
            raise UserError(f"{self.path}: no trial could be decoded: {tuning.trials[0].failure}")
        tuning = tuning.model_copy(update={"importance": importance(study)})
        self._keep(tuning, rest)
        return tuning

    def _keep(self, tuning: Tuning, rest: Tuning | None) -> None:
        write_record(self.path, rest.model_copy(update={"first": tuning}) if rest else tuning)

    def _with(self, tuning: Tuning, trial: Trial, storage_s: float) -> Tuning:
        trials = (*tuning.trials, trial)
        added = tuning.model_copy(
            update={
                "trials": trials,
                "infer_s": self.infer_s or tuning.infer_s,
                "decode_s": sum(each.seconds for each in trials),
                "storage_s": tuning.storage_s + storage_s,
            }
        )
        return added.model_copy(update={"chosen": added.best.values if added.best else {}})

    def _try(self, diarizer: Diarizer, number: int, values: Values, frozen: Values, pool: ThreadPoolExecutor) -> Trial:
        """Decode dev with some values, and score it."""
        at, inferred = self._inferred(diarizer, values, frozen)
        begun = time.perf_counter()
        der, failure = None, None
        try:
            decoded = pool.map(lambda r, found: from_annotation(at.decode(r, found, values)), self.dev, inferred)
            turns = {recording.uri: found for recording, found in zip(self.dev, decoded, strict=True)}
            found = score(self.reference, turns, self.scored, [CONDITIONS[self.condition]])
            der = pooled(found[self.condition]).der
        except Exception as error:  # the toolkits raise many kinds for values that they cannot work with
            logger.warning("trial %d could not be decoded", number, exc_info=True)
            failure = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        return Trial(number=number, values=values, der=der, seconds=time.perf_counter() - begun, failure=failure)

    def _inferred(self, diarizer: Diarizer, values: Values, frozen: Values) -> tuple[Diarizer, list[Inference]]:
        """The diarizer, and inference of all dev recordings, made once for all values that agree in what is frozen."""
        key = (id(diarizer), *(values[name] for name in frozen))
        if key not in self.inferred:
            cached = CachedDiarizer(self.cache, self.network, diarizer, self.device, values)
            found = [cached.infer(recording) for recording in self.dev]
            self.infer_s += sum(cost.seconds for _, cost in found)
            self.inferred[key] = cached.diarizer, [inference for inference, _ in found]
        return self.inferred[key]


OF = {
    "model": "model: its network, or the code that decodes it, has changed since",
    "condition": "condition",
    "seed": "seed",
    "space": "search space",
    "defaults": "set of defaults",
    "audio_s": "dev set",
}
"""What makes a study that of something else, and how it is told."""


def check_speech(dev: Sequence[Recording], condition: str) -> None:
    """Raises UserError where dev has no speech that the condition scores, so that no rate can be made least."""
    turns = {recording.uri: recording.turns for recording in dev}
    scored = {recording.uri: recording.regions for recording in dev}
    if not pooled(score(turns, {}, scored, [CONDITIONS[condition]])[condition]).total:
        raise UserError(
            f"{dev[0].rttm.parent}: no speech that the condition {condition} scores, so that nothing can be tuned on "
            "dev; take --no-tune, or another --tune-condition"
        )


def spaces(diarizer: Diarizer, edits: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is searched first, and what then, with some ranges replaced. Raises UserError for an impossible one."""
    first = diarizer.first.search_space if diarizer.first else {}
    return (
        edited(first, diarizer.defaults, {name: edit for name, edit in edits.items() if name in first}),
        edited(diarizer.search_space, diarizer.defaults, {n: edit for n, edit in edits.items() if n not in first}),
    )


def study_of(tuning: Tuning, space: Space) -> optuna.Study:
    """A search as Optuna has it, for its sampler and for whoever wants to look closer."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="minimize")
    for trial in tuning.trials:
        _tell(study, trial, space, tuning.first.chosen if tuning.first else {})
    return study


def _tell(study: optuna.Study, trial: Trial, space: Space, frozen: Values) -> None:
    """Trials made before what is frozen was chosen say nothing of the rest."""
    from optuna.trial import TrialState, create_trial

    if all(trial.values[name] == value for name, value in frozen.items()):
        state = TrialState.FAIL if trial.der is None else TrialState.COMPLETE
        params = {name: trial.values[name] for name in space}
        study.add_trial(create_trial(state=state, value=trial.der, params=params, distributions=dict(space)))


def _asked(study: optuna.Study, space: Space, seed: int, number: int) -> Values:
    """The next values. What is drawn for a trial hangs on its number alone, so that a search that goes on draws as
    one that never stopped.
    """
    import optuna

    drawn = int.from_bytes(bytes.fromhex(digest([seed, number])[:8]), "big")
    # A study's own copy, in which the trial that is asked for may stay unfinished.
    asked = optuna.create_study(direction="minimize", sampler=optuna.samplers.TPESampler(seed=drawn))
    asked.add_trials(study.get_trials(deepcopy=False))
    return dict(asked.ask(dict(space)).params)


def importance(study: optuna.Study) -> dict[str, float]:
    """Each hyper-parameter's share in the spread of the DER, largest first; empty where nothing was spread."""
    import optuna

    rates = {trial.value for trial in study.get_trials(deepcopy=False) if trial.value is not None}
    if len(rates) < 2:
        return {}
    return {name: float(share) for name, share in optuna.importance.get_param_importances(study).items()}


def described(space: Space) -> dict[str, dict[str, Any]]:
    """A search space as a file has it: ``low`` and ``high``, or ``choices``, by hyper-parameter."""
    import optuna

    return {
        name: {"choices": list(each.choices)}
        if isinstance(each, optuna.distributions.CategoricalDistribution)
        else {"low": each.low, "high": each.high}  # type: ignore[attr-defined]
        for name, each in space.items()
    }


def edited(space: Space, defaults: Mapping[str, Any], edits: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A search space with some ranges replaced. Raises UserError for one that is impossible or leaves out a default."""
    import optuna

    found = dict(space)
    for name, edit in edits.items():
        where = f"search space: {name}"
        if name not in space:
            raise UserError(f"{where}: no such hyper-parameter{closest(name, space)}; there are {', '.join(space)}")
        kind = space[name]
        if isinstance(kind, optuna.distributions.CategoricalDistribution):
            unknown = [choice for choice in edit.get("choices", ()) if choice not in kind.choices]
            if "choices" not in edit or unknown:
                raise UserError(f"{where}: takes 'choices', some of {', '.join(map(str, kind.choices))}")
            found[name] = optuna.distributions.CategoricalDistribution(edit["choices"])
        elif "choices" in edit:
            raise UserError(f"{where}: takes 'low' and 'high', not 'choices'")
        elif isinstance(kind, optuna.distributions.IntDistribution) and any(edit[k] % 1 for k in ("low", "high")):
            raise UserError(f"{where}: takes whole numbers")
        else:
            found[name] = type(kind)(edit["low"], edit["high"])  # type: ignore[call-arg]
        if not found[name]._contains(found[name].to_internal_repr(defaults[name])):
            raise UserError(f"{where}: leaves out the default {defaults[name]}, which is the first trial; widen it")
    return found


def load_space(path: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Ranges by backend and hyper-parameter from a YAML file. Raises UserError for what can never be one."""
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not YAML ({str(error).splitlines()[0]})") from error
    if not isinstance(content, dict) or not all(isinstance(ranges, dict) for ranges in content.values()):
        raise UserError(f"{path}: not a search space (expected ranges by hyper-parameter under each backend's name)")
    for backend, ranges in content.items():
        registry.check_name(backend)
        for name, edit in ranges.items():
            if problem := _problem(edit):
                raise UserError(f"{path}: {backend}: {name}: {problem}")
    return content


def _problem(edit: Any) -> str | None:
    """Why a range is none."""
    if isinstance(edit, dict) and set(edit) == {"choices"} and isinstance(edit["choices"], list) and edit["choices"]:
        return None
    if not isinstance(edit, dict) or set(edit) != {"low", "high"}:
        return "expected 'low' and 'high', or 'choices' with a list"
    for bound in edit.values():
        if isinstance(bound, bool) or not isinstance(bound, int | float) or not math.isfinite(bound):
            return f"{bound} is not a finite number"
    if edit["low"] > edit["high"]:
        return f"low {edit['low']} is above high {edit['high']}"
    return None
