"""The Hugging Face form of diarization datasets that diarizers-community uses.

Format: columns ``audio`` (bytes and a path), ``timestamps_start``, ``timestamps_end`` and ``speakers``; from local
parquet files, a folder of them, or a hub name (``hf:diarizers-community/ami``, ``--set config=ihm``).
Splits: from the files' names or the hub's (``train``, ``validation``, ``test``); else drawn.
Licence: the dataset card's.

Local parquet is read by pyarrow, a hub's by Hugging Face datasets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from diarbench.datasets.conversion.corpus import Corpus, SourceRecording
from diarbench.datasets.formats.matching import one_line, subsets_from_names, turn
from diarbench.datasets.io.audio import Clip
from diarbench.datasets.io.errors import UserError, require
from diarbench.datasets.io.files import files, nfc
from diarbench.datasets.io.rttm import Turn

COLUMNS = ("audio", "timestamps_start", "timestamps_end", "speakers")


def sniff(path: Path) -> bool:
    """A parquet file, or a folder that holds some."""
    return bool(_parquets(path))


def find(path: Path) -> Corpus:
    """The rows of local parquet files."""
    changes: Counter[str] = Counter()
    parquets = _parquets(path)
    subsets = subsets_from_names(str(file.relative_to(path.parent)) for file in parquets)
    found = (
        one
        for file in parquets
        for one in _find(_rows(file), file.name, subsets[str(file.relative_to(path.parent))], changes)
    )
    return Corpus(path.stem, found, source=str(path), changes=changes)


def hub(name: str, config: str | None = None) -> Corpus:
    """The rows of a dataset on the Hugging Face hub, streamed."""
    datasets = require("datasets", f"reading hf:{name}")
    changes: Counter[str] = Counter()
    try:
        splits = datasets.load_dataset(name, config, streaming=True)
        undecoded = {k: rows.cast_column("audio", datasets.Audio(decode=False)) for k, rows in splits.items()}
    except Exception as error:  # whatever the hub or the network says
        raise UserError(f"hf:{name}: cannot be loaded ({one_line(error)})") from error
    subsets = subsets_from_names(undecoded)
    found = (one for split, rows in undecoded.items() for one in _find(rows, split, subsets[split], changes))
    return Corpus(name, found, f"hf:{name}", licence="the dataset card's", changes=changes)


def _parquets(path: Path) -> list[Path]:
    return [path] if path.is_file() and path.suffix == ".parquet" else files(path, {".parquet"})


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    parquet = require("pyarrow.parquet", "reading parquet")
    try:
        with parquet.ParquetFile(path) as file:
            missing = [column for column in COLUMNS if column not in file.schema_arrow.names]
            if missing:
                raise UserError(f"{path}: no column {missing[0]}; it needs {', '.join(COLUMNS)}")
            for batch in file.iter_batches(batch_size=1, columns=list(COLUMNS)):
                yield from batch.to_pylist()
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a parquet file that can be read ({one_line(error)})") from error


def _find(rows: Iterable[dict[str, Any]], name: str, subset: Any, changes: Counter[str]) -> Iterator[SourceRecording]:
    for number, row in enumerate(rows):
        where = f"{name}: row {number}"
        starts, ends, speakers = (row.get(column) for column in COLUMNS[1:])
        if not starts or not ends or not speakers or not len(starts) == len(ends) == len(speakers):
            raise UserError(f"{where}: timestamps and speakers are missing or of unequal number")
        audio = row.get("audio")
        if not isinstance(audio, dict) or not (audio.get("bytes") or audio.get("path")):
            raise UserError(f"{where}: no audio in it")
        turns: list[Turn] = []
        for start, end, speaker in zip(starts, ends, speakers, strict=True):
            turns += turn(start, end, speaker, where, changes)
        uri = Path(audio["path"]).stem if audio.get("path") else f"{Path(name).stem}-{number:05d}"
        clip = Clip(audio["bytes"], name=where) if audio.get("bytes") else Clip(Path(audio["path"]))
        yield SourceRecording(nfc(uri), (clip,), turns, None, subset)
