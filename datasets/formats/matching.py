"""Shared by the format readers: pairing audio with references, subsets from names, and strict reading of turns."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeVar

from diarbench.datasets.conversion.corpus import SourceRecording
from diarbench.datasets.dataset import Dataset, Subset
from diarbench.datasets.io.audio import AUDIO_SUFFIXES, Clip
from diarbench.datasets.io.containers import CONTAINER_SUFFIXES
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.exclusions import outside, unscored
from diarbench.datasets.io.files import all_files, files, nfc
from diarbench.datasets.io.names import first_names, renamings
from diarbench.datasets.io.rttm import Problem, Region, RttmRecording, Turn, UemRegions, read_recordings, seconds
from diarbench.datasets.io.rttm import read_regions as read_uem_regions

log = logging.getLogger(__name__)

T = TypeVar("T")

NO_REFERENCE = "recordings left out: no reference"

NO_AUDIO = "references left out: no audio"

OTHER_NAME = "files that name another recording than their own"

NO_LENGTH = "turns dropped: no length"

NO_REGIONS = "recordings without a UEM although others have one, scored completely"

_WORDS: dict[str, Subset] = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("dev", "development", "val", "valid", "validation"), "dev"),
    **dict.fromkeys(("test", "tst"), "test"),
}


def one_line(error: Exception) -> str:
    """The type and first sentence of a library's exception; what follows is advice for callers of the library."""
    return " ".join(f"{type(error).__name__}: {error}".split()).partition(". ")[0].rstrip(".")


def subsets_from_names(names: Iterable[str]) -> dict[str, Subset | None]:
    """The subset that each name contains (``Train_Ali_far``, ``validation``); None if it contains none or several.

    ``eval`` is dev if another name contains ``test``; otherwise it is test.
    """
    words = {name: set(re.split(r"[\W_\d]+", name.lower())) for name in names}
    has_test = any(in_name & {"test", "tst"} for in_name in words.values())
    known: dict[str, Subset] = {**_WORDS, **dict.fromkeys(("eval", "evaluation"), "dev" if has_test else "test")}
    subsets: dict[str, Subset | None] = {}
    for name, in_name in words.items():
        matches = {known[word] for word in in_name if word in known}
        subsets[name] = matches.pop() if len(matches) == 1 else None
    return subsets


def subset_name(name: str, subset: Subset | None) -> str:
    """The part of a path that the subset was read from; empty without a subset."""
    known = {*_WORDS, "eval", "evaluation"}
    parts = [part for part in name.split("/") if known & set(re.split(r"[\W_\d]+", part.lower()))]
    return parts[0] if subset else ""


def audio_names(paths: Iterable[Path]) -> dict[Path, str]:
    """The name of the recording in each audio file: its stem.

    Where several files have the same stem, a file that is alone in its folder is named after the folder
    (``rec1/audio.wav``, ``rec2/audio.wav``). Raises UserError if two files then have the same name.
    """
    paths = list(paths)
    stems, folders = Counter(nfc(path.stem) for path in paths), Counter(path.parent for path in paths)
    by_name: dict[str, Path] = {}
    for path in paths:
        by_folder = stems[nfc(path.stem)] > 1 and folders[path.parent] == 1
        other = by_name.setdefault(nfc(path.parent.name if by_folder else path.stem), path)
        if other != path:
            raise UserError(f"{path}: has the same name as {other}; rename one of them")
    return {path: name for name, path in by_name.items()}


class AudioIndex:
    """The audio files below a folder by name, see `audio_names`; it reports the files that have no reference.

    With ``dataset``, a converted dataset's folder, the audio is that of its test recordings.
    """

    def __init__(self, root: Path, changes: Counter[str], dataset: str = "") -> None:
        """Raises UserError if two files have the same name, or there are no files."""
        self.root, self.changes = Path(dataset or root), changes
        paths = [each.audio for each in Dataset.open(self.root).subset("test")] if dataset else _audio_files(root)
        self._by_name = {name: path for path, name in audio_names(paths).items()}
        self._taken: set[Path] = set()
        if not self._by_name:
            raise UserError(
                f"{root}: contains no audio files ({', '.join(sorted(AUDIO_SUFFIXES | CONTAINER_SUFFIXES))})"
            )

    def __contains__(self, name: str) -> bool:
        return nfc(name) in self._by_name

    def name_of(self, reference: Path, uri: str = "") -> str:
        """The name of the audio that a file describes: the first of its uri, stem and folder that has audio."""
        names = [nfc(name) for name in (uri, reference.stem, reference.parent.name) if name]
        found = next((name for name in names if name in self), names[0])
        if uri and nfc(uri) not in (found, nfc(reference.stem)) and not renamings([uri], [found]):
            log.warning("%s: describes %s, and was taken for %s", reference, uri, found)
            self.changes[OTHER_NAME] += 1
        return found

    def take(self, name: str, where: object) -> Path | None:
        """The file of this name, or the only one whose name starts with it (``R1_M2`` -> ``R1_M2_MS4``).

        A missing file is logged and counted, and None is returned. Raises UserError if several files match.
        """
        name = nfc(name)
        path = self._by_name.get(name)
        if path is None:
            longer = [p for other, p in self._by_name.items() if re.fullmatch(re.escape(name) + r"[_.\- ].+", other)]
            if len(longer) > 1:
                both = f"{longer[0].name}, {longer[1].name}"
                raise UserError(f"{where}: {name} matches several audio files ({both}); keep one, or rename it {name}")
            path = longer[0] if longer else None
        if path is None:
            log.warning("%s: %s has no audio file below %s", where, name, self.root)
            self.changes[NO_AUDIO] += 1
        else:
            self._taken.add(path)
        return path

    def report_unused(self, unread: Iterable[Path] = ()) -> None:
        """Log and count the audio files that have no reference, each with an ``unread`` annotation of its name."""
        others: dict[str | Path, Path] = {}
        for annotation in unread:
            others |= {nfc(annotation.stem): annotation, annotation.with_suffix(""): annotation}
        for name, path in self._by_name.items():
            if path not in self._taken:
                other = others.get(path.with_suffix("")) or others.get(name)
                text = f"; {other.name} was not read, since it has another format" if other else ""
                log.warning("%s: no reference%s", path, text)
                self.changes[NO_REFERENCE] += 1


def _audio_files(root: Path) -> list[Path]:
    """The audio files below a folder; a video beside audio of the same name is logged and left out."""
    audio = files(root, AUDIO_SUFFIXES)
    known = {path.with_suffix("") for path in audio}
    for path in files(root, CONTAINER_SUFFIXES):
        if path.with_suffix("") in known:
            log.warning("%s: not read, because there is an audio file of the same name", path)
        else:
            audio.append(path)
    return sorted(audio)


class Reference(NamedTuple):
    """What a file says about a recording; regions, and the channel of each turn, as in `SourceRecording`."""

    turns: list[Turn]
    regions: list[Region] | None = None
    channels: Sequence[str] = ()


def pair_with_audio(
    root: Path,
    paths: Sequence[Path],
    read: Callable[[Path], Mapping[str, Reference]],
    changes: Counter[str],
    dataset: str = "",
) -> Iterator[SourceRecording]:
    """The recordings that files below a folder describe, with the audio of the same name, see `AudioIndex`.

    ``read`` returns a file's references by recording; the name is empty if the file does not tell it. The subset is
    that of the folder's name, or of the file's if it names its recordings. Raises UserError if two files describe a
    recording.
    """
    audio = AudioIndex(root, changes, dataset)
    places = {path: path.relative_to(root) for path in paths}
    subsets = subsets_from_names(str(p) for place in places.values() for p in (place.parent, place.with_suffix("")))
    seen: dict[str, Path] = {}
    for path, place in places.items():
        references = read(path)
        place_name = str(place.parent if "" in references else place.with_suffix(""))
        subset = subsets[place_name]
        for uri, (turns, regions, channels) in references.items():
            name = audio.name_of(path, uri) if len(references) == 1 else nfc(uri)
            clip = audio.take(name, path)
            if clip:
                other = seen.setdefault(name, path)
                if other != path:
                    raise UserError(f"{path}: {name} is also described by {other}; keep one of them")
                words = subset_name(place_name, subset)
                yield SourceRecording(
                    name, (Clip(clip),), turns, regions, subset, words, turn_channels=channels, reference=str(path)
                )
    audio.report_unused(report_unread(root, paths, changes))


def read_references(path: Path, changes: Counter[str]) -> dict[str, RttmRecording]:
    """Read an RTTM file by uri. Zero-length turns, and lines that are no turns, are logged, counted and dropped.

    Raises UserError for any other problem.
    """
    problems: list[Problem] = []
    skipped: list[Problem] = []
    references: dict[str, RttmRecording] = {}
    for uri, reference in read_recordings(path, problems, skipped).items():
        if any(turn.speaker == "<NA>" for turn in reference.turns):
            raise UserError(f"{path}: {uri} has a turn without a speaker (<NA>); add the name")
        references.setdefault(nfc(uri), RttmRecording(reference.where)).extend(reference)
    for problem in problems:
        if problem.kind != "zero length":
            raise UserError(str(problem))
        log.warning("%s", problem)
        changes[NO_LENGTH] += 1
    for problem in skipped:
        if problem.kind != "comment":
            log.info("%s", problem)
            changes[f"RTTM passed over: {problem.kind}s"] += 1
    return references


def read_regions(path: Path) -> dict[str, UemRegions]:
    """Read the regions of a UEM file by uri. Raises UserError as `rttm.read_regions` does."""
    regions: dict[str, UemRegions] = {}
    for uri, listed in read_uem_regions(path).items():
        regions.setdefault(nfc(uri), UemRegions([], [])).extend(listed)
    return regions


def select_recording(by_uri: Mapping[str, T], uri: str, path: Path, changes: Counter[str]) -> T | None:
    """The entry of one recording in a file: that of its uri, or the only entry, which is logged and counted.

    None if the file is empty. Raises UserError if it has several entries and none of this uri.
    """
    if uri in by_uri or not by_uri:
        return by_uri.get(uri)
    if len(by_uri) > 1:
        raise UserError(f"{path}: describes {len(by_uri)} recordings, none of them named {uri}; correct the name")
    (other,) = by_uri
    log.warning("%s: describes %s, and was taken for %s", path, other, uri)
    changes[OTHER_NAME] += 1
    return by_uri[other]


def annotated(
    recording: SourceRecording, reference: RttmRecording | None, scored: UemRegions | None, changes: Counter[str]
) -> SourceRecording:
    """A recording with what RTTM and UEM say about it, channels included; NOSCORE and NON-LEX zones are not scored."""
    reference = reference or RttmRecording("")
    if zones := unscored(reference):
        changes["NOSCORE and NON-LEX zones taken out of the UEM"] += len(zones)
        scored = _without(scored or UemRegions([Region(0.0, float("inf"))], []), zones)
    return replace(
        recording,
        reference=reference.where,
        turns=reference.turns,
        turn_channels=reference.channels,
        regions=scored and scored.regions,
        region_channels=scored.channels if scored else (),
    )


def _without(scored: UemRegions, zones: list[Region]) -> UemRegions:
    names = scored.channels or [""] * len(scored.regions)
    parts = [(p, name) for region, name in zip(scored.regions, names, strict=True) for p in outside([region], zones)]
    return UemRegions([part for part, _ in parts], [name for _, name in parts] if scored.channels else [])


def reporting_unread(
    recordings: Iterable[SourceRecording], root: Path, read: Iterable[Path], changes: Counter[str]
) -> Iterator[SourceRecording]:
    """The recordings; after them, `report_unread`."""
    yield from recordings
    report_unread(root, read, changes)


ANNOTATIONS = frozenset({".rttm", ".uem", ".textgrid", ".eaf", ".stm", ".ctm", ".parquet"})
OTHER_FORMATS = frozenset({"wav.scp", "segments", "rttm", "database.yml", "database.yaml"})
"""Files of Kaldi's and pyannote.database's formats."""


def report_unread(root: Path, read: Iterable[Path], changes: Counter[str], audio: bool = False) -> list[Path]:
    """Log and count the annotations of any format, and with ``audio`` the audio, below a folder that were not read.

    Returns them.
    """
    paths = _unread(root, read, ANNOTATIONS | (AUDIO_SUFFIXES if audio else set()))
    unread = sorted(str(path.relative_to(root)) for path in paths)
    if unread:
        kinds = Counter(path.suffix or path.name for path in paths)
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        log.warning("%s: not read: %s (%s)", root, first_names(unread), counts)
        changes["files not read: beside what this format consists of"] += len(unread)
    return paths


def _unread(root: Path, read: Iterable[Path], suffixes: Set[str]) -> list[Path]:
    """The files with one of the suffixes, of a format that has no suffixes, or with turns in them."""
    from diarbench.datasets.formats.turn_files import READERS, has_turns  # which imports this module

    known = {path.resolve() for path in read if "\0" not in str(path)}
    return [
        path
        for path in all_files(root)
        if not path.name.startswith(".")
        and path.resolve() not in known
        and (
            path.suffix.lower() in suffixes
            or path.name in OTHER_FORMATS
            or (path.suffix.lower() in READERS and path.is_file() and has_turns(path))
        )
    ]


def make_turns(start: object, end: object, speaker: object, where: str, changes: Counter[str]) -> list[Turn]:
    """A list of one turn, or an empty list for a zero-length turn, which is logged and counted.

    Raises UserError if the times are invalid or the speaker is missing.
    """
    start_s, end_s, name = seconds(start, where), seconds(end, where), speaker_name(speaker)
    if not name:
        raise UserError(f"{where}: a turn without a speaker; add the name")
    if start_s < 0 or end_s < start_s:
        raise UserError(f"{where}: a turn from {start} to {end}; expected 0 <= start < end")
    if end_s == start_s:
        log.warning("%s: zero-length turn at %s", where, start)
        changes[NO_LENGTH] += 1
        return []
    return [Turn(start_s, end_s, name)]


def speaker_name(value: object) -> str:
    """A speaker's name in a table or JSON, where it may be a number, even 0; empty if it is missing."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else ""  # a column of integers in which some are missing (NaN)
    return str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
