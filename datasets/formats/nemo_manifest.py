"""NeMo diarization manifests, as NVIDIA NeMo's Sortformer recipes read them.

Format: JSON lines with ``audio_filepath``, ``rttm_filepath`` and, optionally, ``offset`` and ``duration`` (seconds; a
null or absent duration is the rest of the file) and ``uem_filepath``. Rows that cut one audio file make one recording,
annotated where the rows say. Relative paths start from the manifest's folder. Times in the RTTM are those of the file.
Splits: a folder of manifests named for them (``train_manifest.json``); else drawn.
Licence: the corpus's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diarbench.datasets.conversion.corpus import Corpus, SourceRecording
from diarbench.datasets.formats.matching import only, rttm, subsets_from_names, uem
from diarbench.datasets.io.audio import Clip
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import files, nfc, read_json
from diarbench.datasets.io.rttm import Region, read_lines, seconds

SUFFIXES = (".json", ".jsonl")


def sniff(path: Path) -> bool:
    """A file, or a folder with one, whose first line is a JSON object with ``audio_filepath``."""
    return any('"audio_filepath"' in _first_line(manifest) for manifest in _manifests(path))


def find(path: Path) -> Corpus:
    """The recordings that the manifests cut."""
    changes: Counter[str] = Counter()
    return Corpus(path.stem, _find(path, changes), source=str(path), changes=changes)


def _manifests(path: Path) -> list[Path]:
    return [path] if path.is_file() and path.suffix.lower() in SUFFIXES else files(path, SUFFIXES)


def _first_line(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.readline(100_000)


def _find(path: Path, changes: Counter[str]) -> Iterator[SourceRecording]:
    manifests = [manifest for manifest in _manifests(path) if '"audio_filepath"' in _first_line(manifest)]
    subsets = subsets_from_names(manifest.stem for manifest in manifests)
    for manifest in manifests:
        cuts: dict[Path, list[tuple[str, dict[str, Any]]]] = {}
        for where, line in read_lines(manifest):
            if line.strip():
                row = read_json(manifest, line, where)
                cuts.setdefault(_path(row, "audio_filepath", manifest, where), []).append((where, row))
        for audio, rows in cuts.items():
            where, row = rows[0]
            uri, reference = nfc(audio.stem), _path(row, "rttm_filepath", manifest, where)
            for other_where, other in rows[1:]:
                if _path(other, "rttm_filepath", manifest, other_where) != reference:
                    raise UserError(f"{other_where}: another RTTM for {audio.name} than in {where}; keep one")
            turns = only(rttm(reference, changes), uri, reference) or []
            yield SourceRecording(uri, (Clip(audio),), turns, _regions(uri, rows, manifest), subsets[manifest.stem])


def _path(row: Any, key: str, manifest: Path, where: str) -> Path:
    value = row.get(key) if isinstance(row, dict) else None
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{where}: no {key}; every row needs one")
    return manifest.parent / value


def _regions(uri: str, rows: list[tuple[str, dict[str, Any]]], manifest: Path) -> list[Region] | None:
    """What the rows cut; None where a row is the whole file and names no UEM."""
    regions: list[Region] = []
    for where, row in rows:
        start_s = seconds(row.get("offset") or 0, where)
        if start_s < 0:
            raise UserError(f"{where}: offset {start_s}: a cut needs an offset >= 0")
        if row.get("duration") is not None:
            duration_s = seconds(row["duration"], where)
            if duration_s <= 0:
                raise UserError(f"{where}: duration {row['duration']}: a cut needs one > 0")
            regions.append(Region(start_s, round(start_s + duration_s, 6)))
        elif row.get("uem_filepath"):
            path = _path(row, "uem_filepath", manifest, where)
            regions += only(uem(path), uri, path) or []
        elif start_s:
            regions.append(Region(start_s, float("inf")))
        else:
            return None
    return regions
