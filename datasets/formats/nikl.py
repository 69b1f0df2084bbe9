"""The everyday-conversation speech corpora of the National Institute of Korean Language.

Format: one JSON file per conversation with ``document[0].utterance[]`` (``id``, ``start``, ``end`` in seconds,
``speaker_id``). The audio is one WAV with the same name, or one WAV per utterance, named by the utterance's ``id``;
utterances are placed on one timeline with digital silence between them.
Splits: from folder names; otherwise drawn.
Licence: by agreement with the institute (https://kli.korean.go.kr/corpus); no redistribution.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diarbench.datasets.conversion.corpus import Corpus, SourceRecording
from diarbench.datasets.formats.matching import (
    NO_AUDIO,
    log,
    make_turns,
    reporting_unread,
    subset_name,
    subsets_from_names,
)
from diarbench.datasets.io.audio import AUDIO_SUFFIXES, Clip
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import files, nfc, read_json, read_text
from diarbench.datasets.io.rttm import Turn, seconds


def sniff(path: Path) -> bool:
    """Whether the path is a folder whose first JSON file contains ``document`` and ``utterance``."""
    first = next(iter(files(path, {".json"})), None)
    text = read_text(first, errors="replace") if first else ""
    return '"document"' in text and '"utterance"' in text


def find(path: Path) -> Corpus:
    """Read the conversations that have audio."""
    changes: Counter[str] = Counter()
    licence = "by agreement with the National Institute of Korean Language"
    recordings = reporting_unread(_read_recordings(path, changes), path, [], changes)
    return Corpus("NIKL", recordings, source=str(path), licence=licence, changes=changes)


def _read_recordings(root: Path, changes: Counter[str]) -> Iterator[SourceRecording]:
    audio = {nfc(path.stem): path for path in files(root, AUDIO_SUFFIXES)}
    conversations = files(root, {".json"})
    subsets = subsets_from_names(str(path.relative_to(root).parent) for path in conversations)
    for path in conversations:
        utterances = _utterances(path)
        turns: list[Turn] = []
        clips: list[Clip] = []
        single_file = audio.get(nfc(path.stem))
        for number, utterance in enumerate(utterances, start=1):
            where = f"{path}: utterance {number}"
            start, end, speaker = (utterance.get(key) for key in ("start", "end", "speaker_id"))
            turns += make_turns(start, end, speaker, where, changes)
            clip = audio.get(nfc(str(utterance.get("id"))))
            if clip:
                clips.append(Clip(clip, at_s=seconds(start, where)))
            elif not single_file:
                log.warning("%s: no audio named %s", where, utterance.get("id"))
                changes["utterances with no audio, left silent"] += 1
        if single_file:
            clips = [Clip(single_file)]
        if clips:
            folder = str(path.relative_to(root).parent)
            subset = subsets[folder]
            yield SourceRecording(nfc(path.stem), tuple(clips), turns, None, subset, subset_name(folder, subset))
        else:
            changes[NO_AUDIO] += 1


def _utterances(path: Path) -> list[dict[str, Any]]:
    match read_json(path):
        case {"document": [{"utterance": [*utterances]}, *_]} if all(isinstance(u, dict) for u in utterances):
            return utterances
    raise UserError(f"{path}: contains no document[0].utterance[]")
