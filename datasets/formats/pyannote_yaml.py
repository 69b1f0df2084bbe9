"""A pyannote.database protocol: a YAML file with the paths of audio, RTTM, UEM and lists.

Format: ``Protocols.<Database>.SpeakerDiarization.<Protocol>.{train,development,test}`` with ``uri``, ``annotation``
and, optionally, ``annotated`` and ``audio``; ``Databases.<Database>`` with one or several audio paths. Paths are
relative to the YAML's folder and may contain ``{uri}``, ``{database}`` and ``{subset}``; paths of audio may contain the
wildcards ``*`` and ``**``.
Splits: those of the protocol; ``development`` is dev.
Licence: the corpus's own.

This reader does not use pyannote.database, which silently drops zero-length turns and reads a speaker named NA as nan.
Meta-protocols (database X) are rejected.
"""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from diarbench.datasets.conversion.corpus import Corpus, SourceRecording
from diarbench.datasets.dataset import Subset
from diarbench.datasets.formats.matching import (
    NO_REFERENCE,
    NO_REGIONS,
    annotated,
    log,
    read_references,
    read_regions,
)
from diarbench.datasets.io.audio import Clip
from diarbench.datasets.io.errors import UserError, did_you_mean
from diarbench.datasets.io.files import nfc, read_text
from diarbench.datasets.io.rttm import RttmRecording, UemRegions, read_uris
from diarbench.datasets.io.yaml_files import read_yaml

T = TypeVar("T")

SUBSETS: dict[str, Subset] = {"train": "train", "development": "dev", "test": "test"}


def sniff(path: Path) -> bool:
    """Whether the path is a YAML file with ``Protocols``."""
    return path.suffix in (".yml", ".yaml") and path.is_file() and "Protocols:" in read_text(path, errors="replace")


def find(path: Path, protocol: str = "") -> Corpus:
    """Read a protocol, such as ``AMI.SpeakerDiarization.only_words``. The name is optional if there is only one."""
    content = read_yaml(path)
    try:
        protocols = {
            f"{database}.SpeakerDiarization.{name}": entries
            for database, tasks in content["Protocols"].items()
            for name, entries in (tasks.get("SpeakerDiarization") or {}).items()
        }
    except (TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: not a pyannote.database YAML, which has Protocols by database and task") from error
    if not protocol and len(protocols) == 1:
        protocol = next(iter(protocols))
    if protocol not in protocols:
        problem = (
            f"no protocol {protocol}{did_you_mean(protocol, protocols)}"
            if protocol
            else "set the protocol with --set protocol=NAME"
        )
        raise UserError(f"{path}: {problem}; the file has {', '.join(protocols) or 'none for SpeakerDiarization'}")
    database, entries = protocol.split(".")[0], protocols[protocol]
    if database == "X":
        raise UserError(f"{path}: {protocol} is a meta-protocol; convert its protocols one by one")
    audio = _default_audio(path, content.get("Databases"), database)
    changes: Counter[str] = Counter()
    recordings = _read_recordings(path, database, entries, audio, changes)
    return Corpus(database, recordings, str(path), split_rule="the protocol's own", changes=changes)


def _default_audio(path: Path, databases: object, database: str) -> list[str]:
    """The paths of a database's audio, which may contain braces and wildcards."""
    if databases is None:
        return []
    if not isinstance(databases, dict):
        raise UserError(f"{path}: Databases is {_shown(databases)}; expected the name of each database, with its paths")
    audio: Any = next((paths for name, paths in databases.items() if str(name) == database), [])
    paths = audio if isinstance(audio, list) else [audio]
    return [_text(f"{path}: Databases: {database}", part) for part in paths]


def _text(where: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{where}: {_shown(value)} is not the path of a file; correct it")
    return value


def _shown(value: object) -> str:
    return repr(value)[:80]


def _read_recordings(
    path: Path, database: str, entries: object, default_audio: list[str], changes: Counter[str]
) -> Iterator[SourceRecording]:
    if not isinstance(entries, dict):
        raise UserError(f"{path}: the protocol is {_shown(entries)}; expected {', '.join(SUBSETS)}")
    for name, entry in entries.items():
        if name not in SUBSETS and isinstance(entry, dict):
            log.warning("%s: %s is not read%s", path, name, did_you_mean(str(name), SUBSETS))
            changes[f"parts of the protocol left out: not {', '.join(SUBSETS)}"] += 1
    for name, subset in SUBSETS.items():
        entry = entries.get(name)
        if entry is None:
            continue
        if not isinstance(entry, dict):
            raise UserError(f"{path}: {name} is {_shown(entry)}; expected uri, annotation, annotated and audio")
        if not entry.get("uri", entry.get("uris")) or not entry.get("annotation"):
            raise UserError(f"{path}: {name}: uri and annotation are required")
        uris = _text(f"{path}: {name}: uri", entry.get("uri", entry.get("uris")))
        annotation = _text(f"{path}: {name}: annotation", entry["annotation"])
        scored = _text(f"{path}: {name}: annotated", entry["annotated"]) if entry.get("annotated") else None
        audio = [_text(f"{path}: {name}: audio", entry["audio"])] if "audio" in entry else default_audio
        reader = _Reader(path.parent, database, name, changes)
        listed = read_uris(reader.path(uris, ""))
        if not listed:
            raise UserError(
                f"{reader.path(uris, '')}: lists no recording; add some, or remove {name} from the protocol"
            )
        for uri in listed:
            turns = reader.reference(annotation, uri)
            if turns is None and "{uri}" not in annotation:
                log.warning("%s: no turns of %s in %s", path, uri, annotation)
                changes[NO_REFERENCE] += 1
                continue
            regions = reader.regions(scored, uri) if scored else None
            if scored and regions is None:
                log.warning("%s: no regions of %s in %s, so all of it is scored", path, uri, scored)
                changes[NO_REGIONS] += 1
            clips = [clip for template in audio for clip in reader.audio(template, uri)]
            if len(clips) != 1:
                found = f"{len(clips)} audio files in {', '.join(audio) or 'Databases'}"
                raise UserError(f"{path}: {uri} has {found}; expected 1")
            yield annotated(SourceRecording(nfc(uri), (Clip(clips[0]),), [], subset=subset), turns, regions, changes)


class _Reader:
    """Reads the files of a subset; a file shared by consecutive recordings is read once."""

    def __init__(self, root: Path, database: str, subset: str, changes: Counter[str]) -> None:
        self.root, self.names, self.changes = root, {"database": database, "subset": subset}, changes
        self._last: dict[str, tuple[Path, Any]] = {}

    def path(self, template: str, uri: str) -> Path:
        return self.root / self._filled(template, {**self.names, "uri": uri})

    def audio(self, template: str, uri: str) -> list[Path]:
        """The files at a path, which is a pattern if it contains ``*``, as pyannote.database reads it."""
        if "*" not in template:
            return [path] if (path := self.path(template, uri)).is_file() else []
        names = {name: glob.escape(value) for name, value in {**self.names, "uri": uri}.items()}
        pattern = self._filled(template, names)
        found = glob.glob(pattern, root_dir=self.root, recursive=True)  # noqa: PTH207  # Path.glob refuses absolute ones
        return [path for match in sorted(found) if (path := self.root / match).is_file()]

    def _filled(self, template: str, names: dict[str, str]) -> str:
        path, left = template, template
        for name, value in names.items():
            path, left = path.replace(f"{{{name}}}", value), left.replace(f"{{{name}}}", "")
        if "{" in left or "}" in left:
            text = "a path can contain only {uri}, {database} and {subset} in braces"
            raise UserError(f"{self.root}: {template}: {text}")
        if "\0" in path:
            raise UserError(f"{self.root}: {path!r}: a path cannot contain a null character; correct it")
        return path

    def reference(self, template: str, uri: str) -> RttmRecording | None:
        return self._of(uri, template, lambda path: read_references(path, self.changes))

    def regions(self, template: str, uri: str) -> UemRegions | None:
        return self._of(uri, template, read_regions)

    def _of(self, uri: str, template: str, read: Callable[[Path], dict[str, T]]) -> T | None:
        """What a file says about a recording; None if nothing. Raises UserError if a file for it has another name."""
        path = self.path(template, uri)
        if self._last.get(template, (None,))[0] != path:
            self._last[template] = (path, read(path))
        by_uri: dict[str, T] = self._last[template][1]
        if "{uri}" in template and by_uri and nfc(uri) not in by_uri:
            raise UserError(f"{path}: describes {next(iter(by_uri))}, not {uri}; correct the name in it or in the list")
        return by_uri.get(nfc(uri))
