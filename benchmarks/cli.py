"""The door: ``bench ...``. Imports no toolkit; each command imports what it needs when it runs."""

from __future__ import annotations

import signal
import sys

import typer

from diarbench.benchmarks.cli_data import app as data_app
from diarbench.benchmarks.cli_info import backends, doctor, recipes_app
from diarbench.benchmarks.cli_report import leaderboard, report
from diarbench.benchmarks.cli_run import run, tune
from diarbench.benchmarks.cli_score import compare, score
from diarbench.benchmarks.cli_throughput import app as throughput_app
from diarbench.benchmarks.cli_use import diarize, export
from diarbench.reports.records import UserError

app = typer.Typer(
    name="bench",
    help="Fine-tune pyannote.audio and NVIDIA NeMo on the same recordings, and say which did better.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(run)
app.command()(tune)
app.command()(report)
app.command()(leaderboard)
app.command()(diarize)
app.command()(export)
app.command()(score)
app.command()(compare)
app.add_typer(data_app, name="data")
app.command()(backends)
app.add_typer(recipes_app, name="recipes")
app.add_typer(throughput_app, name="throughput")
app.command()(doctor)


INTERRUPTED = 130


def main() -> None:
    """Run the command line; a UserError or Ctrl-C is one line on stderr and a non-zero exit.

    SIGTERM, by which a cluster takes its machine back, is as Ctrl-C: no worker stays, and a run can be gone on with.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app()
    except UserError as error:
        sys.stderr.write(f"bench: {error}\n")
        sys.exit(1)
    except SystemExit as stop:
        if stop.code == INTERRUPTED:  # which is what typer makes of Ctrl-C
            sys.stderr.write("bench: interrupted; run the same command again to go on\n")
        raise


if __name__ == "__main__":
    main()
