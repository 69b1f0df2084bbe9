"""``bench run``: fine-tune, score and compare."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

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
    from diarbench.datasets.catalog import open_dataset
    from diarbench.reports.folder import write_reports
    from diarbench.reports.records import UserError, closest
    from diarbench.reports.tables import print_comparison

    for name in backend:
        registry.check_name(name)
    for option, value, known in (("device", device, DEVICES), ("strategy", strategy, STRATEGIES)):
        if value not in known:
            raise UserError(f"--{option} {value}: no such {option}{closest(value, known)}; one of {', '.join(known)}")
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
        profile,
    )
    options = {"devices": devices, "nodes": nodes, "strategy": strategy, "loggers": tuple(dict.fromkeys(logger))}
    plans = [replace(planned, job=planned.job.model_copy(update=options)) for planned in plans]
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
    print_comparison(comparison, console)
    for written in write_reports([comparison], folder):
        console.print(str(written), highlight=False, markup=False, soft_wrap=True)
    if any(each.failure for each in comparison.runs):
        raise typer.Exit(1)


DEVICES = ("auto", "cpu", "cuda")
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
