"""AI-Hub's emotion-tagged free conversations of adults (dataset 71631).

Format: one stereo WAV and one JSON file per conversation. JSON: ``Conversation[]`` with ``SpeakerNo``
(``Speaker1``), ``StartTime`` and ``EndTime`` in seconds, with a comma after the thousands; ``Speaker1.ID`` identifies
the person and becomes the speaker's name. Both files have the same name.
Splits: from folder names (``Training``; ``Validation`` is dev); otherwise drawn.
Licence: AI-Hub's terms of use (https://www.aihub.or.kr); no redistribution.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diarbench.datasets.conversion.corpus import Corpus, SourceRecording
from diarbench.datasets.formats.matching import (
    AudioIndex,
    make_turns,
    reporting_unread,
    subset_name,
    subsets_from_names,
)
from diarbench.datasets.io.audio import Clip
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import files, nfc, read_json, read_text
from diarbench.datasets.io.rttm import Turn


def sniff(path: Path) -> bool:
    """Whether the path is a folder whose first JSON file contains ``Conversation`` and ``SpeakerNo``."""
    first = next(iter(files(path, {".json"})), None)
    text = read_text(first, errors="replace") if first else ""
    return '"Conversation"' in text and '"SpeakerNo"' in text


def find(path: Path) -> Corpus:
    """Read the conversations that have audio."""
    changes: Counter[str] = Counter()
    recordings = reporting_unread(_read_recordings(path, changes), path, [], changes)
    return Corpus("AI-Hub", recordings, str(path), "AI-Hub's terms of use", changes=changes)


def _read_recordings(root: Path, changes: Counter[str]) -> Iterator[SourceRecording]:
    audio = AudioIndex(root, changes)
    conversations = files(root, {".json"})
    subsets = subsets_from_names(str(path.relative_to(root).parent) for path in conversations)
    for path in conversations:
        clip = audio.take(path.stem, path)
        if clip:
            folder = str(path.relative_to(root).parent)
            name, turns = subset_name(folder, subsets[folder]), _turns(path, changes)
            yield SourceRecording(nfc(path.stem), (Clip(clip),), turns, None, subsets[folder], name)
    audio.report_unused()


def _turns(path: Path, changes: Counter[str]) -> list[Turn]:
    content = read_json(path)
    match content:
        case {"Conversation": [*utterances]} if all(isinstance(u, dict) for u in utterances):
            turns: list[Turn] = []
            for number, utterance in enumerate(utterances, start=1):
                match content.get(str(utterance.get("SpeakerNo"))):
                    case {"ID": str(person)} if person.strip():
                        speaker = person
                    case _:
                        speaker = utterance.get("SpeakerNo")
                start, end = (_without_thousands(utterance.get(key)) for key in ("StartTime", "EndTime"))
                turns += make_turns(start, end, speaker, f"{path}: utterance {number}", changes)
            return turns
    raise UserError(f"{path}: contains no Conversation[]")


def _without_thousands(time: Any) -> Any:
    """Convert ``1,000.73`` to ``1000.73``; `make_turns` rejects any other comma."""
    if isinstance(time, str) and re.fullmatch(r"\d{1,3}(,\d{3})+\.\d+", time.strip()):
        return time.replace(",", "")
    return time
