"""The folder layout of converted datasets, which pyannote's fine-tuning guides use too.

Format: ``{train,dev,test}.txt`` with one uri per line; ``{train,dev,test}/{wav,rttm,uem}/{uri}.*``. The audio folder
can have any name and the audio any format; UEM files are optional.
Splits: from the lists.
Licence: from ``dataset.json`` if there is one; otherwise the corpus's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from diarbench.datasets.conversion.corpus import Corpus, SourceRecording
from diarbench.datasets.dataset import SUBSETS, DatasetInfo
from diarbench.datasets.formats.matching import (
    NO_REFERENCE,
    NO_REGIONS,
    AudioIndex,
    annotated,
    log,
    read_references,
    read_regions,
    report_unread,
    select_recording,
)
from diarbench.datasets.io.audio import Clip
from diarbench.datasets.io.files import nfc
from diarbench.datasets.io.records import read_record
from diarbench.datasets.io.rttm import read_uris


def sniff(path: Path) -> bool:
    """Whether the path has a list, and a folder of the same name with RTTM files."""
    return any((path / f"{s}.txt").is_file() and (path / s / "rttm").is_dir() for s in SUBSETS)


def find(path: Path) -> Corpus:
    """Read the recordings in the lists."""
    changes: Counter[str] = Counter()
    corpus = Corpus(path.name, _read_recordings(path, changes), source=str(path), changes=changes)
    if (path / "dataset.json").is_file():
        info = read_record(path / "dataset.json", DatasetInfo)
        corpus.name, corpus.licence, corpus.split_rule = info.corpus, info.licence, info.split_rule
        corpus.merged = info.merged
    return corpus


def _read_recordings(root: Path, changes: Counter[str]) -> Iterator[SourceRecording]:
    read: list[Path] = []
    for subset in SUBSETS:
        names = read_uris(root / f"{subset}.txt") if (root / f"{subset}.txt").is_file() else []
        if not names:
            continue
        audio = AudioIndex(root / subset, changes)
        for name in names:
            uri = nfc(name)
            reference = root / subset / "rttm" / f"{name}.rttm"
            if not reference.is_file():
                log.warning("%s: listed in %s.txt but missing", reference, subset)
                changes[NO_REFERENCE] += 1
                continue
            clip = audio.take(uri, root / f"{subset}.txt")
            if clip:
                uem = reference.parent.parent / "uem" / f"{name}.uem"
                regions = select_recording(read_regions(uem), uri, uem, changes) if uem.is_file() else None
                if regions is None and uem.parent.is_dir():
                    log.warning("%s: missing, so all of %s is scored", uem, uri)
                    changes[NO_REGIONS] += 1
                turns = select_recording(read_references(reference, changes), uri, reference, changes)
                read += [reference, uem]
                yield annotated(SourceRecording(uri, (Clip(clip),), [], subset=subset), turns, regions, changes)
        audio.report_unused()
    report_unread(root, read, changes)
