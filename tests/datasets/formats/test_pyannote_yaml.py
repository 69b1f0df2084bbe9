"""Protocols with wildcards, and with values of the wrong kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from corpora import MAKERS, TURNS

from diarbench.datasets.formats.detect import find_corpus
from diarbench.datasets.io.errors import UserError


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The YAML of a protocol; each test writes its own beside it."""
    return MAKERS["pyannote"][0](tmp_path_factory.mktemp("protocol") / "source")


def write(source: Path, change: Any) -> Path:
    content = yaml.safe_load(source.read_text(encoding="utf-8"))
    change(content, content["Protocols"]["Made"]["SpeakerDiarization"]["Up"])
    path = source.with_name("changed.yml")
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return path


@pytest.mark.parametrize("pattern", ["*/wav/{uri}.wav", "**/{uri}.*av", "{root}/**/{uri}.wav"])
def test_wildcards(pattern: str, source: Path) -> None:
    pattern = pattern.replace("{root}", str(source.parent))
    path = write(source, lambda content, _: content.update(Databases={"Made": [pattern]}))
    recordings = list(find_corpus(str(path)).recordings)
    assert [recording.uri for recording in recordings] == list(TURNS)
    assert [recording.clips[0].audio for recording in recordings] == [
        source.parent / "train" / "wav" / f"{uri}.wav" for uri in TURNS
    ]


def test_a_wildcard_that_matches_two_files(source: Path) -> None:
    path = write(source, lambda content, _: content.update(Databases={"Made": ["**/{uri}.*"]}))
    with pytest.raises(UserError, match=r"meeting_1 has 3 audio files in \*\*/\{uri\}\.\*; expected 1"):
        list(find_corpus(str(path)).recordings)


def test_a_misspelt_subset_is_counted(source: Path) -> None:
    corpus = find_corpus(str(write(source, lambda _, protocol: protocol.update(dev=protocol["train"]))))
    list(corpus.recordings)
    assert corpus.changes == {"parts of the protocol left out: not train, development, test": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c, p: c.update(Databases="audio/{uri}.wav"),
            "Databases is 'audio/{uri}.wav'; expected the name of each",
        ),
        (lambda c, p: c.update(Databases={"Made": 7}), "Databases: Made: 7 is not the path of a file"),
        (lambda c, p: c.update(Databases={"Made": [["a"]]}), r"Databases: Made: \['a'\] is not the path of a file"),
        (lambda c, p: p.update(train="train.txt"), "train is 'train.txt'; expected uri, annotation"),
        (lambda c, p: p.update(train=[]), r"train is \[\]; expected uri, annotation"),
        (lambda c, p: p["train"].update(uri=["a", "b"]), r"train: uri: \['a', 'b'\] is not the path of a file"),
        (lambda c, p: p["train"].update(annotation=7), "train: annotation: 7 is not the path of a file"),
        (lambda c, p: p["train"].update(annotated={"a": 1}), "train: annotated: {'a': 1} is not the path of a file"),
        (lambda c, p: p["train"].update(audio=1.5), "train: audio: 1.5 is not the path of a file"),
        (
            lambda c, p: c["Protocols"]["Made"]["SpeakerDiarization"].update(Up="train"),
            "the protocol is 'train'; expected train, development, test",
        ),
    ],
)
def test_values_of_the_wrong_kind(change: Any, message: str, source: Path) -> None:
    path = write(source, change)
    with pytest.raises(UserError, match=f"changed.yml: {message}"):
        list(find_corpus(str(path)).recordings)


def test_an_empty_list_of_recordings(source: Path) -> None:
    source.with_name("empty.txt").write_text("\n", encoding="utf-8")
    path = write(source, lambda _, protocol: protocol["train"].update(uri="empty.txt"))
    with pytest.raises(UserError, match=r"empty\.txt: lists no recording; add some, or remove train from the protocol"):
        list(find_corpus(str(path)).recordings)
