"""Diarization datasets in the format of diarizers-community on Hugging Face.

Format: columns ``audio`` (bytes, a path or both), ``timestamps_start``, ``timestamps_end`` and ``speakers``, in a local
parquet file, a folder of them, or a dataset on the hub (``hf:diarizers-community/ami``, ``--set config=ihm``). A row is
a recording, and the last three columns are lists, which are empty where nobody speaks. A relative path is looked for
from the parquet file's folder, then from the working folder.
Splits: from the names of the files or of the hub's splits (``train``, ``validation``, ``test``); otherwise drawn.
Licence: that of the dataset card.

pyarrow reads local parquet files; Hugging Face datasets reads from the hub.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from diarbench.datasets.conversion.corpus import Corpus, SourceRecording
from diarbench.datasets.formats.matching import make_turns, one_line, reporting_unread, subset_name, subsets_from_names
from diarbench.datasets.io.archives import check_unpacked
from diarbench.datasets.io.audio import Clip
from diarbench.datasets.io.errors import UserError, require
from diarbench.datasets.io.files import files, nfc
from diarbench.datasets.io.names import plural
from diarbench.datasets.io.rttm import Turn

COLUMNS = ("audio", "timestamps_start", "timestamps_end", "speakers")

MOST_TURNS = 100_000
"""Of a recording. Parquet writes a value that repeats once, with its count."""

MOST_VALUES = 10_000_000
"""Of a column, in the rows that are written together."""

LONGEST_NAME = 1000
"""Characters of a speaker's name."""


def sniff(path: Path) -> bool:
    """Whether the path is a parquet file or a folder that contains some."""
    return bool(_parquets(path))


def find(path: Path) -> Corpus:
    """Read the rows of local parquet files."""
    changes: Counter[str] = Counter()
    parquets = _parquets(path)
    subsets = subsets_from_names(str(file.relative_to(path.parent)) for file in parquets)
    stems = Counter(file.stem for file in parquets)
    recordings = (
        replace(recording, subset_name=subset_name(str(file.relative_to(path.parent)), recording.subset))
        for file in parquets
        for recording in _read_recordings(
            _rows(file),
            str(file),
            file.stem if stems[file.stem] == 1 else "-".join(file.relative_to(path).with_suffix("").parts),
            file.parent,
            subsets[str(file.relative_to(path.parent))],
            changes,
        )
    )
    return Corpus(path.stem, reporting_unread(recordings, path, parquets, changes), str(path), changes=changes)


def hub(name: str, config: str | None = None) -> Corpus:
    """Stream the rows of a dataset on the Hugging Face hub."""
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name):
        raise UserError(f"hf:{name}: not a dataset's name on the hub; expected hf:OWNER/NAME")
    datasets = require("datasets", f"reading hf:{name}")
    changes: Counter[str] = Counter()
    try:
        splits = datasets.load_dataset(name, config, streaming=True)
        undecoded = {k: rows.cast_column("audio", datasets.Audio(decode=False)) for k, rows in splits.items()}
    except Exception as error:  # the hub and the network raise many kinds of errors
        raise UserError(f"hf:{name}: cannot be loaded ({one_line(error)})") from error
    subsets = subsets_from_names(undecoded)
    recordings = (
        recording
        for split, rows in undecoded.items()
        for recording in _read_recordings(rows, split, split, Path(), subsets[split], changes)
    )
    return Corpus(name, recordings, f"hf:{name}", licence="the dataset card's", changes=changes)


def _parquets(path: Path) -> list[Path]:
    return [path] if path.is_file() and path.suffix == ".parquet" else files(path, {".parquet"})


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    parquet = require("pyarrow.parquet", "reading parquet")
    try:
        metadata = parquet.read_metadata(path)
        _check_metadata(path, metadata)
        with parquet.ParquetFile(path, read_dictionary=_leaves(metadata, "speakers")) as file:
            missing = [column for column in COLUMNS if column not in file.schema_arrow.names]
            if missing:
                raise UserError(f"{path}: no column {missing[0]}; required columns: {', '.join(COLUMNS)}")
            for number, batch in enumerate(file.iter_batches(batch_size=1, columns=list(COLUMNS))):
                _check_row(f"{path}: row {number}", batch)
                yield from batch.to_pylist()
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable parquet file ({one_line(error)})") from error


def _leaves(metadata: Any, column: str) -> list[str]:
    """The paths of what is stored for a column, such as ``speakers.list.element``."""
    paths = (metadata.schema.column(number).path for number in range(metadata.num_columns))
    return [path for path in paths if path.split(".")[0] == column]


def _check_metadata(path: Path, metadata: Any) -> None:
    """Raises UserError for a file that would unfold to far more than its size, before any of it is read."""
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    for group in groups:
        for stored in (group.column(number) for number in range(group.num_columns)):
            column, rows = stored.path_in_schema.split(".")[0], group.num_rows
            if column not in COLUMNS:
                continue
            if stored.num_values > min(MOST_VALUES, MOST_TURNS * rows):
                raise UserError(
                    f"{path}: {stored.num_values:,} values of {column} in {plural(rows, 'row')}; a row is a recording, "
                    f"with at most {MOST_TURNS:,} turns"
                )
            check_unpacked(path, path.stat().st_size, stored.total_uncompressed_size)


def _check_row(where: str, batch: Any) -> None:
    """Raises UserError where a row has more turns, or a longer name, than a recording; the file's metadata may lie."""
    for column in COLUMNS[1:]:
        values = batch.column(column)
        if not hasattr(values, "flatten"):  # no list
            continue
        values = values.flatten()
        if len(values) > MOST_TURNS:
            raise UserError(
                f"{where}: {len(values):,} values of {column}; a recording has at most {MOST_TURNS:,} turns"
            )
        distinct = getattr(values, "dictionary", values)
        if distinct.nbytes > LONGEST_NAME * MOST_TURNS or any(len(str(name)) > LONGEST_NAME for name in distinct):
            raise UserError(f"{where}: a value of {column} with more than {LONGEST_NAME:,} characters")


def _read_recordings(
    rows: Iterable[dict[str, Any]], source: str, name: str, folder: Path, subset: Any, changes: Counter[str]
) -> Iterator[SourceRecording]:
    """The recordings in rows; ``name`` begins the names of those whose audio has none."""
    for number, row in enumerate(rows):
        where = f"{source}: row {number}"
        starts, ends, speakers = (_values(row, column, where) for column in COLUMNS[1:])
        if not len(starts) == len(ends) == len(speakers):
            bounds = f"{plural(len(starts), 'start')}, {plural(len(ends), 'end')}"
            counts = f"{bounds} and {plural(len(speakers), 'speaker')}"
            raise UserError(f"{where}: {counts}; a turn needs one of each")
        turns: list[Turn] = []
        for start, end, speaker in zip(starts, ends, speakers, strict=True):
            turns += make_turns(start, end, speaker, where, changes)
        clip, audio_name = _audio(row.get("audio"), where, folder)
        uri = audio_name or f"{name}-{number:05d}"
        yield SourceRecording(nfc(uri), (clip,), turns, None, subset)


def _values(row: dict[str, Any], column: str, where: str) -> list[Any]:
    values = row.get(column)
    if not isinstance(values, list):
        problem = "is missing" if values is None else f"is {str(values)[:80]!r}"
        raise UserError(f"{where}: {column} {problem}; expected a list: a row is a recording with all of its turns")
    return values


def _audio(audio: object, where: str, folder: Path) -> tuple[Clip, str]:
    """A row's audio, and its name; empty if it has none."""
    content, path = (audio.get("bytes"), audio.get("path")) if isinstance(audio, dict) else (None, audio)
    if not isinstance(path, str | None) or not isinstance(content, bytes | None):
        raise UserError(f"{where}: audio is neither a path nor bytes")
    name = Path(path).stem if path else ""
    if content:
        return Clip(content, name=where), name
    if not path:
        raise UserError(f"{where}: contains no audio")
    beside = folder / path
    return Clip(beside if beside.is_file() else Path(path)), name
