"""``bench diarize`` and ``bench export``: use a finished run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from diarbench.benchmarks.cli.console import FileProgress


def diarize(
    audio: Annotated[
        list[Path], typer.Argument(help="Audio files; MP4 and other containers need the extra 'containers'.")
    ],
    run: Annotated[Path, typer.Option(help="A run's folder, such as runs/.../ami-mini-pyannote-quick-seed1.")],
    format_: Annotated[str, typer.Option("--format", help="rttm, json or audacity (a label track).")] = "rttm",
    out: Annotated[Path, typer.Option(help="The folder to write to.")] = Path(),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, or a GPU such as cuda:1.")] = "auto",
    exclusive: Annotated[
        bool, typer.Option("--exclusive", help="pyannote: one speaker at a time, as transcription needs.")
    ] = False,
    num_speakers: Annotated[int | None, typer.Option(min=1, help="The number of speakers of every file.")] = None,
    min_speakers: Annotated[int | None, typer.Option(min=1, help="The least speakers of a file.")] = None,
    max_speakers: Annotated[int | None, typer.Option(min=1, help="The most speakers of a file.")] = None,
) -> None:
    """Diarize audio files with a run's best network and its tuned hyper-parameters."""
    from diarbench.benchmarks import api
    from diarbench.datasets.io.names import visible

    _set_up_process(run)
    with FileProgress("diarized", len(audio)) as progress:

        def show(path: Path) -> None:
            sys.stdout.write(f"{visible(path)}\n")  # not typer.echo, which would write into the line of the progress
            sys.stdout.flush()
            progress.advance()

        api.diarize(
            audio,
            run,
            out,
            format_=format_,
            device=device,
            exclusive=exclusive,
            num_speakers=num_speakers,
            min_speakers=min_speakers,
            max_speakers=max_speakers,
            on_written=show,
        )


def export(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    dest: Annotated[Path, typer.Argument(help="The folder to create.")],
    push_to_hub: Annotated[
        str | None,
        typer.Option(metavar="OWNER/NAME", help="Also upload it to the Hugging Face hub; a new repository is private."),
    ] = None,
) -> None:
    """Export a run's network for its toolkit, a pyannote.audio pipeline folder or a .nemo file, with a model card."""
    from diarbench.benchmarks.runs import deploy

    _set_up_process(run)
    code = deploy.export(run, dest, push_to_hub)
    if push_to_hub is not None:
        typer.echo(f"Uploaded to {push_to_hub}\n")
    typer.echo(f"Load {dest} with:\n\n{code}", nl=False)


def _set_up_process(run: Path) -> None:
    """Go on in the environment of a run, with its variables: threads, and no telemetry. No toolkit is loaded yet."""
    import os

    from diarbench.benchmarks.runs.deploy import elsewhere
    from diarbench.benchmarks.runs.environment import (
        OWN_VARIABLES,
        collect_garbage_rarely,
        threads,
        watch_load,
        worker_environment,
    )
    from diarbench.benchmarks.runs.interpreters import ISOLATED, check_interpreter, check_known
    from diarbench.reports.results.run_folder import RunFolder

    os.environ.update(worker_environment(threads()))
    watch_load(threads())
    collect_garbage_rarely()
    folder = RunFolder(run)
    if folder.job.is_file() and (python := elsewhere(job := folder.read_job())):
        check_known(python, job.backend, str(run))
        check_interpreter(python, f"{run}: its environment")
        others = {name: value for name, value in os.environ.items() if name not in OWN_VARIABLES}
        os.execve(python, [python, *ISOLATED, "-m", "diarbench.benchmarks.cli", *sys.argv[1:]], others)
