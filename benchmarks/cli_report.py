"""``bench report``: a comparison's tables and ``report.md`` again, from ``results.json`` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    out: Annotated[Path, typer.Argument(help="A comparison's folder, as 'bench run --out' left it.")],
) -> None:
    """Draw the tables again and write report.md, from OUT/results.json alone."""
    from rich.console import Console

    from diarbench.reports.markdown import render
    from diarbench.reports.records import Comparison, UserError, read_record, write_whole
    from diarbench.reports.tables import print_comparison

    results = out / "results.json"
    if not results.is_file():
        raise UserError(f"{out}: no results.json there; give the folder of a finished 'bench run'")
    comparison = read_record(results, Comparison)
    print_comparison(comparison, Console())
    write_whole(out / "report.md", render(comparison))
