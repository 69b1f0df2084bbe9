"""``bench run`` and ``bench tune``: fine-tune, tune, score and compare."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diarbench.benchmarks.cli.comparison_file import (
    as_command,
    locating_errors,
    save_comparison_file,
    use_comparison_file,
)
from diarbench.benchmarks.cli.console import duration, working
from diarbench.datasets.io.names import plural

if TYPE_CHECKING:
    from rich.console import Console

    from diarbench.benchmarks.runs.plan import Plan
    from diarbench.reports.results.comparison import Comparison
    from diarbench.reports.results.job import Job

WHAT, HOW, TUNING, WHERE = "What to run", "How to train", "Pipeline and tuning", "Where to run"
"""The panels of options in ``bench run --help``."""

Texts = list[str]

VERBOSE = "Print every epoch, and all tables before the summary."


def run(
    context: typer.Context,
    backend: Annotated[Texts, typer.Option(help="A toolkit to fine-tune; repeatable.", rich_help_panel=WHAT)],
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="A YAML file of options, as --save writes it; those on the command line win.",
            is_eager=True,
            callback=use_comparison_file,
            rich_help_panel=WHAT,
        ),
    ] = None,
    dataset: Annotated[
        Texts, typer.Option(help="A converted dataset's folder or name; repeatable.", rich_help_panel=WHAT)
    ] = ["ami-mini"],  # noqa: B006
    dataset_root: Annotated[
        list[Path],
        typer.Option(
            metavar="DIR",
            help="A folder of datasets, where those of the runs are looked for by name and by fingerprint; repeatable.",
            rich_help_panel=WHAT,
        ),
    ] = [],  # noqa: B006
    recipe: Annotated[
        Texts,
        typer.Option(help="A recipe's name or YAML file; repeatable.", rich_help_panel=WHAT),
    ] = ["quick"],  # noqa: B006
    seed: Annotated[
        list[int],
        typer.Option(min=0, max=2**32 - 1, help="A seed; repeatable.", rich_help_panel=WHAT),
    ] = [1],  # noqa: B006
    folds: Annotated[
        int | None,
        typer.Option(
            help="Cross-validation in this many folds: each recording is tested once, by a system that was not "
            "fine-tuned on its speakers.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    repeat: Annotated[
        int, typer.Option(min=1, help="With --folds: repeat with so many divisions.", rich_help_panel=WHAT)
    ] = 1,
    train_fraction: Annotated[
        list[float],
        typer.Option(
            help="Fraction of train to fine-tune on, such as 0.25; repeat for DER by hours of data.",
            rich_help_panel=WHAT,
        ),
    ] = [1.0],  # noqa: B006
    also_score: Annotated[
        Texts,
        typer.Option(
            help="A dataset of another domain whose test recordings are scored too, to measure forgetting; repeatable.",
            rich_help_panel=WHAT,
        ),
    ] = [],  # noqa: B006
    pipeline: Annotated[
        str | None,
        typer.Option(
            metavar="PIPELINE",
            help="pyannote: a published pipeline, as hub:OWNER/NAME or a folder, whose segmentation is fine-tuned.",
            show_default="segmentation-3.0 with CAM++, from installed packages",
            rich_help_panel=WHAT,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Show the planned runs and exit; a known dataset that is not here is fetched.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    init: Annotated[
        Texts,
        typer.Option(
            help="Initial weights: auto (pretrained weights on this machine, else scratch; downloads nothing), "
            "scratch, a path, hub:ID, or run:FOLDER. BACKEND=... sets one backend; repeatable.",
            rich_help_panel=HOW,
        ),
    ] = ["auto"],  # noqa: B006
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Number of epochs, instead of the recipe's.", rich_help_panel=HOW)
    ] = None,
    search_recipe: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1000,
            metavar="N",
            help="Besides each recipe, search N recipes around it on dev, by successive halving; every toolkit trains "
            "on the same hours of audio.",
            rich_help_panel=HOW,
        ),
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(help="pyannote: powerset or multilabel, instead of the recipe's.", rich_help_panel=HOW),
    ] = None,
    outputs: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=8,
            help="NeMo: outputs of Sortformer, instead of the recipe's; a network with fewer gets new ones.",
            rich_help_panel=HOW,
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="32-true, 16-mixed, bf16-mixed or 64-true, instead of the recipe's.", rich_help_panel=HOW),
    ] = None,
    logger: Annotated[
        Texts,
        typer.Option(
            help="Log each epoch to tensorboard or mlflow; epochs.csv is always written. Repeatable.",
            rich_help_panel=HOW,
        ),
    ] = [],  # noqa: B006
    train: Annotated[
        bool,
        typer.Option(
            "--train/--no-train",
            help="Fine-tune; without, score the pretrained systems on test, tuned on dev where there is one.",
            rich_help_panel=HOW,
        ),
    ] = True,
    require_training: Annotated[
        bool,
        typer.Option(
            "--require-training",
            help="Use the best trained network even where dev does not show that it beats the pretrained one.",
            rich_help_panel=HOW,
        ),
    ] = False,
    tune: Annotated[
        bool,
        typer.Option("--tune/--no-tune", help="Tune the pipeline's hyper-parameters on dev.", rich_help_panel=TUNING),
    ] = True,
    trials: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of trials.",
            show_default="50, or unlimited with --tune-seconds",
            rich_help_panel=TUNING,
        ),
    ] = None,
    tune_seconds: Annotated[
        float | None, typer.Option(min=0, help="Stop tuning after this many seconds.", rich_help_panel=TUNING)
    ] = None,
    tune_condition: Annotated[
        str,
        typer.Option(help="The condition whose dev DER is minimised: full, fair or forgiving.", rich_help_panel=TUNING),
    ] = "full",
    search_space: Annotated[
        Path | None,
        typer.Option(help="A YAML file of ranges that replace a backend's own.", rich_help_panel=TUNING),
    ] = None,
    plda: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="pyannote: the PLDA for VBx clustering.", rich_help_panel=TUNING),
    ] = None,
    num_speakers: Annotated[
        int | None, typer.Option(min=1, help="The number of speakers of every recording.", rich_help_panel=TUNING)
    ] = None,
    min_speakers: Annotated[
        int | None, typer.Option(min=1, help="The least speakers of a recording.", rich_help_panel=TUNING)
    ] = None,
    max_speakers: Annotated[
        int | None, typer.Option(min=1, help="The most speakers of a recording.", rich_help_panel=TUNING)
    ] = None,
    env: Annotated[
        Texts,
        typer.Option(
            metavar="BACKEND=PYTHON",
            help="The interpreter that works a backend's runs, in another environment; auto: the one that 'bench env "
            "create BACKEND' made; repeatable.",
            rich_help_panel=WHERE,
        ),
    ] = [],  # noqa: B006
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, or a GPU such as cuda:1.", rich_help_panel=WHERE)
    ] = "auto",
    devices: Annotated[
        int,
        typer.Option(
            min=1, max=64, help="Devices per node that train together, one process each.", rich_help_panel=WHERE
        ),
    ] = 1,
    nodes: Annotated[
        int, typer.Option(min=1, help="Nodes that train together; see docs/training.md.", rich_help_panel=WHERE)
    ] = 1,
    strategy: Annotated[
        str,
        typer.Option(
            help="How processes train together: auto, or ddp if every parameter is used in every step.",
            rich_help_panel=WHERE,
        ),
    ] = "auto",
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=64,
            help="Processes a device that read and augment batches ahead of the network.",
            show_default="0 on a CPU, else by cores",
            rich_help_panel=WHERE,
        ),
    ] = None,
    executor: Annotated[
        str,
        typer.Option(
            help="What works the runs: local (this machine), ray or slurm; see docs/clusters.md.", rich_help_panel=WHERE
        ),
    ] = "local",
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Runs side by side on this machine, which share its cores.",
            show_default="2 on a CPU with 8 GB of free memory, else 1",
            rich_help_panel=WHERE,
        ),
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(
            help="The Ray cluster, as 'ray start' printed it.", show_default="this machine's", rich_help_panel=WHERE
        ),
    ] = None,
    partition: Annotated[
        str | None,
        typer.Option(help="The Slurm partition.", show_default="the cluster's own", rich_help_panel=WHERE),
    ] = None,
    cores: Annotated[
        int | None,
        typer.Option(min=1, help="Cores of each run on a cluster.", show_default="4", rich_help_panel=WHERE),
    ] = None,
    gpus: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="GPUs of each run on a cluster; on Ray, 0.5 lets two runs share one.",
            show_default="0",
            rich_help_panel=WHERE,
        ),
    ] = None,
    memory_gb: Annotated[
        float | None,
        typer.Option(min=0, help="Memory of each run on a cluster (10^9 bytes).", rich_help_panel=WHERE),
    ] = None,
    minutes: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Slurm's time limit of each run, after which it is queued again and goes on.",
            show_default="720",
            rich_help_panel=WHERE,
        ),
    ] = None,
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed/--no-retry-failed",
            help="Whether to start runs again that failed or were cancelled before.",
            rich_help_panel=WHERE,
        ),
    ] = True,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The comparison's folder.",
            show_default="in runs/, named after the datasets and settings",
            rich_help_panel=WHERE,
        ),
    ] = None,
    profile: Annotated[
        bool,
        typer.Option("--profile", help="Save a flame graph of each phase in the run's folder.", rich_help_panel=WHERE),
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help=VERBOSE, rich_help_panel=WHERE)] = False,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the given options to a file, for 'bench run FILE'.", rich_help_panel=WHERE
        ),
    ] = None,
) -> None:
    """Fine-tune each backend on each dataset by each recipe with each seed, and compare the runs.

    Running the same command again resumes in the same folder and skips finished runs.
    """
    from diarbench.reports.console import make_console

    console = make_console()
    with working(console, "Checking datasets, recipes and weights"), locating_errors(context, file):
        from diarbench.benchmarks import api
        from diarbench.benchmarks.runs.executors.choose import Cluster, check_executor, make_executor
        from diarbench.benchmarks.runs.plan import check_out, default_out
        from diarbench.datasets.roots import add_dataset_roots

        add_dataset_roots(dataset_root)
        cluster = Cluster(ray_address, partition, cores, gpus, memory_gb, minutes)
        check_executor(executor, jobs, cluster)
        plans = api.plan(
            backend,
            dataset,
            recipe,
            seed,
            folds=folds,
            repeat=repeat,
            train_fractions=train_fraction,
            also_score=also_score,
            epochs=epochs,
            search_recipe=search_recipe,
            objective=objective,
            outputs=outputs,
            precision=precision,
            inits=init,
            envs=env,
            loggers=logger,
            train=train,
            require_training=require_training,
            tune=tune,
            trials=trials,
            tune_seconds=tune_seconds,
            tune_condition=tune_condition,
            search_space=search_space,
            plda=plda,
            pipeline=pipeline,
            download=not dry_run,
            num_speakers=num_speakers,
            min_speakers=min_speakers,
            max_speakers=max_speakers,
            device=device,
            devices=devices,
            nodes=nodes,
            strategy=strategy,
            workers=workers,
            profile=profile,
        )
    folder = out or default_out(plans)
    check_out(folder, plans)
    if save and (left_out := save_comparison_file(context, save)):
        text = f"--save {save}: without {' and '.join(left_out)}, which a file cannot give"
        console.print(text, style="yellow", highlight=False, soft_wrap=True)
    roots = {planned.job.dataset_root: planned.job.dataset for planned in plans}
    for root, name in roots.items():
        if Path(root).name != name:  # the folder was renamed, or is a copy
            console.print(f"{root}: is called {name}, by its dataset.json", highlight=False, soft_wrap=True)
    for planned in plans:
        for warning in planned.warnings:
            console.print(f"{planned.job.name}: {warning}", style="yellow", highlight=False)
    if dry_run:
        if executor == "local":
            from diarbench.benchmarks.runs.devices import check_devices

            check_devices(planned.job for planned in plans if not planned.problem)
        print_plans(plans, folder, console)
        return
    comparison = api.run(
        plans,
        folder,
        command=as_command(context),
        console=console,
        verbose=verbose,
        executor=make_executor(executor, jobs, cluster, folder, device, devices),
        retry_failed=retry_failed,
    )
    show(comparison, folder, console, verbose)


def tune(
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="The folder of a comparison that `bench run` wrote.")],
    trials: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Total number of trials, earlier ones included.",
            show_default="unlimited with --seconds",
        ),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="Total seconds of tuning, earlier ones included.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help=VERBOSE)] = False,
) -> None:
    """Continue tuning a comparison's runs on dev with more trials, and score them again."""
    from diarbench.benchmarks.runs import runner
    from diarbench.benchmarks.runs.progress import RunProgress
    from diarbench.datasets.io.errors import UserError
    from diarbench.reports.console import make_console

    if trials is None and seconds is None:
        raise UserError("no limit for tuning; give --trials, --seconds, or both")
    console = make_console()
    with RunProgress(console, verbose) as progress:
        comparison = runner.tune(folder, trials, seconds, _this_command(), progress)
    show(comparison, folder, console, verbose)


def print_plans(plans: Sequence[Plan], folder: Path, console: Console) -> None:
    """One line per planned run."""
    from diarbench.reports.formatting import bounds

    console.print(f"{plural(len(plans), 'run')} into {folder}:", highlight=False, soft_wrap=True)
    divided = dict.fromkeys((planned.job.dataset, planned.job.fold) for planned in plans)
    for dataset, fold in ((dataset, fold) for dataset, fold in divided if fold):
        line = f"  {dataset}{fold.suffix}: test {', '.join(fold.test)}; dev {', '.join(fold.dev)}"
        console.print(f"{line}; train {plural(len(fold.train), 'other')}", highlight=False, soft_wrap=True)
    for planned in plans:
        job = planned.job
        details = [planned.origin, *(f"also scored on {d.dataset}" for d in job.also_score)]
        if told := bounds(job.min_speakers, job.max_speakers):
            details.append(f"told that there are {told}")
        if planned.pipeline:
            details.insert(1, f"in the pipeline {planned.pipeline}")
        what = f"{_training(job)}, {job.device}, from {', '.join(details)}"
        line = f"  {job.name}: {f'cannot run: {planned.problem}' if planned.problem else what}"
        console.print(line, highlight=False, soft_wrap=True)
    if estimate := _estimate(plans, folder):
        console.print(estimate, highlight=False, soft_wrap=True)


def _estimate(plans: Sequence[Plan], folder: Path) -> str | None:
    """Estimate the computing time of unfinished runs from finished runs in this folder and in neighbouring folders."""
    from diarbench.benchmarks.runs.estimate import Estimator
    from diarbench.reports.results.run_folder import ComparisonFolder

    estimator, names = Estimator(folder), ComparisonFolder(folder)
    left = [planned.job for planned in plans if not names.run(planned.job.name).scores.is_file()]
    costs = [estimator.cost(job) for job in left]
    known = [cost.total_s for cost in costs if cost]
    if not known:
        return None
    text = f"About {duration(sum(known))} of computing for {plural(len(left), 'run')}, by earlier runs"
    unknown = len(left) - len(known)
    return f"{text}; without {plural(unknown, 'run')} unlike any of them" if unknown else text


def _training(job: Job) -> str:
    epochs = job.recipe["epochs"]
    if not job.train:
        return "no training"
    if job.recipe_search:
        from diarbench.benchmarks.runs.recipe_search import planned_epochs

        recipes = len(job.recipe_search)
        return f"search of {recipes} recipes in {plural(planned_epochs(epochs, recipes), 'epoch')}"
    return plural(epochs, "epoch")


def show(comparison: Comparison, folder: Path, console: Console, verbose: bool) -> None:
    """Write a comparison's reports and print its summary; exits with status 1 where a run failed."""
    from diarbench.reports.terminal import print_comparison, print_summary
    from diarbench.reports.write import write_reports

    with working(console, "Writing the reports"):
        written = write_reports([comparison], folder)
    if verbose:
        print_comparison(comparison, console)
    print_summary([comparison], folder, written, console)
    if any(run.state != "done" for run in comparison.runs):
        raise typer.Exit(1)


def _this_command() -> str:
    return shlex.join(["bench", *sys.argv[1:]])
