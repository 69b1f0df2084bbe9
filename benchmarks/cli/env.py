"""``bench env``: virtual environments for backends that cannot be installed beside the others."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="Environments of their own for backends, for --env BACKEND=auto.", no_args_is_help=True)


@app.command()
def create(
    backend: Annotated[str, typer.Argument(help="The backend that is installed there.")],
    packages: Annotated[
        list[str] | None,
        typer.Argument(help="What installs a third party's backend, for pip: a name, a folder, an address."),
    ] = None,
) -> None:
    """Make a virtual environment in the user's cache, and install diarbench and a backend there."""
    import subprocess

    from diarbench.benchmarks.runs.virtual_environments import create as make

    python = make(backend, packages or (), lambda command: subprocess.run(command, check=False).returncode)
    typer.echo(f"Made {python}\nUse it with: --env {backend}=auto")


@app.command("list")
def list_() -> None:
    """List the environments that were made, with their interpreters."""
    from diarbench.benchmarks.runs.virtual_environments import made, python_of

    names = list(made())
    for name in names:
        typer.echo(f"{name}  {python_of(name)}")
    if not names:
        typer.echo("No environments; make one: bench env create BACKEND")
