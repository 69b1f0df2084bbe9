"""``bench backends``, ``bench recipes`` and ``bench doctor``: what there is, told without importing a toolkit."""

from __future__ import annotations

from collections.abc import Iterator

import typer

recipes_app = typer.Typer()


def _backends() -> Iterator[tuple[str, str | None, str]]:
    """Each backend's name, the command that installs what it lacks, and what ``--init auto`` comes to."""
    from rich.markup import escape

    from diarbench.backends import registry
    from diarbench.reports.records import UserError

    for name in registry.entries():
        command = registry.missing(name)
        try:
            start = "" if command else registry.load(name).locate("auto").weights.origin
        except UserError as error:
            start = str(error)
        # Brackets of an extra are no markup.
        yield name, escape(command) if command else None, escape(start)


def backends() -> None:
    """The toolkits that can be fine-tuned, and what each starts from."""
    from rich.console import Console
    from rich.table import Table

    table = Table("backend", "installed", "--init auto")
    for name, command, start in _backends():
        table.add_row(name, command or "yes", start)
    Console().print(table)


@recipes_app.callback(invoke_without_command=True)
def list_(context: typer.Context) -> None:
    """How networks are fine-tuned: without a command, the recipes that come with diarbench."""
    if context.invoked_subcommand:
        return
    from rich.console import Console
    from rich.table import Table

    from diarbench.backends import recipes

    table = Table("recipe", "about")
    for name in recipes.names():
        table.add_row(name, recipes.load(name).about)
    Console().print(table)


@recipes_app.command()
def show(name: str) -> None:
    """Print a recipe's YAML, to copy and edit."""
    from diarbench.backends import recipes

    typer.echo(recipes.text(name), nl=False)


def doctor() -> None:
    """What is installed, which weights are at hand, which device, and what mends what is missing."""
    import subprocess
    import sys

    from rich.console import Console
    from rich.table import Table

    from diarbench.backends import registry
    from diarbench.backends.weights import package_version
    from diarbench.benchmarks.environment import DECISIVE, environment
    from diarbench.datasets.catalog import KNOWN, location

    console = Console()
    here = environment("")
    table = Table("what", "found", "to mend")
    table.add_row("python", here.python, "")
    table.add_row("machine", f"{here.cores} cores, {here.memory_gb:g} GB, {here.platform}", "")
    for package in DECISIVE:
        table.add_row(package, package_version(package) or "-", "")
    for name, command, start in _backends():
        table.add_row(f"backend {name}", "not installed" if command else f"first weights: {start}", command or "")
    for name in KNOWN:
        there = location(name).is_dir()
        table.add_row(
            f"dataset {name}", str(location(name)) if there else "-", "" if there else f"bench data fetch {name}"
        )
    if registry.importable("torch"):
        # In a process of its own: the door imports no toolkit.
        code = "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else 'cpu')"
        asked = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
        table.add_row(
            "device",
            asked.stdout.strip() or "torch does not import",
            "" if asked.returncode == 0 else "pip install torch",
        )
    console.print(table)
