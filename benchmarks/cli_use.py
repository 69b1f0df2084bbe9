"""``bench diarize`` and ``bench export``: what a run is good for once it is done."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def diarize(
    audio: Annotated[list[Path], typer.Argument(help="Recordings: anything that soundfile reads.")],
    run: Annotated[Path, typer.Option(help="A run's folder, such as runs/.../ami-mini-pyannote-quick-seed1.")],
    format_: Annotated[str, typer.Option("--format", help="rttm, json or audacity (a label track).")] = "rttm",
    out: Annotated[Path, typer.Option(help="The folder to write to.")] = Path(),
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Say who spoke when in recordings, with a run's best network and its tuned hyper-parameters."""
    from diarbench.benchmarks import using

    _no_telemetry()
    using.diarize(audio, run, format_, out, device, lambda path: typer.echo(str(path)))


def export(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    dest: Annotated[Path, typer.Argument(help="The folder to make.")],
) -> None:
    """Hand a run's network to its toolkit: a pyannote.audio pipeline folder, or a .nemo with its post-processing."""
    from diarbench.benchmarks import using

    _no_telemetry()
    lines = using.export(run, dest)
    typer.echo(f"{dest} is loaded by:\n\n{lines}", nl=False)


def _no_telemetry() -> None:
    """As in a run; before a toolkit is imported."""
    import os

    from diarbench.benchmarks.runner import threads, worker_environment

    os.environ.update(worker_environment(threads()))
