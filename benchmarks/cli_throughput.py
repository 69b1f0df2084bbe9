"""``bench throughput``: time the suites, keep what was measured, and tell what changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from diarbench.benchmarks.measurements import Session

SUITES = Path(__file__).parent / "throughput"
Store = Annotated[Path, typer.Option(help="Where sessions are kept.")]
STORE = Path("throughput")

app = typer.Typer(help="Time the suites, and compare sessions.", invoke_without_command=True)


@app.callback()
def throughput(
    context: typer.Context,
    suite: Annotated[list[str], typer.Option(help="A suite alone, such as inference; repeat for more.")] = [],  # noqa: B006
    full: Annotated[
        bool, typer.Option("--full", help="Up to five hours of audio and more repeats: takes hours.")
    ] = False,
    store: Store = STORE,
) -> None:
    """Time what each toolkit costs, and what our own parts do; without a command, run the suites.

    Every figure is kept in pytest-benchmark's own JSON, with hardware, versions and git.
    """
    if context.invoked_subcommand is not None:
        return
    import os
    import subprocess
    import sys

    from rich.console import Console

    from diarbench.backends.registry import importable
    from diarbench.benchmarks.measurements import read_session, stored
    from diarbench.reports.records import UserError, closest

    if not importable("pytest_benchmark") or not importable("pytest"):
        raise UserError("bench throughput needs pytest-benchmark: pip install 'diarbench[throughput]'")
    suites = {path.stem.removeprefix("test_").removesuffix("_speed"): path for path in sorted(SUITES.glob("test_*.py"))}
    for name in suite:
        if name not in suites:
            raise UserError(f"no suite {name!r}{closest(name, suites)}; there are {', '.join(suites)}")
    before = stored(store)
    command = [sys.executable, "-m", "pytest", *(str(suites[name]) for name in suite or suites)]
    # The suites are run as they are, whatever the folder that one stands in says of pytest; one at a time.
    command += [f"--rootdir={SUITES}", "-c", os.devnull, "-p", "no:cacheprovider", "-p", "no:xdist"]
    command += ["--import-mode=importlib", "-q", "--no-header", "--disable-warnings", "--benchmark-quiet"]
    command += [f"--benchmark-storage=file://{store.resolve()}", "--benchmark-save=throughput"]
    ran = subprocess.run([*command, *(["--full"] if full else [])], check=False)
    new = [path for path in stored(store) if path not in before]
    if new:
        session = read_session(new[-1])
        console = Console()
        console.print(session_table(session))
        console.print(str(session.path), highlight=False, markup=False, soft_wrap=True)
    if ran.returncode or not new:
        raise UserError("not every suite went through; what it said is above")


@app.command()
def compare(
    a: Annotated[str, typer.Argument(help="A session's number or file.")],
    b: Annotated[str, typer.Argument(help="Another's.")],
    store: Store = STORE,
    fail_above: Annotated[
        str | None, typer.Option(help="Fail where anything became slower by more than this, such as 10%, beyond noise.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Where to draw it, as PNG, SVG or PDF.")] = None,
) -> None:
    """Show what changed from session A to session B, with its noise."""
    from rich.console import Console

    from diarbench.benchmarks.measurements import change, find_session, plot_history
    from diarbench.reports.records import UserError

    limit = None if fail_above is None else fraction(fail_above)
    first, second = find_session(a, store), find_session(b, store)
    both = [name for name in first.measures if name in second.measures]
    if not both:
        raise UserError(f"{first.path} and {second.path} have no benchmark in common")
    same = first.hardware == second.hardware
    console = Console()
    console.print(comparison_table(first, second))
    if not same:
        console.print(f"Two machines ({first.hardware}; {second.hardware}): judged in kernels, not in seconds.")
    for only, other in ((first, second), (second, first)):
        if missing := [name for name in only.measures if name not in other.measures]:
            console.print(f"Only in {only.label}: {', '.join(missing)}", highlight=False, markup=False)
    if plot is not None:
        plot_history([first, second], plot)
    slower = []
    for name in both:
        became = change(first.measures[name], second.measures[name])
        if limit is not None and became.decisive(same) > limit and not became.is_noise(same):
            slower.append(f"{name} by {became.decisive(same):.0%}")
    if slower:
        raise UserError(f"slower by more than {fail_above}: {'; '.join(slower)}")


@app.command()
def history(
    store: Store = STORE,
    last: Annotated[int, typer.Option(min=1, help="How many sessions.")] = 8,
    plot: Annotated[Path | None, typer.Option(help="Where to draw it, as PNG, SVG or PDF.")] = None,
) -> None:
    """Show every benchmark over the latest sessions, with its noise."""
    from rich.console import Console
    from rich.text import Text

    from diarbench.benchmarks.measurements import plot_history, read_session, stored
    from diarbench.reports.records import UserError

    sessions = [read_session(path) for path in stored(store)[-last:]]
    if not sessions:
        raise UserError(f"{store}: no sessions yet; 'bench throughput' makes one")
    console = Console()
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
    """A session's figures: seconds with their spread, and in kernels."""
    from rich.text import Text

    table = table_of("Benchmark", "Seconds", "Rounds", "Kernels", "Also")
    table.title = f"{session.hardware}, {session.commit}"
    for measure in session.measures.values():
        kernels = "" if measure.in_kernels is None else short(measure.in_kernels)
        extra = ", ".join(text.format(measure.extra[key]) for key, text in TOLD.items() if key in measure.extra)
        table.add_row(
            Text(measure.name), with_noise(measure.median_s, measure.noise), str(measure.rounds), kernels, extra
        )
    return table


TOLD = {
    "real_time_factor": "{:.3g} s a second of audio",
    "hours_an_hour": "{:.3g} hours of audio an hour",
    "times_as_fast": "{:.2f} times as fast as the toolkit",
    "times_as_fast_by_processor": "{:.2f} by the processor's time",
    "times_faster": "{:.3g} times as fast as the toolkit",
    "all_over_inference": "{:.3g} times inference alone",
    "reference_turns_per_s": "{:,.0f} turns a second",
    "ratio": "ratio {:.2f}",
    "peak_mb": "peak {:,.0f} MB",
    "device_peak_mb": "device's peak {:,.0f} MB",
    "startup_s": "start {:.1f} s",
    "books_s": "books {:.1f} s",
    "share_of_ten_minutes": "{:.1%} of ten minutes",
}
"""Figures that a suite keeps beside its seconds, and how they are told."""


def comparison_table(a: Session, b: Session) -> Table:
    """What changed, in seconds and in kernels."""
    from rich.text import Text

    from diarbench.benchmarks.measurements import change

    same = a.hardware == b.hardware
    table = table_of("Benchmark", f"{a.label}, s", f"{b.label}, s", "Change", "In kernels", "Noise", "")
    for name, first in a.measures.items():
        if (second := b.measures.get(name)) is None:
            continue
        became = change(first, second)
        verdict = "noise" if became.is_noise(same) else "slower" if became.decisive(same) > 0 else "faster"
        table.add_row(
            Text(name),
            short(first.median_s),
            short(second.median_s),
            f"{became.seconds:+.1%}",
            "" if became.kernels is None else f"{became.kernels:+.1%}",
            "one round" if became.noise is None else f"±{became.noise:.1%}",
            verdict,
        )
    return table


def table_of(names: str, *columns: str) -> Table:
    """A table whose first column has the benchmarks' names, which are told whole."""
    from rich.table import Column, Table

    return Table(Column(names, overflow="fold"), *columns)


def with_noise(seconds: float, noise: float | None) -> str:
    """Such as ``1.23 ±4%``."""
    return short(seconds) + ("" if noise is None else f" ±{noise:.0%}")


def short(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def fraction(text: str) -> float:
    """``10%`` as 0.1. Raises UserError for what is no percentage."""
    from diarbench.reports.records import UserError

    try:
        value = float(text.removesuffix("%")) / 100
    except ValueError:
        value = -1.0
    if not text.endswith("%") or not 0 <= value < float("inf"):
        raise UserError(f"--fail-above {text}: expected a percentage such as 10%")
    return value
