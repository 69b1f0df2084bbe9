"""Export a dataset in the format of each toolkit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from diarbench.datasets.dataset import Dataset, Recording
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import write_atomic
from diarbench.datasets.io.rttm import Region

SHORTEST_WINDOW_S = 0.1
"""NeMo's Sortformer has a frame in 0.08 s, and an hour would have millions of shorter rows."""

PYANNOTE_NAMES = {"train": "train", "dev": "development", "test": "test"}


def write_database_yml(dataset: Dataset, path: Path) -> None:
    """Write a pyannote.database protocol, ``<name>.SpeakerDiarization.<name>``, with absolute paths.

    A subset without recordings has no entry.
    """
    import yaml

    name, root = dataset.info.name.replace(".", "_"), dataset.root.resolve()
    subsets = [subset for subset, recordings in dataset.recordings.items() if recordings]
    protocol = {
        PYANNOTE_NAMES[subset]: {
            "uri": str(root / f"{subset}.txt"),
            "annotation": str(root / subset / "rttm" / "{uri}.rttm"),
            "annotated": str(root / subset / "uem" / "{uri}.uem"),
        }
        for subset in subsets
    }
    content = {
        "Databases": {name: [str(root / subset / "wav" / "{uri}.wav") for subset in subsets]},
        "Protocols": {name: {"SpeakerDiarization": {name: protocol}}},
    }
    write_atomic(path, yaml.safe_dump(content, allow_unicode=True, sort_keys=False))


def write_nemo_manifests(dataset: Dataset, folder: Path, window_s: float | None = None) -> None:
    """Write one NeMo manifest per subset, ``{subset}_manifest.json``, with absolute paths.

    Each row is a scored region, or a window of at most ``window_s`` seconds of one; ``num_speakers`` counts the
    speakers in that row. A row's RTTM contains only its recording, because NeMo ignores the file id of RTTM lines.
    """
    if window_s is not None and not window_s >= SHORTEST_WINDOW_S:
        raise UserError(f"--window-s {window_s:g}: expected {SHORTEST_WINDOW_S:g} s or more")
    for subset, recordings in dataset.recordings.items():
        rows = (_row(recording, cut) for recording in recordings for cut in _cuts(recording.regions, window_s))
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_atomic(folder / f"{subset}_manifest.json", text)


def _cuts(regions: list[Region], window_s: float | None) -> Iterator[Region]:
    for start_s, end_s in regions:
        while window_s is not None and end_s - start_s > window_s:
            yield Region(start_s, round(start_s + window_s, 6))
            start_s = round(start_s + window_s, 6)
        yield Region(start_s, end_s)


def _row(recording: Recording, cut: Region) -> dict[str, object]:
    speakers = {t.speaker for t in recording.turns if t.start_s < cut.end_s and t.end_s > cut.start_s}
    return {
        "audio_filepath": str(recording.audio.resolve()),
        "offset": cut.start_s,
        "duration": round(cut.end_s - cut.start_s, 6),
        "label": "infer",
        "text": "-",
        "num_speakers": len(speakers),
        "rttm_filepath": str(recording.rttm.resolve()),
        "uem_filepath": str(recording.uem.resolve()),
    }
