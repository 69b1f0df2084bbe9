"""A folder of audio with RTTM and, optionally, UEM files, with any subfolders.

Format: one RTTM per recording or one for all; the same for UEM. Without UEM all of the audio is scored. Audio and
reference are paired by the uri in the RTTM, or by the name of the file or its folder if the RTTM describes only one
recording.
Splits: from the names of folders or RTTM files (``train``, ``dev``, ``test``, ``validation``...); otherwise drawn.
Licence: the corpus's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from diarbench.datasets.conversion.corpus import Corpus, SourceRecording
from diarbench.datasets.formats.matching import (
    NO_REGIONS,
    AudioIndex,
    annotated,
    log,
    read_references,
    read_regions,
    report_unread,
    subset_name,
    subsets_from_names,
)
from diarbench.datasets.io.audio import Clip
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import files, nfc
from diarbench.datasets.io.rttm import RttmRecording, UemRegions


def sniff(path: Path) -> bool:
    """Whether the path is a folder with an RTTM file at any depth."""
    return bool(files(path, {".rttm"}))


def find(path: Path, dataset: str = "") -> Corpus:
    """Read the recordings that the RTTM files below the folder describe; ``dataset`` as in `AudioIndex`."""
    changes: Counter[str] = Counter()
    return Corpus(path.name, _read_recordings(path, changes, dataset), source=str(path), changes=changes)


def _read_recordings(root: Path, changes: Counter[str], dataset: str) -> Iterator[SourceRecording]:
    audio = AudioIndex(root, changes, dataset)
    regions: dict[str, UemRegions] = {}
    uems = files(root, {".uem"})
    for path in uems:
        by_uri = read_regions(path)
        for uri, scored in by_uri.items():
            name = audio.name_of(path, uri) if len(by_uri) == 1 else uri
            if name in regions:
                raise UserError(f"{path}: {name} is also in another UEM file; keep one")
            regions[name] = scored
    references = files(root, {".rttm"})
    names = {path: str(path.relative_to(root).with_suffix("")) for path in references}
    subsets = subsets_from_names(names.values())
    for path in references:
        by_name = read_references(path, changes)
        turns = (
            {uri: by_name[uri] for uri in by_name if by_name[uri].turns}
            or by_name
            or {nfc(path.stem): RttmRecording(str(path))}
        )
        for uri, reference in turns.items():
            name = audio.name_of(path, uri) if len(turns) == 1 else uri
            clip = audio.take(name, path)
            if clip:
                scored_regions = regions.pop(uri if uri in regions else name, None)
                if uems and scored_regions is None:
                    log.warning("%s: no UEM file has regions of %s, so all of it is scored", path, name)
                    changes[NO_REGIONS] += 1
                subset = subsets[names[path]]
                source = SourceRecording(
                    name, (Clip(clip),), [], subset=subset, subset_name=subset_name(names[path], subset)
                )
                yield annotated(source, reference, scored_regions, changes)
    changes["UEM regions left out: no such recording"] += sum(len(scored.regions) for scored in regions.values())
    audio.report_unused(report_unread(root, [*references, *uems], changes))
