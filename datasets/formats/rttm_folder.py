"""A folder of audio with RTTM and, optionally, UEM files, with any subfolders.

Format: one RTTM per recording or one for all; the same for UEM. Without UEM all of the audio is scored. Audio and
reference are paired by the uri in the RTTM, or by file name if the RTTM describes only one recording.
Splits: from the names of folders or RTTM files (``train``, ``dev``, ``test``, ``validation``...); otherwise drawn.
Licence: the corpus's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from diarbench.datasets.conversion.corpus import Corpus, SourceRecording
from diarbench.datasets.formats.matching import AudioIndex, read_regions, read_turns, subsets_from_names
from diarbench.datasets.io.audio import Clip
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import files, nfc
from diarbench.datasets.io.rttm import Region


def sniff(path: Path) -> bool:
    """Whether the path is a folder with an RTTM file at any depth."""
    return path.is_dir() and next(path.rglob("*.rttm"), None) is not None


def find(path: Path) -> Corpus:
    """Read the recordings that the RTTM files below the folder describe."""
    changes: Counter[str] = Counter()
    return Corpus(path.name, _read_recordings(path, changes), source=str(path), changes=changes)


def _read_recordings(root: Path, changes: Counter[str]) -> Iterator[SourceRecording]:
    audio = AudioIndex(root, changes)
    regions: dict[str, list[Region]] = {}
    for path in files(root, {".uem"}):
        for uri, scored in read_regions(path).items():
            if uri in regions:
                raise UserError(f"{path}: {uri} is also in another UEM file; keep one")
            regions[uri] = scored
    references = files(root, {".rttm"})
    subsets = subsets_from_names(str(path.relative_to(root).with_suffix("")) for path in references)
    for path in references:
        turns = read_turns(path, changes) or {nfc(path.stem): []}
        for uri, listed in turns.items():
            by_file = len(turns) == 1 and uri not in audio and path.stem in audio
            name = nfc(path.stem) if by_file else uri
            clip = audio.take(name, path)
            if clip:
                key = uri if uri in regions else name
                scored_regions = regions.pop(key) if key in regions else None
                yield SourceRecording(
                    name, (Clip(clip),), listed, scored_regions, subsets[str(path.relative_to(root).with_suffix(""))]
                )
    changes["UEM regions left out: no such recording"] += sum(map(len, regions.values()))
    audio.report_unused()
