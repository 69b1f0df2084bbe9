"""NeMo diarization manifests, as NVIDIA NeMo's Sortformer recipes read them.

Format: JSON lines with ``audio_filepath``, ``rttm_filepath`` and, optionally, ``offset`` and ``duration`` in seconds (a
null or absent duration means the rest of the file) and ``uem_filepath``. All rows of an audio file become one recording
whose scored regions are the rows' cuts. Paths are relative to the manifest's folder. RTTM times are relative to the
audio file, not to the cut.
Splits: from the names of the manifests in a folder (``train_manifest.json``); otherwise drawn.
Licence: the corpus's own.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diarbench.datasets.conversion.corpus import Corpus, SourceRecording
from diarbench.datasets.formats.matching import (
    annotated,
    audio_names,
    read_references,
    read_regions,
    report_unread,
    select_recording,
    subsets_from_names,
)
from diarbench.datasets.io.audio import Clip
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import files, object_of, open_file, read_json
from diarbench.datasets.io.rttm import Region, UemRegions, read_lines, seconds

SUFFIXES = (".json", ".jsonl")


def sniff(path: Path) -> bool:
    """Whether the path is a manifest (``audio_filepath`` near its start) or a folder that contains one."""
    return any(map(_is_manifest, _manifests(path)))


def find(path: Path) -> Corpus:
    """Read the recordings of the manifests."""
    changes: Counter[str] = Counter()
    return Corpus(path.stem, _read_recordings(path, changes), source=str(path), changes=changes)


def _manifests(path: Path) -> list[Path]:
    return [path] if path.is_file() and path.suffix.lower() in SUFFIXES else files(path, SUFFIXES)


def _is_manifest(path: Path) -> bool:
    with open_file(path) as file:
        return b'"audio_filepath"' in file.read(100_000)


def _read_recordings(path: Path, changes: Counter[str]) -> Iterator[SourceRecording]:
    manifests = [manifest for manifest in _manifests(path) if _is_manifest(manifest)]
    subsets = subsets_from_names(manifest.stem for manifest in manifests)
    read: list[Path] = []
    rows_of = {manifest: _rows(manifest) for manifest in manifests}
    names = audio_names(dict.fromkeys(audio for rows in rows_of.values() for audio in rows))
    for manifest in manifests:
        for audio, rows in rows_of[manifest].items():
            where, row = rows[0]
            uri, reference = names[audio], _path(row, "rttm_filepath", manifest, where)
            for other_where, other in rows[1:]:
                if _path(other, "rttm_filepath", manifest, other_where) != reference:
                    raise UserError(f"{other_where}: a different RTTM for {audio.name} than in {where}; use one")
            turns = select_recording(read_references(reference, changes), uri, reference, changes)
            source = SourceRecording(uri, (Clip(audio),), [], subset=subsets[manifest.stem])
            yield annotated(source, turns, _regions(uri, rows, manifest, changes), changes)
            read += [
                audio,
                reference,
                *(manifest.parent / str(row["uem_filepath"]) for _, row in rows if row.get("uem_filepath")),
            ]
    report_unread(path, read, changes, audio=True)


def _rows(manifest: Path) -> dict[Path, list[tuple[str, dict[str, Any]]]]:
    """The rows of each audio file, with their places."""
    rows: dict[Path, list[tuple[str, dict[str, Any]]]] = {}
    lines = [(where, line) for where, line in read_lines(manifest) if line.strip()]
    for number, (where, line) in enumerate(lines):
        try:
            row = read_json(manifest, line, where)
        except UserError as error:
            if _begins_a_row([line for _, line in lines[number:]]):
                raise UserError(
                    f"{where}: a row must be one line; write each JSON object on a line of its own"
                ) from error
            raise
        if not isinstance(row, dict):
            raise UserError(f"{where}: not a JSON object; write each row as one, on a line of its own")
        rows.setdefault(_path(row, "audio_filepath", manifest, where), []).append((where, row))
    return rows


def _begins_a_row(lines: list[str]) -> bool:
    """Whether several lines together are JSON."""
    try:
        json.JSONDecoder(object_pairs_hook=object_of).raw_decode("\n".join(lines).strip())
    except (ValueError, RecursionError):
        return False
    return True


def _path(row: dict[str, Any], key: str, manifest: Path, where: str) -> Path:
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{where}: {key} is missing or not a text; every row needs it")
    return manifest.parent / value


def _regions(
    uri: str, rows: list[tuple[str, dict[str, Any]]], manifest: Path, changes: Counter[str]
) -> UemRegions | None:
    """The regions that the rows cut; None if a row covers the complete file and has no UEM."""
    regions: list[Region] = []
    for where, row in rows:
        start_s = seconds(row.get("offset") or 0, where)
        if start_s < 0:
            raise UserError(f"{where}: offset {start_s}; expected 0 or more")
        if row.get("duration") is not None:
            duration_s = seconds(row["duration"], where)
            if duration_s <= 0:
                raise UserError(f"{where}: duration {row['duration']}; expected more than 0")
            regions.append(Region(start_s, round(start_s + duration_s, 6)))
        elif row.get("uem_filepath"):
            path = _path(row, "uem_filepath", manifest, where)
            listed = select_recording(read_regions(path), uri, path, changes)
            regions += listed.regions if listed else []
        elif start_s:
            regions.append(Region(start_s, float("inf")))
        else:
            return None
    return UemRegions(regions, [])
