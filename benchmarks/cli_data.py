"""``bench data ...``: fetch, convert, look at and check datasets."""

from __future__ import annotations

import typer

app = typer.Typer(help="Fetch, convert, look at and check datasets.", no_args_is_help=True)


@app.command("list")
def list_() -> None:
    """The datasets that can be fetched by name."""
