"""``bench backends``, ``bench recipes`` and ``bench doctor``. None of them imports a toolkit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

recipes_app = typer.Typer()

PROBE = """
import io, wave
import torch
print(torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu")
with wave.open(file := io.BytesIO(), "wb") as sound:
    sound.setparams((1, 2, 16000, 0, "NONE", ""))
    sound.writeframes(bytes(32000))
try:
    from torchcodec.decoders import AudioDecoder
    AudioDecoder(file.getvalue()).get_all_samples()
    print("works")
except Exception:
    print("fails")
"""
"""Prints the device, and whether torchcodec, with which pyannote.audio reads files, decodes a second of silence."""


def _backends() -> Iterator[tuple[str, str | None, str]]:
    """Each backend's name, the command that installs missing packages, and the weights that ``--init auto`` selects."""
    from diarbench.backends import registry
    from diarbench.datasets.io.errors import UserError

    for name in registry.entries():
        command = registry.missing(name)
        try:
            origin = "" if command else registry.load(name).resolve_init("auto").weights.origin
        except UserError as error:
            origin = str(error)
        yield name, command, origin


def _pipelines() -> Iterator[tuple[str, str, str]]:
    """Each published pipeline of pyannote, what is missing of it in the hub's cache, and what gets it."""
    from diarbench.backends.pyannote.published import KNOWN, open_pipeline
    from diarbench.datasets.io.errors import UserError

    for repository, known in KNOWN.items():
        source = f"hub:{repository}"
        try:
            open_pipeline(source)
            status, fix = f"at hand: --pipeline {source}", ""
        except UserError as error:
            reason, _, command = str(error).rpartition(": ")
            status, fix = reason, command
        yield f"pipeline {known.name}", status, fix


def _environments(options: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """What the other environments of backends hold, or why they cannot work runs."""
    from diarbench.benchmarks.runs.backend_facts import Question
    from diarbench.benchmarks.runs.interpreters import ask, interpreters
    from diarbench.datasets.io.errors import UserError

    for option in options:
        item = f"environment {option}"
        try:
            ((name, python),) = interpreters([option]).items()
            facts = ask(python, Question(backend=name), f"--env {option}")
        except UserError as error:
            yield item, "cannot work runs", str(error).removeprefix(f"--env {option}: ")
            continue
        packages = ", ".join(f"{package} {version}" for package, version in facts.versions.items())
        weights = facts.weights.origin if facts.weights else facts.problem
        yield item, f"{packages}; initial weights: {weights}", "" if facts.can_train else "--no-train: it has no torch"


def backends() -> None:
    """List the toolkits that can be fine-tuned and their initial weights."""
    from rich.table import Column, Table

    from diarbench.reports.console import make_console

    table = Table("backend", Column("installed", overflow="fold"), Column("--init auto", overflow="fold"))
    for name, command, origin in _backends():
        table.add_row(name, command or "yes", origin)
    make_console().print(table)


@recipes_app.callback(invoke_without_command=True)
def list_(context: typer.Context) -> None:
    """List the recipes that come with diarbench; each sets how networks are fine-tuned."""
    if context.invoked_subcommand:
        return
    from rich.table import Table

    from diarbench.backends.recipes import load as recipes
    from diarbench.reports.console import make_console

    table = Table("recipe", "about")
    for name in recipes.names():
        table.add_row(name, recipes.load(name).about)
    make_console().print(table)


@recipes_app.command()
def show(name: str) -> None:
    """Print a recipe's YAML, to copy and edit."""
    from diarbench.backends.recipes import load as recipes

    typer.echo(recipes.text(name), nl=False)


def doctor(
    env: Annotated[
        list[str],
        typer.Option(
            metavar="BACKEND=PYTHON", help="Also check the environment of a backend; auto: as made; repeatable."
        ),
    ] = [],  # noqa: B006
) -> None:
    """Show installed packages, available weights, datasets and devices, and how to install what is missing."""
    from rich.table import Column, Table

    from diarbench.reports.console import make_console

    console = make_console()
    rows = list(_findings(env))
    table = Table("item", Column("status", overflow="fold"))
    for item, status, _ in rows:
        table.add_row(item, status)
    console.print(table)
    for item, _, fix in rows:
        if fix:  # below the table, in one line each, so that commands can be copied
            console.print(f"{item}: {fix}", soft_wrap=True, highlight=False)


def _findings(env: list[str]) -> Iterator[tuple[str, str, str]]:
    """Each item with its status and what to do; empty where nothing is."""
    import subprocess
    import sys

    from diarbench.backends.packages import importable, package_version
    from diarbench.benchmarks.runs.environment import TRACKED_PACKAGES, environment
    from diarbench.datasets.corpora.catalog import KNOWN, location

    machine = environment("")
    yield "python", machine.python, ""
    yield "machine", f"{machine.cores} cores, {machine.memory_gb:g} GB, {machine.platform}", ""
    for package in TRACKED_PACKAGES:
        yield package, package_version(package) or "-", ""
    for name, command, origin in _backends():
        yield f"backend {name}", "not installed" if command else f"initial weights: {origin}", command or ""
    yield from _pipelines()
    yield from _environments(env)
    for name in KNOWN:
        folder = location(name)
        status, fix = (str(folder), "") if folder.is_dir() else ("-", f"bench data fetch {name}")
        yield f"dataset {name}", status, fix
    if importable("torch"):
        # A separate process, since this one must not import a toolkit.
        probe = [sys.executable, "-P", "-c", PROBE]
        done = subprocess.run(probe, capture_output=True, text=True, check=False)
        device, _, decoder = done.stdout.strip().partition("\n")
        fix = "" if done.returncode == 0 else "pip install torch"
        yield "device", device or "torch cannot be imported", fix
        if importable("pyannote.audio") and device:
            status = "works" if decoder == "works" else "no FFmpeg for torchcodec; bench itself needs none"
            fix = "" if decoder == "works" else "apt-get install ffmpeg, or pass samples as bench export prints"
            yield "pyannote.audio on paths", status, fix
