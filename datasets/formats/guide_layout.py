"""The layout of converted datasets, which is also that of pyannote's fine-tuning guides.

Format: ``{train,dev,test}.txt`` with a uri a line; ``{train,dev,test}/{wav,rttm,uem}/{uri}.*``, the audio folder under
any name and in any format, the UEM optional.
Splits: its own.
Licence: that of its ``dataset.json`` where it has one, else the corpus's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from diarbench.datasets.conversion.corpus import Corpus, SourceRecording
from diarbench.datasets.dataset import SUBSETS, DatasetInfo
from diarbench.datasets.formats.matching import NO_REFERENCE, AudioIndex, log, only, rttm, uem
from diarbench.datasets.io.audio import Clip
from diarbench.datasets.io.files import nfc
from diarbench.datasets.io.records import read_record
from diarbench.datasets.io.rttm import read_uris


def sniff(path: Path) -> bool:
    """A list beside a folder of its name that holds RTTM."""
    return any((path / f"{s}.txt").is_file() and (path / s / "rttm").is_dir() for s in SUBSETS)


def find(path: Path) -> Corpus:
    """The recordings in the lists."""
    changes: Counter[str] = Counter()
    corpus = Corpus(path.name, _find(path, changes), source=str(path), changes=changes)
    if (path / "dataset.json").is_file():
        info = read_record(path / "dataset.json", DatasetInfo)
        corpus.name, corpus.licence, corpus.split_rule = info.corpus, info.licence, info.split_rule
    return corpus


def _find(root: Path, changes: Counter[str]) -> Iterator[SourceRecording]:
    for subset in SUBSETS:
        names = read_uris(root / f"{subset}.txt") if (root / f"{subset}.txt").is_file() else []
        if not names:
            continue
        audio = AudioIndex(root / subset, changes)
        for name in names:
            uri = nfc(name)
            reference = root / subset / "rttm" / f"{name}.rttm"
            if not reference.is_file():
                log.warning("%s: no such file, and %s.txt lists it", reference, subset)
                changes[NO_REFERENCE] += 1
                continue
            clip = audio.take(uri, root / f"{subset}.txt")
            if clip:
                scored = reference.parent.parent / "uem" / f"{name}.uem"
                regions = only(uem(scored), uri, scored) if scored.is_file() else None
                turns = only(rttm(reference, changes), uri, reference) or []
                yield SourceRecording(uri, (Clip(clip),), turns, regions, subset)
        audio.report_unused()
