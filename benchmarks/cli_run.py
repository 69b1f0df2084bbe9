"""``bench run``: fine-tune, score and compare."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from diarbench.benchmarks.runner import Tuned
    from diarbench.reports.records import Comparison

Many = list[str]


def run(
    backend: Annotated[Many, typer.Option(help="A toolkit to fine-tune; repeat for more.")],
    dataset: Annotated[Many, typer.Option(help="A converted dataset's folder, or a name; repeat for more.")] = [  # noqa: B006
        "ami-mini"
    ],
    recipe: Annotated[Many, typer.Option(help="A recipe's name or YAML file; repeat for more.")] = ["quick"],  # noqa: B006
    seed: Annotated[list[int], typer.Option(min=0, help="A seed; repeat for more.")] = [1],  # noqa: B006
    train_fraction: Annotated[
        list[float],
        typer.Option(help="Fine-tune on a part of train alone, such as 0.25; repeat for DER against hours."),
    ] = [1.0],  # noqa: B006
    also_score: Annotated[
        Many,
        typer.Option(help="Another domain's dataset, to score its test recordings too: what was forgotten?"),
    ] = [],  # noqa: B006
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs, in place of the recipe's.")] = None,
    objective: Annotated[
        str | None, typer.Option(help="pyannote's: powerset or multilabel, in place of the recipe's.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="32-true, 16-mixed, bf16-mixed or 64-true, in place of the recipe's.")
    ] = None,
    init: Annotated[
        Many,
        typer.Option(
            help="First weights: auto (pretrained where they are on this machine, else scratch; never the network), "
            "scratch, a path, hub:ID, or run:FOLDER; for one backend alone: BACKEND=...; repeat for more.",
        ),
    ] = ["auto"],  # noqa: B006
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    devices: Annotated[int, typer.Option(min=1, help="Processes of a node that train together, a device each.")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Nodes that train together; see docs/training.md.")] = 1,
    strategy: Annotated[str, typer.Option(help="How they do: auto, or ddp where no parameter goes unused.")] = "auto",
    logger: Annotated[
        Many, typer.Option(help="Tell a tracker of each epoch: tensorboard or mlflow; epochs.csv is always written.")
    ] = [],  # noqa: B006
    out: Annotated[
        Path | None, typer.Option(help="Where to leave the comparison  [default: a folder of its own in runs/]")
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Leave a flame graph of each phase in the run's folder (py-spy).")
    ] = False,
    tune: Annotated[bool, typer.Option("--tune/--no-tune", help="Tune the pipeline's hyper-parameters on dev.")] = True,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Of tuning  [default: 50, or as many as --tune-seconds allow]")
    ] = None,
    tune_seconds: Annotated[float | None, typer.Option(min=0, help="Stop tuning after so long.")] = None,
    tune_condition: Annotated[
        str, typer.Option(help="Whose DER of dev is made least: full, fair, forgiving.")
    ] = "full",
    search_space: Annotated[
        Path | None, typer.Option(help="A YAML file with ranges to search in place of a backend's own.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be run, and stop.")] = False,
) -> None:
    """Fine-tune each backend on each dataset by each recipe with each seed, and compare them.

    The same command again goes on where it was stopped, and says what is done already.
    """
    from rich.console import Console

    from diarbench.backends import recipes, registry, trackers
    from diarbench.benchmarks import runner
    from diarbench.benchmarks.profiling import py_spy
    from diarbench.benchmarks.progress import RunProgress
    from diarbench.benchmarks.worker import DEVICES
    from diarbench.datasets.catalog import open_dataset
    from diarbench.reports.records import check_choice

    for name in backend:
        registry.check_name(name)
    check_choice("device", device, DEVICES)
    check_choice("strategy", strategy, STRATEGIES)
    for name in logger:
        trackers.check_name(name)
    if profile:
        py_spy()
    settings = {"epochs": epochs, "precision": precision}
    given = {name: value for name, value in settings.items() if value is not None}
    asked = [recipes.altered(recipes.load(name), **given) for name in recipe]
    if objective is not None:
        asked = [recipes.altered(each, objective=each.objective.renamed(objective)) for each in asked]
    plans = runner.plan(
        backend,
        [open_dataset(name) for name in dataset],
        asked,
        seed,
        by_backend(init, backend),
        device,
        train_fraction,
        [open_dataset(name) for name in also_score],
        tuned(trials, tune_seconds, tune_condition, search_space) if tune else runner.UNTUNED,
        {
            "devices": devices,
            "nodes": nodes,
            "strategy": strategy,
            "loggers": tuple(dict.fromkeys(logger)),
            "profile": profile,
        },
    )
    folder = out or runner.default_out(plans)
    runner.check_out(folder, plans)
    console = Console()
    for planned in plans:
        for warning in planned.warnings:
            console.print(f"{planned.job.name}: {warning}", style="yellow", highlight=False, markup=False)
    if dry_run:
        console.print(f"{len(plans)} runs into {folder}:", highlight=False, markup=False, soft_wrap=True)
        for planned in plans:
            job = planned.job
            origin = "".join(
                (planned.problem or planned.origin, *(f", also scored on {d.dataset}" for d in job.also_score))
            )
            console.print(
                f"  {job.name}: {job.recipe['epochs']} epochs, {job.device}, from {origin}",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )
        return
    command = shlex.join(["bench", *sys.argv[1:]])
    with RunProgress(console) as progress:
        comparison = runner.run(folder, plans, command, progress)
    show(comparison, folder, console)


def tune(
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="A comparison that `bench run` left.")],
    trials: Annotated[
        int | None, typer.Option(min=1, help="In all, those it has included  [default: as many as --seconds allow]")
    ] = None,
    seconds: Annotated[float | None, typer.Option(min=0, help="Stop tuning after so long, in all.")] = None,
) -> None:
    """Go on tuning a comparison's runs on dev, with more trials, and score them again."""
    from rich.console import Console

    from diarbench.benchmarks import runner
    from diarbench.benchmarks.progress import RunProgress
    from diarbench.reports.records import UserError

    if trials is None and seconds is None:
        raise UserError("say how long to tune: --trials, --seconds, or both")
    console = Console()
    with RunProgress(console) as progress:
        comparison = runner.tune(folder, trials, seconds, shlex.join(["bench", *sys.argv[1:]]), progress)
    show(comparison, folder, console)


def show(comparison: Comparison, folder: Path, console: Console) -> None:
    """A comparison's tables and reports; ends with a non-zero status where a run failed."""
    from diarbench.reports.folder import write_reports
    from diarbench.reports.tables import print_comparison

    print_comparison(comparison, console)
    for written in write_reports([comparison], folder):
        console.print(str(written), highlight=False, markup=False, soft_wrap=True)
    if any(each.failure for each in comparison.runs):
        raise typer.Exit(1)


def tuned(trials: int | None, seconds: float | None, condition: str, space: Path | None) -> Tuned:
    """The options of tuning as the runner takes them. Raises UserError for what they cannot be."""
    from diarbench.benchmarks.runner import Tuned
    from diarbench.benchmarks.scoring import CONDITIONS
    from diarbench.benchmarks.tuning import TRIALS, load_space
    from diarbench.reports.records import check_choice

    check_choice("tune-condition", condition, CONDITIONS, "condition")
    if trials is None and seconds is None:
        trials = TRIALS
    return Tuned(trials, seconds, condition, load_space(space) if space else {})


STRATEGIES = ("auto", "ddp")


def by_backend(inits: list[str], backends: list[str]) -> dict[str, str]:
    """``--init`` values, some for one backend alone (``nemo=scratch``), as one value a backend."""
    from diarbench.backends import registry

    chosen = dict.fromkeys(backends, "auto")
    own = {}
    for value in inits:
        name, given, rest = value.partition("=")
        if not given:
            chosen = dict.fromkeys(backends, value)
        else:
            registry.check_name(name)
            own[name] = rest
    return {**chosen, **{name: value for name, value in own.items() if name in chosen}}
