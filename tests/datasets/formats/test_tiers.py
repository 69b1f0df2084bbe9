"""Tiers that are levels of annotation are not taken for speakers without a word."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from corpora import MAKERS, eaf_text, textgrid_text, write_wav

from diarbench.datasets.formats.detect import find_corpus
from diarbench.datasets.formats.elan import read_eaf
from diarbench.datasets.formats.textgrid_tiers import read_textgrid
from diarbench.datasets.formats.tiers import NO_SPEAKERS, NO_TIERS
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


def test_a_tier_of_speakers_is_no_speaker(tmp_path: Path) -> None:
    """One tier whose labels are the names."""
    corpus = find_corpus(str(write_textgrid(tmp_path, [Turn(0.0, 1.0, "speaker")])))
    list(corpus.recordings)
    assert corpus.changes[NO_SPEAKERS] == 1


SHORT = (
    'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n3\n<exists>\n1\n"IntervalTier"\n"a ""b"" 3"\n0\n3\n2\n'
)
SHORT += '0\n1\n"yes"\n1\n3\n""\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (textgrid_text(WORDS + PHONES)[:-60].encode(), "truncated or damaged: has less than it declares; get"),
        (SHORT[:-6].encode("utf-16"), "truncated or damaged: has less than it declares; get"),
        (
            SHORT.replace("yes", "José").encode("latin-1"),
            r"neither UTF-8 nor UTF-16 text \(byte \d+\); save it as UTF-8",
        ),
        (b"<html>", "not a TextGrid; save it as one in Praat"),
        (b"", "not a TextGrid; save it as one in Praat"),
        (SHORT.replace("\n2\n", "\n1\n").encode(), "16: has more than it declares; correct the sizes"),
        (
            SHORT.replace("\n0\n1\n", "\n-0.5\n1\n").encode(),
            r"13: a turn from -0\.5 to 1\.0; expected 0 <= start < end",
        ),
        (SHORT.replace("\n0\n1\n", "\n\u22120.5\n1\n").encode(), '15: "yes" where a number belongs'),
        (SHORT.replace("\n0\n1\n", "\n0\n1,5\n").encode(), r"14: '1,5' is not a time in seconds \(use a point"),
        (SHORT.replace("\n0\n1\n", "\n0\n1_0\n").encode(), "14: '1_0' is not a time in seconds"),
        (SHORT.replace("\n0\n1\n", "\n0\n1e10\n").encode(), "14: '1e10' s is later than three years"),
        (SHORT.replace("IntervalTier", "Tier").encode(), "8: no such kind of tier as Tier; correct it in Praat"),
        (
            SHORT.replace("\n1\n", "\n2\n", 1).encode() + SHORT[SHORT.index('"IntervalT') :].encode(),
            "20: there are two tiers named a",
        ),
    ],
)
def test_damaged_textgrids(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.TextGrid").write_bytes(SHORT.encode("utf-16"))
    assert read_textgrid(tmp_path / "x.TextGrid", Counter()) == [Turn(0.0, 1.0, 'a "b" 3')]
    (tmp_path / "x.TextGrid").write_bytes(content)
    with pytest.raises(UserError, match=rf"x\.TextGrid: ?{message}"):
        read_textgrid(tmp_path / "x.TextGrid", Counter())


def test_numbers_as_praat_writes_them(tmp_path: Path) -> None:
    """Rounding at the edge of a file gives numbers with exponents, and negative ones that are nearly 0."""
    for start, text in (("5.684341886080802e-14", "utf-8"), ("-1.4E-14", "utf-16"), ("+0.", "utf-8"), ("-0", "utf-8")):
        content = SHORT.replace("\n0\n1\n", f"\r\n{start} ! the start\n1 ! second 1\r")
        (tmp_path / "x.TextGrid").write_bytes(content.encode(text))
        (turn,) = read_textgrid(tmp_path / "x.TextGrid", Counter())
        assert str(turn.start_s) == "0.0" and turn.end_s == 1.0


@pytest.mark.parametrize("tiers", ["<absent>", "tiers? <absent>", "<exists>\n0", "<exists>\nsize = 0\nitem []:"])
def test_a_textgrid_without_tiers(tiers: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "x.TextGrid").write_text(f'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n3\n{tiers}\n')
    changes: Counter[str] = Counter()
    assert read_textgrid(tmp_path / "x.TextGrid", changes) == []
    assert changes == {NO_TIERS: 1}
    assert "x.TextGrid: has no tiers of intervals; read as a recording in which nobody speaks" in caplog.text


def read_elan(folder: Path, text: str, tiers: str = "") -> tuple[list[Turn], dict[str, int]]:
    changes: Counter[str] = Counter()
    (folder / "x.eaf").write_text(text, encoding="utf-8")
    return read_eaf(folder / "x.eaf", changes, tiers), dict(+changes)


def test_elan_tiers_below_a_speaker(tmp_path: Path) -> None:
    below = (
        '<TIER TIER_ID="bob_words" PARENT_REF="tier of bob"><ANNOTATION>{}</ANNOTATION></TIER>'
        '<TIER TIER_ID="empty"/><LINGUISTIC_TYPE LINGUISTIC_TYPE_ID="default"/>'
    )
    reference = '<REF_ANNOTATION ANNOTATION_ID="r" ANNOTATION_REF="{}"><ANNOTATION_VALUE/></REF_ANNOTATION>'
    turns = [Turn(0.5, 1.0, "bob"), Turn(0.75, 2.0, "가영")]
    text = eaf_text(turns, below.format(reference.format("a0")))
    assert read_elan(tmp_path, text) == (turns, {"tiers left out: they depend on another": 1})
    assert read_elan(tmp_path, text, "*_words") == ([Turn(0.5, 1.0, "bob_words")], {})
    for parent in ("gone", "r"):
        with pytest.raises(UserError, match=r"x\.eaf: tier bob_words: annotation r has no time; align it in ELAN"):
            read_elan(tmp_path, eaf_text(turns, below.format(reference.format(parent))), "bob_words")


def test_an_elan_recording_of_two_days(tmp_path: Path) -> None:
    turns = [Turn(170_000.125, 170_001.5, "bob")]
    assert read_elan(tmp_path, eaf_text(turns)) == (turns, {})


def test_elan_segments_without_text_are_speech(tmp_path: Path) -> None:
    text = eaf_text([Turn(0.5, 1.0, "bob")])
    assert read_elan(tmp_path, text.replace("said", "")) == ([Turn(0.5, 1.0, "bob")], {})
    moved = text.replace("<TIME_ORDER>", '<HEADER><MEDIA_DESCRIPTOR TIME_ORIGIN="500"/></HEADER><TIME_ORDER>')
    assert read_elan(tmp_path, moved)[1] == {"offsets between annotation and a medium, not applied": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no element found"),
        ("<html/>", "its root is html, not ANNOTATION_DOCUMENT"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><ANNOTATION_DOCUMENT>&b;</ANNOTATION_DOCUMENT>', "it has a document type"),
        ('<!DOCTYPE a SYSTEM "file:///etc/hostname"><ANNOTATION_DOCUMENT/>', "it has a document type"),
        ("<ANNOTATION_DOCUMENT>&b;</ANNOTATION_DOCUMENT>", "undefined entity"),
        ('<?xml version="1.0" encoding="nothing"?><ANNOTATION_DOCUMENT/>', "unknown encoding"),
        *(
            (
                eaf_text([Turn(0.5, 1.0, "bob")]).replace('"500"', f'"{time}"'),
                f"tier .*bob: TIME_VALUE '{time}'; expected",
            )
            for time in ("soon", "-500", "5_0", "٣", "nan", "1e9")
        ),
        (
            eaf_text([Turn(0.5, 1.0, "bob")]).replace("<TIME", '<HEADER TIME_UNITS="PAL-frames"/><TIME', 1),
            "its times are in PAL-frames, not milliseconds; save",
        ),
        (
            eaf_text([], '<TIER TIER_ID="a"/><TIER TIER_ID="a"/>'),
            "tier a: there are two of this name; rename one in ELAN",
        ),
    ],
)
def test_damaged_elan_files(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"x\.eaf: .*{message}"):
        read_elan(tmp_path, text)
