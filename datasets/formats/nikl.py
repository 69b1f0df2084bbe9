"""The everyday-conversation speech corpora of the National Institute of Korean Language.

Format: a JSON a conversation with ``document[0].utterance[]`` (``id``, ``start``, ``end`` in seconds, ``speaker_id``);
its audio is one WAV of its name, or a folder of its name with a WAV an utterance, named by the utterance's ``id`` and
laid on one timeline here, digital silence between them.
Splits: from folders named for them; else drawn.
Licence: by agreement with the institute (https://kli.korean.go.kr/corpus); not to be passed on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diarbench.datasets.conversion.corpus import Corpus, SourceRecording
from diarbench.datasets.formats.matching import NO_AUDIO, log, subsets_from_names, turn
from diarbench.datasets.io.audio import AUDIO_SUFFIXES, Clip
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import files, nfc, read_json
from diarbench.datasets.io.rttm import Turn, seconds


def sniff(path: Path) -> bool:
    """A folder whose first JSON has ``document`` and ``utterance`` in it."""
    first = next(path.rglob("*.json"), None) if path.is_dir() else None
    text = first.read_text(encoding="utf-8", errors="replace") if first else ""
    return '"document"' in text and '"utterance"' in text


def find(path: Path) -> Corpus:
    """The conversations that have audio."""
    changes: Counter[str] = Counter()
    licence = "by agreement with the National Institute of Korean Language"
    return Corpus("NIKL", _find(path, changes), source=str(path), licence=licence, changes=changes)


def _find(root: Path, changes: Counter[str]) -> Iterator[SourceRecording]:
    audio = {nfc(path.stem): path for path in files(root, AUDIO_SUFFIXES)}
    conversations = files(root, {".json"})
    subsets = subsets_from_names(str(path.relative_to(root).parent) for path in conversations)
    for path in conversations:
        utterances = _utterances(path)
        turns: list[Turn] = []
        clips: list[Clip] = []
        whole = audio.get(nfc(path.stem))
        for number, utterance in enumerate(utterances, start=1):
            where = f"{path}: utterance {number}"
            turns += turn(utterance.get("start"), utterance.get("end"), utterance.get("speaker_id"), where, changes)
            clip = audio.get(nfc(str(utterance.get("id"))))
            if clip:
                clips.append(Clip(clip, at_s=seconds(utterance.get("start"), where)))
            elif not whole:
                log.warning("%s: no audio named %s", where, utterance.get("id"))
                changes["utterances with no audio, left silent"] += 1
        if whole:
            clips = [Clip(whole)]
        if clips:
            yield SourceRecording(
                nfc(path.stem), tuple(clips), turns, None, subsets[str(path.relative_to(root).parent)]
            )
        else:
            changes[NO_AUDIO] += 1


def _utterances(path: Path) -> list[dict[str, Any]]:
    match read_json(path):
        case {"document": [{"utterance": [*utterances]}, *_]} if all(isinstance(u, dict) for u in utterances):
            return utterances
    raise UserError(f"{path}: no document[0].utterance[] in it")
