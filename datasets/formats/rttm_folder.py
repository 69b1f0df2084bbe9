"""A folder of audio with RTTM (and UEM), in any arrangement of subfolders.

Format: one RTTM a recording or one for all; UEM files alike, or none (then all of the audio is annotated). Audio and
reference are paired by the uri in the RTTM, or by the file's name where it speaks of one recording alone.
Splits: from folders or RTTM files named for them (``train``, ``dev``, ``test`` and their like); else drawn.
Licence: the corpus's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from diarbench.datasets.conversion.corpus import Corpus, SourceRecording
from diarbench.datasets.formats.matching import AudioIndex, rttm, subsets_from_names, uem
from diarbench.datasets.io.audio import Clip
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import files, nfc
from diarbench.datasets.io.rttm import Region


def sniff(path: Path) -> bool:
    """A folder that holds RTTM somewhere."""
    return path.is_dir() and next(path.rglob("*.rttm"), None) is not None


def find(path: Path) -> Corpus:
    """The recordings that an RTTM below the folder speaks of."""
    changes: Counter[str] = Counter()
    return Corpus(path.name, _find(path, changes), source=str(path), changes=changes)


def _find(root: Path, changes: Counter[str]) -> Iterator[SourceRecording]:
    audio = AudioIndex(root, changes)
    regions: dict[str, list[Region]] = {}
    for path in files(root, {".uem"}):
        for uri, annotated in uem(path).items():
            if uri in regions:
                raise UserError(f"{path}: {uri} is in another UEM file too; keep one")
            regions[uri] = annotated
    references = files(root, {".rttm"})
    subsets = subsets_from_names(str(path.relative_to(root).with_suffix("")) for path in references)
    for path in references:
        turns = rttm(path, changes) or {nfc(path.stem): []}
        for uri, listed in turns.items():
            by_file = len(turns) == 1 and uri not in audio and path.stem in audio
            name = nfc(path.stem) if by_file else uri
            clip = audio.take(name, path)
            if clip:
                key = uri if uri in regions else name
                scored = regions.pop(key) if key in regions else None
                yield SourceRecording(
                    name, (Clip(clip),), listed, scored, subsets[str(path.relative_to(root).with_suffix(""))]
                )
    changes["UEM regions left out: no such recording"] += sum(map(len, regions.values()))
    audio.report_unused()
