"""``bench report``: a comparison's tables, ``report.md`` and ``report.html`` again, from ``results.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    out: Annotated[Path, typer.Argument(help="A comparison's folder, as 'bench run --out' left it.")],
) -> None:
    """Draw the tables again and write report.md and report.html, from OUT/results.json and what it rests on."""
    from rich.console import Console

    from diarbench.reports.folder import write_reports
    from diarbench.reports.records import Comparison, UserError, read_record
    from diarbench.reports.tables import print_comparison

    results = out / "results.json"
    if not results.is_file():
        raise UserError(f"{out}: no results.json there; give the folder of a finished 'bench run'")
    comparison = read_record(results, Comparison)
    console = Console()
    print_comparison(comparison, console)
    for written in write_reports(comparison, out):
        console.print(str(written), highlight=False, markup=False, soft_wrap=True)
