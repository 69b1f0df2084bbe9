"""AI-Hub's emotion-tagged free conversations of adults (dataset 71631), a stereo WAV and a JSON a conversation.

Format: ``Conversation[]`` with ``SpeakerNo`` (``Speaker1``), ``StartTime`` and ``EndTime`` in seconds, thousands with a
comma; ``Speaker1.ID`` names the person, which is the speaker here. Audio and JSON share their name.
Splits: from folders named for them (``Training`` and ``Validation``, which is dev); else drawn.
Licence: AI-Hub's terms of use (https://www.aihub.or.kr); not to be passed on.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diarbench.datasets.conversion.corpus import Corpus, SourceRecording
from diarbench.datasets.formats.matching import AudioIndex, subsets_from_names, turn
from diarbench.datasets.io.audio import Clip
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import files, nfc, read_json
from diarbench.datasets.io.rttm import Turn


def sniff(path: Path) -> bool:
    """A folder whose first JSON has ``Conversation`` and ``SpeakerNo`` in it."""
    first = next(path.rglob("*.json"), None) if path.is_dir() else None
    text = first.read_text(encoding="utf-8", errors="replace") if first else ""
    return '"Conversation"' in text and '"SpeakerNo"' in text


def find(path: Path) -> Corpus:
    """The conversations that have audio."""
    changes: Counter[str] = Counter()
    return Corpus("AI-Hub", _find(path, changes), str(path), "AI-Hub's terms of use", changes=changes)


def _find(root: Path, changes: Counter[str]) -> Iterator[SourceRecording]:
    audio = AudioIndex(root, changes)
    conversations = files(root, {".json"})
    subsets = subsets_from_names(str(path.relative_to(root).parent) for path in conversations)
    for path in conversations:
        clip = audio.take(path.stem, path)
        if clip:
            subset = subsets[str(path.relative_to(root).parent)]
            yield SourceRecording(nfc(path.stem), (Clip(clip),), _turns(path, changes), None, subset)
    audio.report_unused()


def _turns(path: Path, changes: Counter[str]) -> list[Turn]:
    content = read_json(path)
    match content:
        case {"Conversation": [*utterances]} if all(isinstance(u, dict) for u in utterances):
            turns: list[Turn] = []
            for number, said in enumerate(utterances, start=1):
                match content.get(str(said.get("SpeakerNo"))):
                    case {"ID": str(person)} if person.strip():
                        speaker = person
                    case _:
                        speaker = said.get("SpeakerNo")
                start, end = (_without_thousands(said.get(key)) for key in ("StartTime", "EndTime"))
                turns += turn(start, end, speaker, f"{path}: utterance {number}", changes)
            return turns
    raise UserError(f"{path}: no Conversation[] in it")


def _without_thousands(time: Any) -> Any:
    """``1,000.73`` as ``1000.73``; any other comma is left for `turn` to reject."""
    if isinstance(time, str) and re.fullmatch(r"\d{1,3}(,\d{3})+\.\d+", time.strip()):
        return time.replace(",", "")
    return time
