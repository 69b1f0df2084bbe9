"""Plan the matrix of runs: one job per dataset, backend, recipe, seed and train fraction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

from diarbench.backends.base import UNBOUNDED, InitialWeights, SpeakerBounds
from diarbench.backends.recipes.schema import Recipe
from diarbench.backends.recipes.space import default_space, draw, space_from_record
from diarbench.benchmarks.runs.backend_facts import BackendFacts, Question, facts_of
from diarbench.benchmarks.runs.environment import threads
from diarbench.benchmarks.runs.evaluation import SCORED_SUBSETS, separable, too_many_speakers_warning
from diarbench.benchmarks.runs.interpreters import ask
from diarbench.benchmarks.runs.tuning import TRIALS, check_speech
from diarbench.datasets.dataset import Dataset, Subset, annotated_s, has_speech
from diarbench.datasets.folds import Fold, draw_folds, heard_in_training, with_fold
from diarbench.datasets.io.audio import Clip, length_s
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import digest
from diarbench.datasets.io.names import LONGEST_BYTES, require_name, shortened
from diarbench.reports.results.job import NOT_HASHED, Domain, Job
from diarbench.reports.results.run_folder import ComparisonFolder, RunFolder


@dataclass(frozen=True)
class Plan:
    """A run to start, or the reason why it cannot start."""

    job: Job
    origin: str
    """Where its initial weights come from, as far as is known before it starts."""
    problem: str | None = None
    warnings: tuple[str, ...] = ()
    """Limits of the run that are known before it starts."""
    pipeline: str | None = None
    """The name of its pipeline, where the backend has several."""


@dataclass(frozen=True)
class TuningOptions:
    """How hyper-parameters are tuned on dev: the ``tune_...`` fields of a Job, with ranges by backend."""

    trials: int | None = TRIALS
    seconds: float | None = None
    condition: str = "full"
    space: Mapping[str, dict[str, Any]] = field(default_factory=dict)


UNTUNED = TuningOptions(trials=0)


def plan(
    backends: Sequence[str],
    datasets: Sequence[Dataset],
    recipes: Sequence[Recipe],
    seeds: Sequence[int],
    inits: Mapping[str, str],
    device: str,
    fractions: Sequence[float] = (1.0,),
    also_score: Sequence[Dataset] = (),
    tuning: TuningOptions = UNTUNED,
    options: Mapping[str, Any] = MappingProxyType({}),
    plda: Path | None = None,
    pipeline: str | None = None,
    download: bool = True,
    folds: int | None = None,
    repetitions: int = 1,
    train: bool = True,
    searched_recipes: int | None = None,
    interpreters: Mapping[str, str] = MappingProxyType({}),
    bounds: SpeakerBounds = UNBOUNDED,
) -> list[Plan]:
    """All runs of the matrix, in order. Raises UserError for runs that could never succeed; of audio, the
    headers are read.

    ``inits`` is ``--init`` by backend, ``options`` are further fields of each Job. A dataset in both ``datasets`` and
    ``also_score`` is not scored as another domain by the runs that are trained on it. A dataset's other references are
    scored too by its runs, except in a cross-validation. With ``folds``, each dataset is divided into so many folds,
    ``repetitions`` times, and each fold is a run. Without ``train``, pretrained networks are scored on test, tuned on
    dev where the dataset has one. With ``searched_recipes``, each recipe has a second run that searches so many recipes
    around it. ``download`` fetches a ``pipeline`` that is on the hub. ``interpreters`` work the runs of some backends,
    by name, in other environments. ``bounds`` limit the number of speakers that the pipelines find.
    """
    references = {dataset.info.name: () if folds else dataset.other_references for dataset in datasets}
    scored_too = [*also_score, *(reference for listed in references.values() for reference in listed)]
    _check_names([*datasets, *scored_too])
    domains = {dataset.info.name: _domain(dataset) for dataset in scored_too}
    if not folds and repetitions > 1:
        raise UserError("--repeat: repeats a cross-validation; give --folds too")
    if folds and also_score:
        raise UserError("--also-score: other domains cannot be scored in a cross-validation; leave out --folds")
    if folds and not train:
        raise UserError("--folds: nothing is trained with --no-train; leave out --folds")
    if searched_recipes is not None and not train:
        raise UserError("--search-recipe: nothing is trained with --no-train; leave one of them out")
    if len(recipes) > 1 and not train:
        raise UserError("--no-train: nothing is trained, so recipes make no difference; give one")
    if searched_recipes == 1:
        raise UserError("--search-recipe 1: is the recipe itself; give 2 or more")
    divided = [part for dataset in datasets for part in _divided(dataset, folds, repetitions)]
    for dataset in (*datasets, *scored_too):
        _check_audio(dataset)
    for dataset in scored_too:
        _check_speech(dataset, "test")
    for dataset, _ in divided:
        if train:
            dataset.subset("train")
        for subset in SCORED_SUBSETS if train else ("test",):
            _check_speech(dataset, subset)
        if (own := _tuning_of(dataset, tuning, train)).trials != 0:
            check_speech(dataset.subset("dev"), own.condition)
    if pipeline and plda:
        raise UserError("--plda: with --pipeline, the pipeline's own PLDA is used; leave one of them out")
    if pipeline and not pipeline.startswith("hub:"):
        pipeline = str(Path(pipeline).expanduser().resolve())
    facts = {
        name: _ask(
            Question(
                backend=name,
                init=inits[name],
                pipeline=pipeline,
                plda=str(plda.resolve()) if plda else None,
                download=download,
                searches_recipes=searched_recipes is not None,
                min_speakers=bounds.least,
                max_speakers=bounds.most,
            ),
            interpreters.get(name),
        )
        for name in backends
    }
    problems = {name: problem for name, each in facts.items() if (problem := _problem(name, each, inits[name], train))}
    if plda and not any(each.accepts_plda for each in facts.values()):
        raise UserError(f"--plda {plda}: none of the backends uses a PLDA; pyannote does")
    if pipeline and not any(each.pipeline for each in facts.values()):
        raise UserError(f"--pipeline {pipeline}: none of the backends runs published pipelines; pyannote does")
    plans = []
    searches = (None,) if searched_recipes is None else (None, searched_recipes)
    for (dataset, fold), backend, recipe, searched, seed, fraction in product(
        divided, backends, recipes, searches, seeds, fractions
    ):
        known = facts[backend]
        weights = known.weights
        start = weights and InitialWeights(weights, max_speakers=known.max_speakers)
        if start:
            _check_outputs(backend, start, recipe, bounds)
        if train:
            _check_fraction(dataset, recipe, fraction)
        elif weights and not weights.pretrained:
            raise UserError(
                f"--no-train: {backend} has no pretrained weights with --init {inits[backend]}; give --init with some"
            )
        own = _tuning_of(dataset, tuning, train)
        others = [each.info.name for each in (*references[dataset.info.name], *also_score)]
        job = Job(
            backend=backend,
            dataset=dataset.info.name,
            dataset_root=str(dataset.root.resolve()),
            fingerprint=dataset.info.fingerprint,
            recipe=recipe.model_dump() | ({"name": f"{recipe.name}-search{searched}"} if searched else {}),
            recipe_search=_drawn(known, dataset, recipe, searched, seed) if searched else (),
            seed=seed,
            init=inits[backend],
            # A file on the hub may be downloaded by the run itself, which then records its hash.
            init_sha256=weights.sha256 if weights and not inits[backend].startswith("hub:") else None,
            device=device,
            threads=threads(),
            train_fraction=fraction,
            also_score=tuple(domains[name] for name in dict.fromkeys(others) if name != dataset.info.name),
            train=train,
            trials=own.trials,
            tune_seconds=own.seconds,
            tune_condition=own.condition,
            search_space=own.space.get(backend, {}),
            plda=str(plda.resolve()) if plda and known.plda_sha256 else None,
            plda_sha256=known.plda_sha256,
            pipeline=pipeline if known.pipeline else None,
            pipeline_sha256=known.pipeline.sha256 if pipeline and known.pipeline else None,
            fold=fold,
            python=interpreters.get(backend),
            environment=known.versions if backend in interpreters else {},
            min_speakers=bounds.least,
            max_speakers=bounds.most,
            **options,
        )
        warnings = too_many_speakers_warning(dataset, start, recipe.objective) if start else ()
        if job.train and (heard := heard_in_training(dataset)):
            warnings = (*warnings, heard)
        plans.append(
            Plan(
                job,
                weights.origin if weights else "?",
                problems.get(backend),
                warnings,
                known.pipeline.name if known.pipeline else None,
            )
        )
    names = [plan.job.name for plan in plans]
    for name in names:
        require_name(name, "a run is named after its dataset and recipe: shorten either name")
    if duplicate := next((name for name in names if names.count(name) > 1), None):
        raise UserError(
            f"two runs would be called {duplicate}: name each backend, dataset, recipe, seed and fraction once"
        )
    return plans


def _tuning_of(dataset: Dataset, tuning: TuningOptions, train: bool) -> TuningOptions:
    """How a dataset's runs are tuned: not at all where nothing is trained and there is no dev."""
    return tuning if train or dataset.recordings.get("dev") else UNTUNED


def default_out(plans: Sequence[Plan]) -> Path:
    """The output folder where none is given: the same for the same command, another for other settings."""
    former = _folder_named(plans, [plan.job.former_hash for plan in plans])
    return former if former.is_dir() else _folder_named(plans, [plan.job.hash for plan in plans])


def _folder_named(plans: Sequence[Plan], hashes: Sequence[str]) -> Path:
    datasets = "-".join(dict.fromkeys(plan.job.dataset for plan in plans))
    suffix = f"-{digest(hashes)[:8]}"
    return Path("runs") / (shortened(datasets, LONGEST_BYTES - len(suffix)) + suffix)


def check_out(out: Path, plans: Sequence[Plan]) -> None:
    """Raises UserError where the folder holds anything but these runs and their comparison."""
    if not out.exists():
        return
    if not out.is_dir():
        raise UserError(f"{out}: is a file; choose another --out")
    jobs = {plan.job.name: plan.job for plan in plans}
    known = {*ComparisonFolder(out).own_files(), *jobs, *(job.pooled_name for job in jobs.values())}
    for entry in sorted(out.iterdir()):
        if RunFolder(entry).job.is_file():
            if entry.name not in jobs:
                raise UserError(
                    f"{out}: holds the run {entry.name}, which this command does not plan; choose another --out"
                )
            old, new = RunFolder(entry).read_job(), jobs[entry.name]
            if old.hash != new.hash:
                raise UserError(f"{entry}: was run with {_first_difference(old, new)}; choose another --out")
        elif entry.name not in known and not entry.name.startswith("."):
            raise UserError(f"{out}: holds {entry.name}, which belongs to no run; choose an empty --out")


def _divided(dataset: Dataset, folds: int | None, repetitions: int) -> Iterator[tuple[Dataset, Fold | None]]:
    """The dataset with its own subsets, or with those of each fold of each repetition."""
    if folds is None:
        yield dataset, None
        return
    for repetition in range(1, repetitions + 1):
        for fold in draw_folds(dataset, folds, repetition):
            yield with_fold(dataset, fold), fold


def _ask(question: Question, python: str | None) -> BackendFacts:
    """The facts of a backend, here or in another interpreter."""
    return facts_of(question) if python is None else ask(python, question, f"--env {question.backend}={python}")


def _problem(name: str, facts: BackendFacts, init: str, train: bool) -> str | None:
    """Why a backend's runs cannot start, while those of the others can.

    Raises UserError where the given initial weights are not available.
    """
    if facts.missing:
        return f"not installed: {facts.missing}"
    if facts.problem and init.partition("+")[0] != "auto":  # also as a stream: auto+low_latency
        raise UserError(facts.problem)
    if not facts.problem and train and not facts.can_train:
        return f"{name} cannot be fine-tuned without torch and lightning: install them beside it, or use --no-train"
    return facts.problem


def _drawn(facts: BackendFacts, dataset: Dataset, recipe: Recipe, count: int, seed: int) -> tuple[dict[str, Any], ...]:
    """The recipes of a search, as changes of the given one."""
    space = space_from_record(facts.recipe_space) if facts.recipe_space is not None else default_space()
    longest = min(
        max(region.end_s - region.start_s for recording in dataset.subset(subset) for region in recording.regions)
        for subset in ("train", "dev")
    )
    return tuple(draw(recipe, space, count, seed, longest))


def _domain(dataset: Dataset) -> Domain:
    """Raises UserError where the dataset has no test recordings to score."""
    if not dataset.recordings.get("test"):
        raise UserError(f"{dataset.root}: no recordings in test.txt; --also-score scores a dataset's test subset")
    info = dataset.info
    return Domain(dataset=info.name, root=str(dataset.root.resolve()), fingerprint=info.fingerprint, corpus=info.corpus)


def _check_names(datasets: Sequence[Dataset]) -> None:
    """Raises UserError where two different datasets have the same name: a report could not tell them apart."""
    known: dict[str, Dataset] = {}
    for dataset in datasets:
        other = known.setdefault(dataset.info.name, dataset)
        if other.info.fingerprint != dataset.info.fingerprint:
            raise UserError(
                f"{other.root} and {dataset.root}: two datasets are called {dataset.info.name}; convert one of them "
                "again into a folder of another name"
            )


def _check_audio(dataset: Dataset) -> None:
    """Raises UserError where a recording's audio is not readable, or its file is incomplete."""
    for listed in dataset.recordings.values():
        for recording in listed:
            length_s(Clip(recording.audio))


def _check_speech(dataset: Dataset, subset: Subset) -> None:
    """Raises UserError where nobody speaks in a subset: the rates of errors on it would be undefined."""
    if not has_speech(dataset.subset(subset)):
        purpose = "no epoch can be chosen" if subset == "dev" else "no system can be scored"
        raise UserError(
            f"{dataset.root / subset}.txt: nobody speaks in these recordings, so {purpose}; move one with speech here, "
            "or draw new subsets with 'bench data convert --split recording'"
        )


def _check_fraction(dataset: Dataset, recipe: Recipe, fraction: float) -> None:
    """Raises UserError where the fraction is not in (0, 1], or leaves less than one training window."""
    if not 0 < fraction <= 1:
        raise UserError(f"--train-fraction {fraction:g}: not a fraction of the train subset; give one above 0, up to 1")
    train_s = annotated_s(dataset.subset("train"))
    if train_s < recipe.window_s:
        raise UserError(
            f"{dataset.root / 'train.txt'}: {train_s:.1f} s of annotated audio, less than one window of "
            f"{recipe.window_s:g} s; add recordings, or use a recipe with a shorter window_s"
        )
    if fraction * train_s < recipe.window_s:
        raise UserError(
            f"--train-fraction {fraction:g}: {fraction * train_s:.1f} s of {dataset.info.name} is less than "
            f"one window of {recipe.window_s:g} s; give a larger one"
        )


def _check_outputs(backend: str, start: InitialWeights, recipe: Recipe, bounds: SpeakerBounds) -> None:
    """Raises UserError where there are more speakers than the network can separate."""
    most = separable(start, recipe.objective)
    if most and bounds.least > most:
        raise UserError(
            f"{backend}: {bounds.text}: its network separates at most {most}; give another --init, or leave out "
            f"{backend}"
        )


def _first_difference(old: Job, new: Job) -> str:
    """The first field that two jobs of different hashes differ in, with both values."""
    old_hashed, new_hashed = old.portable.model_dump(mode="json"), new.portable.model_dump(mode="json")
    old_values, new_values = old.model_dump(mode="json"), new.model_dump(mode="json")
    for name in Job.model_fields:
        if name in NOT_HASHED or old_hashed[name] == new_hashed[name]:
            continue
        before, now = old_values[name], new_values[name]
        if name == "also_score":
            before, now = _in_words(before), _in_words(now)
        if isinstance(before, dict):
            key = next(key for key in {**before, **now} if before.get(key) != now.get(key))
            name, before, now = f"{name} {key}", before.get(key), now.get(key)
        return f"{name} {before}, not {now}"
    raise AssertionError("two jobs of different hash differ in some field")


def _in_words(domains: Sequence[Mapping[str, str]]) -> str:
    return " and ".join(f"{domain['dataset']} ({domain['fingerprint'][:12]})" for domain in domains) or "nothing"
