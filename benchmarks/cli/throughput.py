"""``bench throughput``: run the suites, store their timings, and compare sessions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from diarbench.benchmarks.throughput.sessions import Session


SUITES = Path(__file__).parent.parent / "throughput"

Store = Annotated[Path, typer.Option(help="Folder of the stored sessions.")]

STORE = Path("throughput")

app = typer.Typer(help="Measure speed and memory, and compare sessions.", invoke_without_command=True)


@app.callback()
def throughput(
    context: typer.Context,
    suite: Annotated[list[str], typer.Option(help="Run only this suite, such as inference; repeat for several.")] = [],  # noqa: B006
    full: Annotated[
        bool, typer.Option("--full", help="Up to five hours of audio and more repeats; takes hours.")
    ] = False,
    store: Store = STORE,
) -> None:
    """Measure the cost of each toolkit and of diarbench itself; without a command, run the suites.

    Results are stored as pytest-benchmark JSON, with hardware, package versions and git commit.
    """
    if context.invoked_subcommand is not None:
        return
    import os
    import subprocess
    import sys

    from diarbench.backends.packages import importable
    from diarbench.benchmarks.throughput.sessions import read_session, stored
    from diarbench.datasets.io.errors import UserError, did_you_mean
    from diarbench.reports.console import make_console

    if not importable("pytest_benchmark") or not importable("pytest"):
        raise UserError("bench throughput needs pytest-benchmark: pip install 'diarbench[throughput]'")
    suites = {path.stem.removeprefix("test_").removesuffix("_speed"): path for path in sorted(SUITES.glob("test_*.py"))}
    for name in suite:
        if name not in suites:
            raise UserError(f"no suite {name!r}{did_you_mean(name, suites)}; available: {', '.join(suites)}")
    old = stored(store)
    command = [sys.executable, "-m", "pytest", *(str(suites[name]) for name in suite or suites)]
    # Ignore any pytest configuration in the current folder, and run the suites one at a time.
    command += [f"--rootdir={SUITES}", "-c", os.devnull, "-p", "no:cacheprovider", "-p", "no:xdist"]
    command += ["--import-mode=importlib", "-q", "--no-header", "--disable-warnings", "--benchmark-quiet"]
    command += [f"--benchmark-storage=file://{store.resolve()}", "--benchmark-save=throughput"]
    process = subprocess.run([*command, *(["--full"] if full else [])], check=False)
    new = [path for path in stored(store) if path not in old]
    if new:
        session = read_session(new[-1])
        console = make_console()
        console.print(session_table(session))
        console.print(str(session.path), highlight=False, soft_wrap=True)
    if process.returncode or not new:
        raise UserError("some suites failed; see the output above")


@app.command()
def compare(
    a: Annotated[str, typer.Argument(help="Number or file of the first session.")],
    b: Annotated[str, typer.Argument(help="Number or file of the second session.")],
    store: Store = STORE,
    fail_above: Annotated[
        str | None,
        typer.Option(help="Fail if a benchmark is slower by more than this, such as 10%, and more than its noise."),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Save a plot to this PNG, SVG or PDF file.")] = None,
) -> None:
    """Show the change of each benchmark from session A to session B, with its noise."""
    from diarbench.benchmarks.throughput.sessions import change, find_session, plot_history
    from diarbench.datasets.io.errors import UserError
    from diarbench.reports.console import make_console

    limit = None if fail_above is None else fraction(fail_above)
    first, second = find_session(a, store), find_session(b, store)
    common = [name for name in first.measures if name in second.measures]
    if not common:
        raise UserError(f"{first.path} and {second.path} have no benchmark in common")
    same = first.hardware == second.hardware
    console = make_console()
    console.print(comparison_table(first, second))
    if not same:
        console.print(f"Different machines ({first.hardware}; {second.hardware}): compared in kernels, not in seconds.")
    for session, other in ((first, second), (second, first)):
        if unmatched := [name for name in session.measures if name not in other.measures]:
            console.print(f"Only in {session.label}: {', '.join(unmatched)}", highlight=False)
    if plot is not None:
        plot_history([first, second], plot)
    slower = []
    for name in common:
        difference = change(first.measures[name], second.measures[name])
        if limit is not None and difference.decisive(same) > limit and not difference.is_noise(same):
            slower.append(f"{name} by {difference.decisive(same):.0%}")
    if slower:
        raise UserError(f"slower by more than {fail_above}: {'; '.join(slower)}")


@app.command()
def history(
    store: Store = STORE,
    last: Annotated[int, typer.Option(min=1, help="Number of sessions.")] = 8,
    plot: Annotated[Path | None, typer.Option(help="Save a plot to this PNG, SVG or PDF file.")] = None,
) -> None:
    """Show every benchmark in the latest sessions, with its noise."""
    from rich.text import Text

    from diarbench.benchmarks.throughput.sessions import plot_history, read_session, stored
    from diarbench.datasets.io.errors import UserError
    from diarbench.reports.console import make_console

    sessions = [read_session(path) for path in stored(store)[-last:]]
    if not sessions:
        raise UserError(f"{store}: no sessions; create one with 'bench throughput'")
    console = make_console()
    for session in sessions:
        console.print(
            f"{session.label}: {session.when}, {session.commit or 'no git'}, {session.hardware}", highlight=False
        )
    table = table_of("Benchmark, seconds", *(session.label for session in sessions))
    for name in dict.fromkeys(name for session in sessions for name in session.measures):
        measures = [session.measures.get(name) for session in sessions]
        table.add_row(Text(name), *("" if m is None else with_noise(m.median_s, m.noise) for m in measures))
    console.print(table)
    if plot is not None:
        plot_history(sessions, plot)


def session_table(session: Session) -> Table:
    """Seconds with noise, rounds, kernels and additional figures of each benchmark."""
    from rich.text import Text

    table = table_of("Benchmark", "Seconds", "Rounds", "Kernels", "Other figures")
    table.title = f"{session.hardware}, {session.commit}"
    for measure in session.measures.values():
        kernels = "" if measure.in_kernels is None else short(measure.in_kernels)
        extra = ", ".join(
            text.format(measure.extra[key]) for key, text in EXTRA_FIGURES.items() if key in measure.extra
        )
        table.add_row(
            Text(measure.name), with_noise(measure.median_s, measure.noise), str(measure.rounds), kernels, extra
        )
    return table


EXTRA_FIGURES = {
    "real_time_factor": "{:.3g} s per second of audio",
    "hours_an_hour": "{:.3g} hours of audio per hour",
    "times_as_fast": "{:.2f} times as fast as the toolkit",
    "times_as_fast_by_processor": "{:.2f} times in processor time",
    "times_faster": "{:.3g} times as fast as the toolkit",
    "all_over_inference": "{:.3g} times inference alone",
    "reference_turns_per_s": "{:,.0f} turns per second",
    "ratio": "ratio {:.2f}",
    "peak_mb": "peak {:,.0f} MB",
    "device_peak_mb": "device peak {:,.0f} MB",
    "startup_s": "startup {:.1f} s",
    "bookkeeping_s": "bookkeeping {:.1f} s",
    "share_of_ten_minutes": "{:.1%} of ten minutes",
}
"""Format of the additional figures that suites store, by key."""


def comparison_table(a: Session, b: Session) -> Table:
    """The change of each common benchmark, in seconds and in kernels."""
    from rich.text import Text

    from diarbench.benchmarks.throughput.sessions import change

    same = a.hardware == b.hardware
    table = table_of("Benchmark", f"{a.label}, s", f"{b.label}, s", "Change", "In kernels", "Noise", "")
    for name, first in a.measures.items():
        if (second := b.measures.get(name)) is None:
            continue
        difference = change(first, second)
        verdict = "noise" if difference.is_noise(same) else "slower" if difference.decisive(same) > 0 else "faster"
        table.add_row(
            Text(name),
            short(first.median_s),
            short(second.median_s),
            f"{difference.seconds:+.1%}",
            "" if difference.kernels is None else f"{difference.kernels:+.1%}",
            "one round" if difference.noise is None else f"±{difference.noise:.1%}",
            verdict,
        )
    return table


def table_of(names: str, *columns: str) -> Table:
    """A table whose first column shows benchmark names in full."""
    from rich.table import Column, Table

    return Table(Column(names, overflow="fold"), *columns)


def with_noise(seconds: float, noise: float | None) -> str:
    """Format such as ``1.23 ±4%``."""
    return short(seconds) + ("" if noise is None else f" ±{noise:.0%}")


def short(value: float) -> str:
    """Format with three significant digits, or as an integer from 100."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def fraction(text: str) -> float:
    """Convert ``10%`` to 0.1. Raises UserError if the text is not a percentage."""
    from diarbench.datasets.io.errors import UserError

    try:
        value = float(text.removesuffix("%")) / 100
    except ValueError:
        value = -1.0
    if not text.endswith("%") or not 0 <= value < float("inf"):
        raise UserError(f"--fail-above {text}: expected a percentage such as 10%")
    return value
