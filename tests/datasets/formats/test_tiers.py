"""Tiers that are levels of annotation are not taken for speakers without a word."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from corpora import MAKERS, textgrid_text, write_wav

from diarbench.datasets.formats.detect import find_corpus
from diarbench.datasets.formats.textgrid_tiers import read_textgrid
from diarbench.datasets.formats.tiers import NO_SPEAKERS
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.rttm import Turn

WORDS = [Turn(0.0, 0.5, "words"), Turn(0.5, 1.0, "words")]
PHONES = [Turn(0.25 * k, 0.25 * (k + 1), "phones") for k in range(4)]


def write_textgrid(folder: Path, turns: list[Turn]) -> Path:
    write_wav(folder / "x.wav")
    (folder / "x.TextGrid").write_text(textgrid_text(turns), encoding="utf-8")
    return folder


def test_words_and_phones(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_textgrid(tmp_path, WORDS + PHONES)
    corpus = find_corpus(str(tmp_path), tiers="words")
    assert [recording.turns for recording in corpus.recordings] == [WORDS]
    assert not +corpus.changes
    corpus = find_corpus(str(tmp_path))
    assert [len(recording.turns) for recording in corpus.recordings] == [6]
    assert corpus.changes[NO_SPEAKERS] == 2
    assert "x.TextGrid: tiers phones, words are read as speakers" in caplog.text
    with pytest.raises(UserError, match=r"x\.TextGrid: no tier matches --set tiers=word; the tiers are phones, words"):
        list(find_corpus(str(tmp_path), tiers="word").recordings)


def test_levels_with_any_names_are_recognised_by_their_times(tmp_path: Path) -> None:
    """The tiers of two speakers, as forced aligners write them: one speaker is inside the other's pause."""
    turns = [
        turn._replace(speaker=f"{name} - {turn.speaker}", start_s=turn.start_s + at_s, end_s=turn.end_s + at_s)
        for name, at_s in (("가영", 0.0), ("bob", 0.75))
        for turn in WORDS + PHONES
    ]
    corpus = find_corpus(str(write_textgrid(tmp_path, turns)))
    list(corpus.recordings)
    assert corpus.changes[NO_SPEAKERS] == 4
    corpus = find_corpus(str(tmp_path), tiers="* - words")
    (recording,) = corpus.recordings
    assert {turn.speaker for turn in recording.turns} == {"가영 - words", "bob - words"}
    assert not +corpus.changes


def test_speakers_who_overlap_are_speakers(tmp_path: Path) -> None:
    corpus = find_corpus(str(MAKERS["textgrid"][0](tmp_path / "source")))
    list(corpus.recordings)
    assert not +corpus.changes


def test_labels_of_silence_are_counted(tmp_path: Path) -> None:
    path = write_textgrid(tmp_path, [Turn(0.0, 1.0, "bob"), Turn(1.0, 2.0, "bob")]) / "x.TextGrid"
    path.write_text(path.read_text(encoding="utf-8").replace('"said"', '"SIL"', 1), encoding="utf-8")
    changes: Counter[str] = Counter()
    assert read_textgrid(path, changes) == [Turn(1.0, 2.0, "bob")]
    assert changes["intervals left out: labelled as silence"] == 1
