"""diarbench from Python: plan, run, score, compare and diarize. The commands of ``bench`` call these functions too.

Everything that the user can fix raises `diarbench.datasets.io.errors.UserError`, with a message of one line.
``docs/python.md`` has an example.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from rich.console import Console

from diarbench.backends import registry
from diarbench.backends.base import SpeakerBounds
from diarbench.backends.recipes import load as recipe_files
from diarbench.backends.recipes.schema import Recipe
from diarbench.backends.training import loggers as epoch_loggers
from diarbench.benchmarks.runs import deploy, runner
from diarbench.benchmarks.runs import plan as planning
from diarbench.benchmarks.runs.environment import NO_TELEMETRY, check_device
from diarbench.benchmarks.runs.executors.base import Executor
from diarbench.benchmarks.runs.interpreters import interpreters
from diarbench.benchmarks.runs.plan import UNTUNED, Plan, TuningOptions, check_out, default_out
from diarbench.benchmarks.runs.profiling import py_spy
from diarbench.benchmarks.runs.progress import RunProgress
from diarbench.benchmarks.runs.search_space import load_space
from diarbench.benchmarks.runs.tuning import TRIALS
from diarbench.benchmarks.scoring.der import CONDITIONS
from diarbench.benchmarks.scoring.evaluate import PairedScores, Score, compare_systems, protocols_named, score_system
from diarbench.benchmarks.scoring.inputs import read_inputs
from diarbench.datasets.corpora.catalog import open_dataset
from diarbench.datasets.io.errors import UserError, check_choice
from diarbench.reports.results.comparison import Comparison

__all__ = ["PairedScores", "Score", "compare", "diarize", "plan", "run", "score"]

STRATEGIES = ("auto", "ddp")


def plan(
    backends: Sequence[str],
    datasets: Sequence[str] = ("ami-mini",),
    recipes: Sequence[str] = ("quick",),
    seeds: Sequence[int] = (1,),
    *,
    folds: int | None = None,
    repeat: int = 1,
    train_fractions: Sequence[float] = (1.0,),
    also_score: Sequence[str] = (),
    epochs: int | None = None,
    search_recipe: int | None = None,
    objective: str | None = None,
    outputs: int | None = None,
    precision: str | None = None,
    inits: Sequence[str] = ("auto",),
    envs: Sequence[str] = (),
    loggers: Sequence[str] = (),
    train: bool = True,
    require_training: bool = False,
    tune: bool = True,
    trials: int | None = None,
    tune_seconds: float | None = None,
    tune_condition: str = "full",
    search_space: Path | None = None,
    plda: Path | None = None,
    pipeline: str | None = None,
    download: bool = True,
    device: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    strategy: str = "auto",
    workers: int | None = None,
    num_speakers: int | None = None,
    min_speakers: int | None = None,
    max_speakers: int | None = None,
    profile: bool = False,
) -> list[Plan]:
    """The runs of every backend on every dataset by every recipe with every seed, checked but not started.

    The parameters are the options of ``bench run``; without ``download``, a pipeline on the hub must be in its cache.
    Raises UserError for anything that could not run.
    """
    bounds = SpeakerBounds.of(num_speakers, min_speakers, max_speakers)
    if require_training and not train:
        raise UserError("--require-training: nothing is trained with --no-train; leave one of them out")
    found = interpreters(envs)
    for name in found:
        if name not in backends:
            raise UserError(f"--env {name}=...: {name} is not among the backends of this comparison")
    for name in backends:
        if name not in found:
            registry.check_name(name)
    check_device(device, devices * nodes)
    check_choice("strategy", strategy, STRATEGIES)
    if nodes > 1 and not {"MASTER_ADDR", "SLURM_JOB_ID"} & os.environ.keys():
        raise UserError(f"--nodes {nodes}: MASTER_ADDR is not set, so the other nodes cannot find this one")
    for name in loggers:
        epoch_loggers.check_name(name)
    if profile:
        py_spy()
    return planning.plan(
        backends,
        [open_dataset(name) for name in datasets],
        [_load_recipe(name, found, epochs, objective, outputs, precision) for name in recipes],
        seeds,
        _inits_by_backend(inits, backends),
        device,
        train_fractions,
        [open_dataset(name) for name in also_score],
        _tuning_options(trials, tune_seconds, tune_condition, search_space, found) if tune else UNTUNED,
        {
            "devices": devices,
            "nodes": nodes,
            "strategy": strategy,
            "workers": workers,
            "loggers": tuple(dict.fromkeys(loggers)),
            "profile": profile,
            "require_training": require_training,
        },
        plda,
        pipeline,
        download,
        folds,
        repeat,
        train,
        search_recipe,
        found,
        bounds,
    )


def run(
    plans: Sequence[Plan],
    out: Path | None = None,
    *,
    command: str = "diarbench.benchmarks.api.run",
    console: Console | None = None,
    verbose: bool = False,
    executor: Executor | None = None,
    retry_failed: bool = True,
) -> Comparison:
    """Run what is not done yet and compare all runs. Writes ``results.json``; progress is shown on ``console``,
    with ``verbose`` every epoch. ``executor`` is by default this machine, one run after another.

    ``out`` is by default the same folder in ``runs/`` for the same plans, so that running them again resumes. A failed
    run is part of the comparison. Raises UserError where the folder holds anything else.
    """
    folder = out or default_out(plans)
    check_out(folder, plans)
    with RunProgress(console or Console(quiet=True), verbose) as progress:
        return runner.run(folder, plans, command, progress, executor, retry_failed)


def score(
    reference: Path, hypothesis: Path, uem: Path | None = None, conditions: Sequence[str] | None = None
) -> dict[str, Score]:
    """Score RTTM files or folders, as ``bench score`` does. Returns the score under each condition, by name.

    Raises UserError for files that cannot be read and for unknown conditions.
    """
    return score_system(read_inputs(reference, [hypothesis], uem), protocols_named(conditions))


def compare(
    reference: Path,
    hypothesis_a: Path,
    hypothesis_b: Path,
    uem: Path | None = None,
    conditions: Sequence[str] | None = None,
) -> dict[str, PairedScores]:
    """Compare two systems on the same recordings, as ``bench compare`` does. Returns the scores by condition.

    Raises UserError for files that cannot be read, for unknown conditions, and where no speech is scored.
    """
    return compare_systems(read_inputs(reference, [hypothesis_a, hypothesis_b], uem), protocols_named(conditions))


def diarize(
    audio: Sequence[Path],
    run: Path,
    out: Path = Path(),
    *,
    format_: str = "rttm",
    device: str = "auto",
    exclusive: bool = False,
    num_speakers: int | None = None,
    min_speakers: int | None = None,
    max_speakers: int | None = None,
    on_written: Callable[[Path], None] = lambda path: None,
) -> list[Path]:
    """Diarize audio files with a run's best network and tuned hyper-parameters; returns the files written.

    ``format_`` is rttm, json or audacity; with ``exclusive``, at most one speaker speaks at a time. The numbers of
    speakers are by default those that the run was told. Raises UserError for unreadable audio, existing files and
    folders without a run. Switches off the toolkits' telemetry in this process.
    """
    os.environ.update(NO_TELEMETRY)
    is_bounded = any(number is not None for number in (num_speakers, min_speakers, max_speakers))
    bounds = SpeakerBounds.of(num_speakers, min_speakers, max_speakers) if is_bounded else None
    return deploy.diarize(audio, run, format_, out, device, on_written, exclusive, bounds)


def _load_recipe(
    name: str,
    elsewhere: Collection[str],
    epochs: int | None,
    objective: str | None,
    outputs: int | None,
    precision: str | None,
) -> Recipe:
    """A recipe with the settings that are not None in place of its own; ``elsewhere`` as in `recipe_files.load`."""
    settings = {"epochs": epochs, "precision": precision}
    given = {key: value for key, value in settings.items() if value is not None}
    recipe = recipe_files.with_settings(recipe_files.load(name, elsewhere), **given)
    if objective is not None:
        recipe = recipe_files.with_settings(recipe, objective=recipe.objective.renamed(objective))
    if outputs is not None:
        recipe = recipe_files.with_settings(recipe, objective={**recipe.objective.model_dump(), "outputs": outputs})
    return recipe


def _inits_by_backend(inits: Sequence[str], backends: Sequence[str]) -> dict[str, str]:
    """One value per backend from values such as ``scratch`` (for all backends) and ``nemo=scratch`` (for one)."""
    for_all, for_one = "auto", {}
    for init in inits:
        name, separator, value = init.partition("=")
        if not separator:
            for_all = init
        else:
            if name not in backends:
                registry.check_name(name)
            for_one[name] = value
    return {backend: for_one.get(backend, for_all) for backend in backends}


def _tuning_options(
    trials: int | None, seconds: float | None, condition: str, search_space: Path | None, elsewhere: Collection[str]
) -> TuningOptions:
    check_choice("tune-condition", condition, CONDITIONS, "condition")
    if trials is None and seconds is None:
        trials = TRIALS
    return TuningOptions(trials, seconds, condition, load_space(search_space, elsewhere) if search_space else {})
