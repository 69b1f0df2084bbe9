"""A pyannote.database protocol: the YAML that says where audio, RTTM, UEM and lists lie.

Format: ``Protocols.<Database>.SpeakerDiarization.<Protocol>.{train,development,test}`` with ``uri``, ``annotation``
and, optionally, ``annotated`` and ``audio``; ``Databases.<Database>`` with the audio's path, or several. Paths start
from the YAML's folder and may hold ``{uri}``, ``{database}`` and ``{subset}``.
Splits: its own; ``development`` is dev.
Licence: the corpus's own.

Read here and not through pyannote.database, which drops turns of no length without a word and makes nan of a speaker
named NA. Meta-protocols (database X) are rejected.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diarbench.datasets.conversion.corpus import Corpus, SourceRecording
from diarbench.datasets.dataset import Subset
from diarbench.datasets.formats.matching import NO_REFERENCE, log, one_line, rttm, uem
from diarbench.datasets.io.audio import Clip
from diarbench.datasets.io.errors import UserError, did_you_mean
from diarbench.datasets.io.files import nfc
from diarbench.datasets.io.rttm import read_uris

SUBSETS: dict[str, Subset] = {"train": "train", "development": "dev", "test": "test"}


def sniff(path: Path) -> bool:
    """A YAML file with ``Protocols``."""
    return path.suffix in (".yml", ".yaml") and "Protocols:" in path.read_text(encoding="utf-8", errors="replace")


def find(path: Path, protocol: str = "") -> Corpus:
    """The recordings of a protocol (``AMI.SpeakerDiarization.only_words``), or of the only one there is."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        named = {
            f"{database}.SpeakerDiarization.{name}": entries
            for database, tasks in content["Protocols"].items()
            for name, entries in (tasks.get("SpeakerDiarization") or {}).items()
        }
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: not a pyannote.database YAML ({one_line(error)})") from error
    if not protocol and len(named) == 1:
        protocol = next(iter(named))
    if protocol not in named:
        asked = (
            f"no protocol {protocol}{did_you_mean(protocol, named)}" if protocol else "choose with --set protocol=NAME"
        )
        raise UserError(f"{path}: {asked}; it has {', '.join(named) or 'none for SpeakerDiarization'}")
    database, entries = protocol.split(".")[0], named[protocol]
    if database == "X":
        raise UserError(f"{path}: {protocol} is a meta-protocol; convert each protocol that it joins")
    changes: Counter[str] = Counter()
    places = (content.get("Databases") or {}).get(database) or []
    found = _find(path, database, entries, [places] if isinstance(places, str) else places, changes)
    return Corpus(database, found, str(path), split_rule="the protocol's own", changes=changes)


def _find(
    path: Path, database: str, entries: dict[str, Any], places: list[str], changes: Counter[str]
) -> Iterator[SourceRecording]:
    for name, subset in SUBSETS.items():
        entry = entries.get(name)
        if not entry:
            continue
        uris, annotation, annotated = (
            entry.get("uri", entry.get("uris")),
            entry.get("annotation"),
            entry.get("annotated"),
        )
        if not uris or not annotation:
            raise UserError(f"{path}: {name}: needs uri and annotation")
        audio = [entry["audio"]] if "audio" in entry else places
        read = _Reader(path.parent, database, name, changes)
        for uri in read_uris(read.place(uris, "")):
            turns = read.rttm(annotation, uri).get(nfc(uri), [] if "{uri}" in annotation else None)
            if turns is None:
                log.warning("%s: no turns of %s in %s", path, uri, annotation)
                changes[NO_REFERENCE] += 1
                continue
            regions = read.uem(annotated, uri).get(nfc(uri)) if annotated else None
            clips = [place for template in audio if (place := read.place(template, uri)).is_file()]
            if len(clips) != 1:
                raise UserError(
                    f"{path}: {uri} has {len(clips)} audio files by {', '.join(audio) or 'Databases'}; it needs 1"
                )
            yield SourceRecording(nfc(uri), (Clip(clips[0]),), turns, regions, subset)


class _Reader:
    """Reads a subset's files, each once at a time."""

    def __init__(self, root: Path, database: str, subset: str, changes: Counter[str]) -> None:
        self.root, self.names, self.changes = root, {"database": database, "subset": subset}, changes
        self._last: dict[str, tuple[Path, Any]] = {}

    def place(self, template: str, uri: str) -> Path:
        try:
            return self.root / template.format(uri=uri, **self.names)
        except (KeyError, ValueError, IndexError) as error:
            raise UserError(f"{self.root}: {template}: only uri, database and subset may stand in braces") from error

    def rttm(self, template: str, uri: str) -> Any:
        return self._read("rttm", self.place(template, uri))

    def uem(self, template: str, uri: str) -> Any:
        return self._read("uem", self.place(template, uri))

    def _read(self, kind: str, path: Path) -> Any:
        if self._last.get(kind, (None,))[0] != path:
            self._last[kind] = (path, rttm(path, self.changes) if kind == "rttm" else uem(path))
        return self._last[kind][1]
