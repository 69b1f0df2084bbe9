"""Use a finished run: diarize audio files with it, or export it for its toolkit."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diarbench.backends import registry
from diarbench.backends.base import Backend, DecodesExclusively, Diarizer, SpeakerBounds
from diarbench.backends.checkpoints import is_of_torch, load_checkpoint
from diarbench.backends.initial_weights import best_checkpoint, read_run
from diarbench.backends.threads import adapt_threads
from diarbench.benchmarks.runs.environment import check_device, resolve_device
from diarbench.benchmarks.runs.evaluation import bounded
from diarbench.benchmarks.runs.hub import check_upload, upload
from diarbench.benchmarks.runs.model_card import model_card
from diarbench.datasets.dataset import Recording, from_annotation
from diarbench.datasets.io.audio import Clip, length_s, write_audio
from diarbench.datasets.io.errors import UserError, check_choice
from diarbench.datasets.io.files import make_folder, read_text, temporary_folder, write_atomic
from diarbench.datasets.io.rttm import Turn, rttm_text
from diarbench.reports.results.job import Job
from diarbench.reports.results.run_folder import RunFolder
from diarbench.reports.results.scores import Row

Format = Callable[[str, Sequence[Turn], float], str]
"""Formats a recording's name, turns and duration (s) as the text of a file."""


def as_json(uri: str, turns: Sequence[Turn], duration_s: float) -> str:
    """A JSON object with the recording's name, its duration and its turns in order."""
    items = [{"start_s": turn.start_s, "end_s": turn.end_s, "speaker": turn.speaker} for turn in turns]
    return json.dumps({"uri": uri, "duration_s": duration_s, "turns": items}, indent=1, ensure_ascii=False) + "\n"


def as_audacity(uri: str, turns: Sequence[Turn], duration_s: float) -> str:
    """An Audacity label track: one turn per line, with start, end and speaker separated by tabs."""
    return "".join(f"{turn.start_s:.6f}\t{turn.end_s:.6f}\t{turn.speaker}\n" for turn in turns)


FORMATS: dict[str, tuple[str, Format]] = {
    "rttm": (".rttm", lambda uri, turns, duration_s: rttm_text(uri, turns)),
    "json": (".json", as_json),
    "audacity": (".txt", as_audacity),
}
"""Suffix and writer of each format."""


def elsewhere(job: Job) -> str | None:
    """The interpreter that a run's network needs; None where it is the one of this process."""
    is_here = job.python is None or Path(job.python).absolute() == Path(sys.executable).absolute()
    return None if is_here else job.python


class TrainedRun:
    """A finished run's best network and its tuned hyper-parameters, or the defaults where it was not tuned."""

    def __init__(self, folder: Path) -> None:
        files = RunFolder(folder)
        self.run = read_run(files, str(folder))
        self.checkpoint = best_checkpoint(files, self.run, str(folder))
        job = files.read_job()
        if python := elsewhere(job):
            raise UserError(
                f"{folder}: its network needs another environment: {python} -m diarbench.benchmarks.cli ..."
            )
        self.backend: Backend = registry.load_for(job)
        self.bounds = SpeakerBounds(job.min_speakers, job.max_speakers)
        self.rows: tuple[Row, ...] = files.read_scores().rows if files.scores.is_file() else ()

    def network(self) -> Any:
        """The best network. Raises UserError for a checkpoint that is damaged, or of another backend or version."""
        return self.backend.restore(load_checkpoint(self.checkpoint, self.backend.name))

    def hyperparameters(self, defaults: Mapping[str, Any]) -> dict[str, Any]:
        """The defaults, with the tuned values in their place."""
        return {**defaults, **(self.run.tuning.chosen if self.run.tuning else {})}


def diarize(
    audio: Sequence[Path],
    run: Path,
    format_: str,
    out: Path,
    device: str,
    on_written: Callable[[Path], None],
    exclusive: bool = False,
    bounds: SpeakerBounds | None = None,
) -> list[Path]:
    """Diarize each file and return the files written; ``on_written`` is called after each.

    With ``exclusive``, at most one speaker speaks at a time. ``bounds`` are by default those of the run.

    Raises UserError before any computation for two inputs with the same output or name, an output that exists or cannot
    be written, a file that does not exist, a folder that holds no finished run, or where no file is readable. A file
    that is unreadable or cannot be diarized costs itself only, and is told at the end.
    """
    check_choice("format", format_, FORMATS)
    check_device(device)
    suffix, text = FORMATS[format_]
    targets: dict[Path, Path] = {}
    by_uri: dict[str, Path] = {}
    failures = []
    for path in audio:
        target = out / f"{path.stem}{suffix}"
        if (other := by_uri.setdefault(_uri(path), path)).stem != path.stem:
            raise UserError(f"{path} and {other} would both be named {_uri(path)} in their files; rename one of them")
        if target in targets:
            raise UserError(f"{path} and {targets[target]} would both be written to {target}; run them separately")
        if target.exists():
            raise UserError(f"{target}: exists already; choose another --out")
        try:
            _check_readable(path)
        except UserError as error:
            if not path.is_file():  # a mistake in the command
                raise
            failures.append(str(error))
        else:
            targets[target] = path
    if not targets:
        raise UserError("; ".join(failures))
    trained = TrainedRun(run)
    device = resolve_device(device)
    make_folder(out)
    with tempfile.TemporaryDirectory(prefix="diarbench-") as temporary:
        with quiet(Path(temporary) / "log.txt"):
            diarizer = bounded(trained.backend.diarizer(trained.network(), device), bounds or trained.bounds)
        hyperparameters = trained.hyperparameters(diarizer.defaults)
        diarizer = diarizer.with_frozen(hyperparameters)
        decode = _decode_of(diarizer, exclusive)
        for target, path in targets.items():
            adapt_threads()
            try:
                recording = _recording(path, Path(temporary))
                with quiet(Path(temporary) / "log.txt"):
                    annotation = decode(recording, diarizer.infer(recording), hyperparameters)
            except UserError as error:
                failures.append(str(error))
            except Exception as error:  # toolkits raise many kinds, such as for a recording of a few samples
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                failures.append(f"{path}: {length_s(Clip(path)):.2f} s of audio could not be diarized ({reason})")
            else:
                write_atomic(target, text(recording.uri, from_annotation(annotation), recording.duration_s))
                recording.audio.unlink()
                on_written(target)
    if failures:
        raise UserError("; ".join(failures))
    return list(targets)


def _decode_of(diarizer: Diarizer, exclusive: bool) -> Callable[..., Any]:
    """Raises UserError where the diarizer cannot decode exclusively."""
    if not exclusive:
        return diarizer.decode
    if not isinstance(diarizer, DecodesExclusively):
        raise UserError("--exclusive: this backend cannot name one speaker at a time; pyannote can")
    return diarizer.decode_exclusive


def export(run: Path, destination: Path, repository: str | None = None) -> str:
    """Write a run's network and hyper-parameters for its toolkit, with a model card; returns the code that loads them.

    The folder is written completely or not at all, and then uploaded to ``repository`` on the Hugging Face hub. Raises
    UserError where the folder exists, the run has no network, or the hub refuses.
    """
    if destination.exists():
        raise UserError(f"{destination}: exists already; choose another")
    trained = TrainedRun(run)
    if repository is not None:
        check_upload(repository)
    destination = destination.absolute()
    make_folder(destination.parent)
    with temporary_folder(destination) as temporary:
        folder = temporary / destination.name
        with quiet(temporary / "log.txt"), _writing(destination):
            network = trained.network()
            if is_of_torch(network):
                network.eval()
            defaults = trained.backend.diarizer(network, "cpu").defaults
            code = trained.backend.export(network, trained.hyperparameters(defaults), folder)
        name = repository.rpartition("/")[2] if repository else destination.name
        card = model_card(trained.run, trained.rows, code.replace(str(folder), name), repository)
        write_atomic(folder / "README.md", card)
        folder.rename(destination)
    if repository is not None:
        upload(destination, repository)
    return code.replace(str(folder), str(destination))


@contextmanager
def _writing(destination: Path) -> Iterator[None]:
    """Raises UserError that names the destination where the disk refuses the toolkits' files."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "inline_container" not in str(error):  # torch's writer of files
            raise
        reason = error.strerror if isinstance(error, OSError) else f"is the disk full? {str(error).splitlines()[0]}"
        raise UserError(f"{destination}: cannot be written ({reason}); free some room or choose another") from error


def _check_readable(path: Path) -> None:
    if not length_s(Clip(path)):
        raise UserError(f"{path}: contains no samples")


def _uri(path: Path) -> str:
    """The name of a recording in its RTTM, which cannot have spaces."""
    return "_".join(path.stem.split())


def _recording(path: Path, folder: Path) -> Recording:
    """The audio converted to 16 kHz mono, as the networks expect it."""
    target = folder / f"{_uri(path)}.wav"
    write_audio((Clip(path),), target)
    return Recording(target.stem, "test", target, target.with_suffix(".rttm"), target.with_suffix(".uem"))


@contextmanager
def quiet(log: Path) -> Iterator[None]:
    """Send the toolkits' output to a log, and print the log if they raise anything but a UserError."""
    saved = [os.dup(stream) for stream in (1, 2)]
    sys.stdout.flush()
    failed = True
    with log.open("a") as file:
        try:
            for stream in (1, 2):
                os.dup2(file.fileno(), stream)
            yield
            failed = False
        except UserError:
            failed = False
            raise
        finally:
            sys.stdout.flush()
            for stream, copy in zip((1, 2), saved, strict=True):
                os.dup2(copy, stream)
                os.close(copy)
            if failed:
                sys.stderr.write(read_text(log, errors="replace"))
