"""What comes of a run once it is done: diarize anybody's audio with it, or hand it to its toolkit."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diarbench.backends import registry
from diarbench.backends.base import Backend, load_checkpoint
from diarbench.backends.weights import best_of, run_in
from diarbench.benchmarks.worker import DEVICES, device_of
from diarbench.datasets.audio import Clip, write_audio
from diarbench.datasets.layout import Recording, from_annotation
from diarbench.datasets.rttm import Turn, rttm_text
from diarbench.reports.records import Run, UserError, check_choice, write_whole

Format = Callable[[str, Sequence[Turn], float], str]
"""A recording's name, turns and duration in seconds, as a file's text."""


def as_json(uri: str, turns: Sequence[Turn], duration_s: float) -> str:
    """An object with the recording's name, its duration, and its turns in order."""
    listed = [{"start_s": t.start_s, "end_s": t.end_s, "speaker": t.speaker} for t in turns]
    return json.dumps({"uri": uri, "duration_s": duration_s, "turns": listed}, indent=1, ensure_ascii=False) + "\n"


def as_audacity(uri: str, turns: Sequence[Turn], duration_s: float) -> str:
    """A label track of Audacity's: start, end and label, parted by tabs, a turn a line."""
    return "".join(f"{turn.start_s:.6f}\t{turn.end_s:.6f}\t{turn.speaker}\n" for turn in turns)


FORMATS: dict[str, tuple[str, Format]] = {
    "rttm": (".rttm", lambda uri, turns, duration_s: rttm_text(uri, turns)),
    "json": (".json", as_json),
    "audacity": (".txt", as_audacity),
}
"""Suffix and writer of each."""


class Finished:
    """A run's best network with the hyper-parameters that were tuned for it, or the defaults where none were."""

    def __init__(self, folder: Path) -> None:
        self.run = run_in(folder, str(folder))
        self.checkpoint = best_of(folder, self.run, str(folder))
        self.backend: Backend = registry.load(self.run.backend)

    def network(self) -> Any:
        """Raises UserError for a checkpoint that is damaged, or of another backend or version."""
        return self.backend.restore(load_checkpoint(self.checkpoint, self.backend.name))

    def hyperparameters(self, defaults: Mapping[str, Any]) -> dict[str, Any]:
        """What tuning chose, over the defaults."""
        return {**defaults, **(self.run.tuning.chosen if self.run.tuning else {})}


def diarize(
    audio: Sequence[Path], run: Path, format_: str, out: Path, device: str, told: Callable[[Path], None]
) -> None:
    """Write who spoke when in each file; ``told`` is called with each that was written.

    Raises UserError, before any compute where it can be known, for audio that can't be read, names that fall
    together, a file that is there already, or a folder that is no run's.
    """
    check_choice("format", format_, FORMATS)
    check_choice("device", device, DEVICES)
    suffix, text = FORMATS[format_]
    targets: dict[Path, Path] = {}
    for path in audio:
        target = out / f"{path.stem}{suffix}"
        if target in targets:
            raise UserError(f"{path} and {targets[target]} would both be written to {target}; give them apart")
        if target.exists():
            raise UserError(f"{target}: is there already; choose another --out")
        _check_readable(path)
        targets[target] = path
    finished = Finished(run)
    with tempfile.TemporaryDirectory(prefix="diarbench-") as temporary:
        with quiet(Path(temporary) / "log.txt"):
            diarizer = finished.backend.diarizer(finished.network(), device_of(device))
        hyperparameters = finished.hyperparameters(diarizer.defaults)
        diarizer = diarizer.at(hyperparameters)
        for target, path in targets.items():
            recording = _recording(path, Path(temporary))
            with quiet(Path(temporary) / "log.txt"):
                annotation = diarizer.decode(recording, diarizer.infer(recording), hyperparameters)
            write_whole(target, text(recording.uri, from_annotation(annotation), recording.duration_s))
            recording.audio.unlink()
            told(target)


def export(run: Path, destination: Path) -> str:
    """Leave a run's network and hyper-parameters as its toolkit loads them; returns how, as lines of Python.

    The folder is there whole or not at all. Raises UserError where it exists, or where the run has no network.
    """
    if destination.exists():
        raise UserError(f"{destination}: is there already; choose another")
    finished = Finished(run)
    destination = destination.absolute()
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".diarbench-", dir=destination.parent) as temporary:
        folder = Path(temporary) / destination.name
        with quiet(Path(temporary) / "log.txt"):
            network = finished.network().eval()
            defaults = finished.backend.diarizer(network, "cpu").defaults
            lines = finished.backend.export(network, finished.hyperparameters(defaults), folder)
        lines = lines.replace(str(folder), str(destination))
        write_whole(folder / "README.md", _about(finished.run, lines))
        folder.rename(destination)
    return lines


def _about(run: Run, lines: str) -> str:
    weights = run.weights
    told = [f"Fine-tuned by diarbench: {run.backend} on {run.dataset} by the recipe {run.recipe}, seed {run.seed}."]
    if weights:
        licence = weights.licence or ("its own" if not weights.pretrained else "not told")
        told += [f"It began from: {weights.origin}. Licence of what it began from: {licence}."]
        told += [f"With it comes: {part}." for part in weights.fixed_parts]
    return "\n\n".join([*told, f"```python\n{lines}```"]) + "\n"


def _check_readable(path: Path) -> None:
    import soundfile

    try:
        info = soundfile.info(str(path))
    except (OSError, RuntimeError) as error:
        raise UserError(f"{path}: not readable audio ({'no such file' if not path.is_file() else error})") from error
    if not info.frames:
        raise UserError(f"{path}: holds no sample")


def _recording(path: Path, folder: Path) -> Recording:
    """The audio as the networks take it, 16 kHz mono."""
    target = folder / f"{'_'.join(path.stem.split())}.wav"
    write_audio((Clip(path),), target)
    return Recording(target.stem, "test", target, target.with_suffix(".rttm"), target.with_suffix(".uem"))


@contextmanager
def quiet(log: Path) -> Iterator[None]:
    """What the toolkits print goes to a log; it is shown where they fail by anything but a UserError."""
    kept = [os.dup(stream) for stream in (1, 2)]
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
            for stream, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, stream)
                os.close(copy)
            if failed:
                with log.open() as said:
                    shutil.copyfileobj(said, sys.stderr)
