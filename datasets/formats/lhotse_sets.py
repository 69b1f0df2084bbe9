"""Recording, supervision and cut sets of lhotse, and the corpora that lhotse has recipes for.

Format: a folder of ``*recordings*.jsonl(.gz)``, each with a ``*supervisions*.jsonl(.gz)``; a ``*cuts*.jsonl(.gz)`` or a
folder of them; or, with ``lhotse:CORPUS``, the corpus as published, which lhotse's ``prepare_CORPUS`` reads. All cuts
of a recording become one recording, whose scored regions are the cuts. A relative path of audio is looked for from the
working folder, as by lhotse, then from the folder of the set.
Splits: lhotse's parts, which are the official ones if the corpus has any (``eval`` is dev if there is a ``test``);
otherwise drawn.
Licence: AMI, ICSI and VoxConverse CC BY 4.0; AliMeeting and AISHELL-4 CC BY-SA 4.0; otherwise the corpus's own.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from diarbench.datasets.conversion.corpus import Corpus, SourceRecording
from diarbench.datasets.dataset import Subset
from diarbench.datasets.formats.matching import (
    NO_AUDIO,
    NO_REFERENCE,
    log,
    make_turns,
    one_line,
    reporting_unread,
    subsets_from_names,
)
from diarbench.datasets.io.archives import check_gzip
from diarbench.datasets.io.audio import Clip
from diarbench.datasets.io.errors import UserError, did_you_mean, require
from diarbench.datasets.io.files import files, nfc
from diarbench.datasets.io.rttm import Region, Turn, seconds

Parts = dict[str, tuple[Iterable[Any], Iterable[Any]]]
"""Recordings and supervisions by the path of the set, relative to the folder that is read, or by the recipe's name."""

CORPORA: dict[str, tuple[str, str, dict[str, str]]] = {
    "ami": ("AMI", "CC BY 4.0", {"mic": "ihm-mix"}),
    "ali_meeting": ("AliMeeting", "CC BY-SA 4.0", {"mic": "far"}),
    "aishell4": ("AISHELL-4", "CC BY-SA 4.0", {}),
    "icsi": ("ICSI", "CC BY 4.0", {"mic": "ihm-mix"}),
    "voxconverse": ("VoxConverse", "CC BY 4.0", {}),
}
"""Name, licence and default options of diarization corpora; the microphone is the one usually scored."""


def sniff(path: Path) -> bool:
    """Whether the path is a cut set, or a folder that contains recording or cut sets."""
    return bool(_sets(path, "recordings") or _sets(path, "cuts"))


def find(path: Path) -> Corpus:
    """Read the recording sets in a folder; if there are none, its cut sets."""
    lhotse = require("lhotse", "reading lhotse manifests")
    changes: Counter[str] = Counter()
    parts: Parts = {}
    for recordings in _sets(path, "recordings"):
        supervisions = recordings.with_name(recordings.name.replace("recordings", "supervisions"))
        if not supervisions.is_file():
            raise UserError(f"{recordings}: {supervisions.name} is missing from its folder")
        part = str(recordings.relative_to(path))
        parts[part] = (_load(lhotse.RecordingSet, recordings), _load(lhotse.SupervisionSet, supervisions))
    if parts:
        found = reporting_unread(_read_recordings(parts, path, changes), path, [], changes)
        return Corpus(path.name, found, source=str(path), changes=changes)
    cuts = {file: _load(lhotse.CutSet, file) for file in _sets(path, "cuts")}
    return Corpus(
        path.stem, _read_cuts(cuts, path.parent if path.is_file() else path, changes), source=str(path), changes=changes
    )


def prepare(corpus: str, path: Path, **options: str) -> Corpus:
    """Read a corpus as published with lhotse's recipe and its options (``mic``, ``partition``).

    Raises UserError if lhotse has no such recipe or option, or the recipe fails.
    """
    recipes = require("lhotse.recipes", f"preparing {corpus}")
    prepared = {name.removeprefix("prepare_") for name in dir(recipes) if name.startswith("prepare_")}
    if corpus not in prepared:
        raise UserError(f"lhotse:{corpus}: lhotse has no recipe for this corpus{did_you_mean(corpus, prepared)}")
    recipe = getattr(recipes, f"prepare_{corpus}")
    name, licence, defaults = CORPORA.get(corpus, (corpus, "the corpus's own", {}))
    for option in options:
        if option not in inspect.signature(recipe).parameters:
            hint = did_you_mean(option, inspect.signature(recipe).parameters)
            raise UserError(f"lhotse:{corpus}: no option {option}{hint}")
    changes: Counter[str] = Counter()
    counter = _ChangeCounter(changes)
    logging.getLogger().addHandler(counter)
    try:
        manifests = recipe(path, **{**defaults, **{key: _typed(recipe, key, value) for key, value in options.items()}})
    except Exception as error:  # recipes raise many kinds of errors
        raise UserError(f"{path}: lhotse cannot prepare {corpus} from it ({one_line(error)})") from error
    finally:
        logging.getLogger().removeHandler(counter)
    if "recordings" in manifests:
        manifests = {"all": manifests}
    parts = {part: (sets["recordings"], sets.get("supervisions") or ()) for part, sets in manifests.items()}
    source = f"{path}, by lhotse's prepare_{corpus} {options or defaults or ''}".rstrip()
    rule = "lhotse's recipe's"
    return Corpus(name, _read_recordings(parts, Path(), changes), source, licence, split_rule=rule, changes=changes)


def _typed(recipe: Any, option: str, value: str) -> str | bool:
    """Convert an option to a boolean if the recipe's default is one."""
    is_switch = isinstance(inspect.signature(recipe).parameters[option].default, bool)
    return value.lower() in ("1", "true", "yes") if is_switch else value


class _ChangeCounter(logging.Handler):
    """Counts the recordings and supervisions that lhotse's log reports as removed or trimmed."""

    def __init__(self, changes: Counter[str]) -> None:
        super().__init__(logging.WARNING)
        self.changes = changes

    def emit(self, record: logging.LogRecord) -> None:
        counted = re.match(r"(Removed|Trimmed) (\d+) (.*)", record.getMessage())
        kind = f"lhotse: {counted[1].lower()} {counted[3]}" if counted else f"lhotse: {record.getMessage()}"
        self.changes[kind] += int(counted[2]) if counted else 1


def _sets(path: Path, kind: str) -> list[Path]:
    found = [path] if path.is_file() else files(path, {".jsonl", ".gz"})
    return [file for file in found if kind in file.name and file.name.endswith((".jsonl", ".jsonl.gz"))]


def _load(kind: Any, path: Path) -> Any:
    if path.suffix == ".gz":
        check_gzip(path)
    try:
        # Absolute: lhotse runs a path that begins with "pipe:" as a command, and downloads one with a scheme.
        return list(kind.from_jsonl(path.resolve()))
    except Exception as error:  # lhotse raises many kinds of errors for a damaged file
        raise UserError(f"{path}: not a readable lhotse manifest ({one_line(error)})") from error


def _read_recordings(parts: Parts, root: Path, changes: Counter[str]) -> Iterator[SourceRecording]:
    subsets = subsets_from_names(parts)
    for part, (recordings, supervisions) in parts.items():
        turns: dict[str, list[tuple[Turn, str]]] = {}
        for supervision in supervisions:
            turns.setdefault(str(supervision.recording_id), []).extend(_turns(supervision, 0.0, changes))
        for recording in recordings:
            uri = str(recording.id)
            if uri in turns:
                clips = _clips(recording, (root / part).parent)
                yield _recording(uri, clips, turns.pop(uri), None, subsets[part])
            else:
                log.warning("%s: %s has no supervisions", part, recording.id)
                changes[NO_REFERENCE] += 1
        changes[NO_AUDIO] += len(turns)


def _read_cuts(cut_sets: dict[Path, list[Any]], root: Path, changes: Counter[str]) -> Iterator[SourceRecording]:
    subsets = subsets_from_names(str(path.relative_to(root)) for path in cut_sets)
    for path, cuts in cut_sets.items():
        by_recording: dict[str, list[Any]] = {}
        for cut in cuts:
            recording = getattr(cut, "recording", None)
            if recording is None:
                raise UserError(f"{path}: {cut.id} is not cut from one recording (mixed, padded, or features alone)")
            by_recording.setdefault(str(recording.id), []).append(cut)
        for uri, own in by_recording.items():
            if not any(cut.supervisions for cut in own):
                log.warning("%s: %s has no supervisions", path, uri)
                changes[NO_REFERENCE] += 1
                continue
            recording, spans = own[0].recording, [_span(cut, f"{path}: {cut.id}") for cut in own]
            turns = [
                turn
                for cut, span in zip(own, spans, strict=True)
                for supervision in cut.supervisions
                for turn in _turns(supervision, span.start_s, changes)
            ]
            whole_s = seconds(recording.duration, f"{path}: {uri}")
            is_whole = any(span.start_s == 0 and span.end_s >= whole_s for span in spans)
            regions, clips = None if is_whole else spans, _clips(recording, path.parent)
            subset = subsets[str(path.relative_to(root))]
            yield _recording(uri, clips, list(dict.fromkeys(turns)), regions, subset)


def _recording(
    uri: str,
    clips: tuple[Clip, ...],
    turns: list[tuple[Turn, str]],
    regions: list[Region] | None,
    subset: Subset | None,
) -> SourceRecording:
    channels = [channel for _, channel in turns]
    return SourceRecording(nfc(uri), clips, [turn for turn, _ in turns], regions, subset, turn_channels=channels)


def _turns(supervision: Any, offset_s: float, changes: Counter[str]) -> list[tuple[Turn, str]]:
    """A supervision's turn with its channel; none if it has no length."""
    where = f"supervision {supervision.id}"
    start_s, end_s = _span(supervision, where)
    turns = make_turns(offset_s + start_s, offset_s + end_s, supervision.speaker, where, changes)
    return [(turn, str(supervision.channel)) for turn in turns]


def _span(item: Any, where: str) -> Region:
    """Start and end of a cut or a supervision."""
    start_s = seconds(item.start, where)
    return Region(start_s, round(start_s + seconds(item.duration, where), 6))


def _clips(recording: Any, folder: Path) -> tuple[Clip, ...]:
    """The recording's files, all starting at 0; several microphones are summed."""
    if recording.transforms or any(source.type != "file" for source in recording.sources):
        raise UserError(f"{recording.id}: not a plain audio file (a command, a URL or a transform); save it as a file")
    if not recording.sources or not all(isinstance(source.source, str) for source in recording.sources):
        raise UserError(f"{recording.id}: its sources are not paths of audio files; correct them")
    paths = [Path(source.source) for source in recording.sources]
    return tuple(Clip(path if path.is_file() else folder / path) for path in paths)
