"""The command line ``bench``. Imports no toolkit: each command imports what it needs when it runs."""

from __future__ import annotations

import os
import signal
import sys
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer

from diarbench.benchmarks.cli.data import app as data_app
from diarbench.benchmarks.cli.deploy import diarize, export
from diarbench.benchmarks.cli.env import app as env_app
from diarbench.benchmarks.cli.info import backends, doctor, recipes_app
from diarbench.benchmarks.cli.report import leaderboard, report
from diarbench.benchmarks.cli.run import run, tune
from diarbench.benchmarks.cli.score import Compare, compare, score
from diarbench.benchmarks.cli.status import cancel, status
from diarbench.benchmarks.cli.throughput import app as throughput_app
from diarbench.datasets.io.errors import UserError, os_error_text
from diarbench.datasets.io.names import visible

INTERRUPTED = 130
"""The exit status after Ctrl-C."""

app = typer.Typer(
    name="bench",
    help="Fine-tune pyannote.audio and NVIDIA NeMo on the same recordings, and compare them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (run, status, cancel, tune, report, leaderboard, diarize, export, score):
    app.command()(command)
app.command(cls=Compare)(compare)
app.add_typer(data_app, name="data")
app.command()(backends)
app.add_typer(env_app, name="env")
app.add_typer(recipes_app, name="recipes")
app.add_typer(throughput_app, name="throughput")
app.command()(doctor)


def _print_version(given: bool) -> None:
    if given:
        from importlib.metadata import version

        typer.echo(f"diarbench {version('diarbench')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of ``bench`` itself."""


def _refuse_empty(arguments: list[str]) -> None:
    """Raises UserError for an empty argument, often a shell variable that is not set: it would count as not given."""
    for before, argument in pairwise(["bench", *arguments]):
        option, equals, value = argument.partition("=")
        if not argument or (option.startswith("--") and equals and not value):
            raise UserError(f"{option or before}: followed by an empty value; give one, or leave it out")


def _place_of(error: OSError) -> str:
    """The standard output, if the error names no file and nothing can be written there; otherwise empty.

    What was printed before may be lost, so another line is.
    """
    if not error.filename:
        try:
            sys.stdout.write("\n")
            sys.stdout.flush()
        except OSError:
            return "standard output"
    return ""


def main() -> None:
    """Run the command line; a UserError, an OSError, a MemoryError or Ctrl-C gives one line on stderr and a non-zero
    exit status.

    SIGTERM, which clusters send before they take a machine back, and SIGHUP, which a closed terminal sends, are handled
    like Ctrl-C: the worker stops, and the run can be resumed.
    """
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)
    for stream in ("stdin", "stdout", "stderr"):
        if getattr(sys, stream) is None:  # closed by the caller, as by some daemons
            setattr(sys, stream, Path(os.devnull).open("r+", encoding="utf-8"))  # noqa: SIM115
    try:
        _refuse_empty(sys.argv[1:])
        app()
    except UserError as error:
        sys.stderr.write(f"bench: {visible(error)}\n")
        sys.exit(1)
    except OSError as error:
        sys.stderr.write(f"bench: {visible(os_error_text(error, _place_of(error)))}\n")
        sys.exit(1)
    except MemoryError as error:
        reason = f" ({visible(error)})" if str(error) else ""
        sys.stderr.write(f"bench: out of memory{reason}; free some, or give shorter recordings or fewer at a time\n")
        sys.exit(1)
    except SystemExit as stop:
        if stop.code == INTERRUPTED:  # typer's status for Ctrl-C
            sys.stderr.write("bench: interrupted; run the same command again to resume\n")
        raise


if __name__ == "__main__":
    main()
