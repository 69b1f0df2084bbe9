"""``bench status`` and ``bench cancel``: where the runs of a comparison stand, and how to end them."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from diarbench.benchmarks.cli.console import duration
from diarbench.datasets.io.names import visible

if TYPE_CHECKING:
    from rich.console import Group

    from diarbench.benchmarks.runs.status import RunStatus

WATCH_S = 2.0
"""How often --watch reads the folders again."""

Out = Annotated[Path, typer.Argument(metavar="OUT", help="The folder of a comparison that `bench run` writes.")]


def status(
    folder: Out,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show the table until every run is over, or until Ctrl-C.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array with an object for each run.")] = False,
) -> None:
    """Show where each run of a comparison stands: state, epoch, dev DER, host, time left, and why it failed.

    Reads only the runs' folders, so it works on any machine that sees them.
    """
    from diarbench.benchmarks.runs import status as statuses
    from diarbench.datasets.io.errors import UserError
    from diarbench.reports.console import make_console

    if watch and as_json:
        raise UserError("--watch: shows a table; leave out --json")
    if as_json:
        typer.echo(json.dumps([run.model_dump() for run in statuses.status(folder)], indent=1))
        return
    console = make_console()
    if not watch:
        console.print(_shown(statuses.status(folder)))
        return
    from rich.live import Live

    runs = statuses.status(folder)
    # Ctrl-C is how it is left while runs go on.
    with suppress(KeyboardInterrupt), Live(_shown(runs), console=console, auto_refresh=False) as live:
        while any(run.state not in statuses.OVER for run in runs):
            time.sleep(WATCH_S)
            runs = statuses.status(folder)
            live.update(_shown(runs), refresh=True)


def cancel(
    folder: Out,
    runs: Annotated[list[str] | None, typer.Argument(metavar="[RUN]...", help="Runs; all where none is given.")] = None,
) -> None:
    """Cancel runs of a comparison that are not over. `bench run` starts them again, from their last epoch."""
    from diarbench.benchmarks.runs import status as statuses
    from diarbench.reports.console import make_console

    console = make_console()
    cancelled = statuses.cancel(folder, runs or ())
    for name, holder in cancelled:
        where = f"process {holder.pid} on {holder.host} ends" if holder else "was not running"
        console.print(f"{name}: cancelled; {where}", soft_wrap=True, highlight=False, markup=False)
    if not cancelled:
        console.print("Every run is over already.")


def _shown(runs: Sequence[RunStatus]) -> Group:
    """The table of runs, why some failed, and the totals."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    counts = {state: sum(run.state == state for run in runs) for state in dict.fromkeys(run.state for run in runs)}
    left = [run.left_s for run in runs if run.left_s is not None]
    totals = [*(f"{count} {state}" for state, count in counts.items())]
    if left:
        totals.append(f"about {duration(sum(left))} of computing left")
    table = Table(box=None, pad_edge=False)
    for head in ("run", "state", "epoch", "dev DER", "host", "time left"):
        justify: Literal["left", "right"] = "right" if head in ("epoch", "dev DER", "time left") else "left"
        # A name that is cut short is that of no run: its end says the seed and the fold.
        table.add_column(head, justify=justify, no_wrap=head != "run", overflow="fold")
    for run in runs:
        table.add_row(
            Text(run.run),
            run.state,
            "" if run.epoch is None else f"{run.epoch}/{run.epochs}",
            "" if run.dev_der is None else f"{run.dev_der:.1%}",
            Text(run.host or ""),
            "" if run.left_s is None else duration(run.left_s),
        )
    failures = (Text(visible(f"{run.run}: {run.failure}"), style="red") for run in runs if run.failure)
    return Group(table, *failures, Text(", ".join(totals)))
