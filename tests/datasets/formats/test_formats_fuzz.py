"""Fuzz tests: for any input a reader returns a value or raises a UserError of one line."""

from __future__ import annotations

import json
import math
import re
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from corpora import MAKERS, write_wav
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from diarbench.datasets.formats.detect import FORMATS, find_corpus
from diarbench.datasets.formats.elan import read_eaf
from diarbench.datasets.formats.textgrid_tiers import read_textgrid
from diarbench.datasets.formats.turn_files import read_turn_file
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.rttm import LONGEST_S, Problem, Turn, read_rttm, read_uem, read_uris

FIELD = st.one_of(
    st.sampled_from(
        ["SPEAKER", "SPKR-INFO", "NON-LEX", ";;", "a", "1", "<NA>", "0.0", "-1", "1e400", "nan", "1,5", "", "\ufeff"]
    ),
    st.floats(allow_nan=True).map(str),
    st.text(max_size=4),
)
LINES = st.lists(st.lists(FIELD, max_size=11).map(" ".join), max_size=6).map("\n".join)
BYTES = st.one_of(LINES.map(lambda text: text.encode("utf-8", "replace")), st.binary(max_size=200))


def value_or_error(read: Callable[[Path], object], content: bytes, name: str) -> object:
    """What a reader returns for a file, or None if it raises a UserError of one line that names the file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            return read(path)
        except UserError as error:
            assert str(path) in str(error)
            assert len(str(error).splitlines()) == 1
            return None


@given(BYTES)
@example(b"\xef")
def test_rttm(content: bytes) -> None:
    read = value_or_error(read_rttm, content, "x.rttm")
    if read is None:
        return
    assert isinstance(read, dict)
    lines = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    speaking = [line for line in lines if line.upper().split()[:1] == ["SPEAKER"]]
    assert sum(map(len, read.values())) == len(speaking)  # every SPEAKER line is a turn
    assert all(0 <= t.start_s < t.end_s < float("inf") for listed in read.values() for t in listed)


@given(LINES)
def test_each_speaker_line_is_a_turn_or_a_problem(text: str) -> None:
    problems: list[Problem] = []
    content = text.encode("utf-8", "replace")
    read = value_or_error(lambda path: read_rttm(path, problems), content, "x.rttm")
    assert isinstance(read, dict)
    lines = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    is_turn = [line.upper().split()[:1] == ["SPEAKER"] for line in lines]
    about_turns = [problem for problem in problems if is_turn[int(problem.where.rpartition(":")[2]) - 1]]
    assert sum(map(len, read.values())) + len(about_turns) == sum(is_turn)


@given(BYTES)
def test_uem(content: bytes) -> None:
    value_or_error(read_uem, content, "x.uem")


@given(BYTES)
def test_list(content: bytes) -> None:
    value_or_error(read_uris, content, "x.txt")


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=5,
)
VALUES = {
    "nemo": ("audio_filepath", "rttm_filepath", "offset", "duration", "uem_filepath"),
    "nikl": ("id", "start", "end", "speaker_id"),
    "aihub": ("SpeakerNo", "StartTime", "EndTime"),
}


@pytest.mark.parametrize("form", list(VALUES))
@given(data=st.data())
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_json(form: str, data: st.DataObject) -> None:
    """Any JSON in place of a value, or invalid JSON."""
    row = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(VALUES[form], JSON)))
    content: object = data.draw(
        st.sampled_from(
            [row, {"document": [{"utterance": [row]}]}, {"Conversation": [row], "Speaker1": row}, [row], row.get("id")]
        )
    )
    text = json.dumps(content)
    text = data.draw(st.sampled_from([text, text[:-1], text + "\n" + text, "\ufeff" + text]))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_wav(folder / "x.wav", 0.1)
        (folder / "x.json").write_text(text, encoding="utf-8")
        try:
            list(find_corpus(name, form).recordings)
        except UserError as error:
            assert len(str(error).splitlines()) == 1


@given(st.data())
@settings(deadline=None, max_examples=100)
def test_textgrid(data: st.DataObject) -> None:
    """A valid TextGrid with lines removed, repeated or damaged."""
    with tempfile.TemporaryDirectory() as name:
        source = MAKERS["textgrid"][0](Path(name))
        path = source / "textgrid_dir" / "meeting_1.TextGrid"
        lines = path.read_text(encoding="utf-8").splitlines()
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, len(lines) - 1))
            lines[at : at + 1] = data.draw(
                st.sampled_from([[], [lines[at]] * 2, [lines[at][:-1]], [lines[at] + "x"], ["            xmin = -5"]])
            )
            if not lines:
                break
        path.write_text("\n".join(lines), encoding="utf-8")
        changes: Counter[str] = Counter()
        try:
            turns = read_textgrid(path, changes)
        except UserError as error:
            assert str(path) in str(error)
            assert len(str(error).splitlines()) == 1
        else:
            assert all(0 <= t.start_s < t.end_s and t.speaker for t in turns)


@pytest.mark.parametrize("form", list(FORMATS))
@given(content=st.binary(max_size=100))
@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
def test_any_bytes_in_any_format(form: str, content: bytes) -> None:
    names = ("wav.scp", "segments", "utt2spk", "x.rttm", "x.TextGrid", "x.json", "x.parquet", "x.wav", "train.txt")
    names = (*names, "x_recordings.jsonl", "x_supervisions.jsonl", "x.eaf", "x.csv", "x.srt")
    with tempfile.TemporaryDirectory() as name:
        for file in names:
            (Path(name) / file).write_bytes(content)
        source = Path(name)
        if form == "pyannote":
            source = source / "database.yml"
            source.write_bytes(content)
        try:
            list(find_corpus(str(source), form).recordings)
        except UserError as error:
            assert len(str(error).splitlines()) == 1


NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?"
CLOCK = r"(([0-9]+:)?[0-5]?[0-9]|[0-9]+):[0-5]?[0-9]([.,][0-9]+)?"

SPELLINGS = st.one_of(
    st.sampled_from(
        ["1.5", "2.", ".5", "5.684341886080802e-14", "15E-1", "+2", "00:00:01.5", "1:02,5", "100:00:00", "-1e-14"]
    ),
    st.sampled_from(
        ["nan", "inf", "-0.5", "1,5", "1_0", "٣", "\u22121", "0x10", "1e9", "99:99:99", "1:60", "-00:01", ""]
    ),
    st.text("0123456789.,:+-eE_x٣\u2212", max_size=8),
)


def seconds_of(spelling: str, form: str) -> float | None:
    """The time that a spelling is; None if it is none."""
    is_clock = form.endswith("clock") and re.fullmatch(CLOCK, spelling)
    if is_clock:
        *larger, last = spelling.replace(",", ".").split(":")
        minutes = int(larger[-1]) + 60 * int(larger[-2] if len(larger) > 1 else 0)
        value = 60 * minutes + float(last)
    elif form == "milliseconds":
        value = float(spelling) / 1000 if re.fullmatch(r"[0-9]+(\.[0-9]+)?", spelling) else math.nan
    else:
        is_number = form != "clock" and re.fullmatch(NUMBER, spelling, re.IGNORECASE)
        value = round(float(spelling), 6) if is_number else math.nan
    return value if 0 <= value <= LONGEST_S else None


def turns_in(path: Path) -> list[Turn]:
    (reference,) = read_turn_file(path, Counter()).values()
    return reference.turns


def turns_in_rttm(path: Path) -> list[Turn]:
    return read_rttm(path)["x"]


TEXTGRID = 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n9\n<exists>\n1\n"IntervalTier"\n"bob"\n0\n9\n2\n'
EAF = (
    "<ANNOTATION_DOCUMENT><TIME_ORDER>"
    '<TIME_SLOT TIME_SLOT_ID="1" TIME_VALUE="{}"/><TIME_SLOT TIME_SLOT_ID="2" TIME_VALUE="{}"/></TIME_ORDER>'
    '<TIER TIER_ID="bob"><ANNOTATION><ALIGNABLE_ANNOTATION TIME_SLOT_REF1="1" TIME_SLOT_REF2="2"><ANNOTATION_VALUE/>'
    "</ALIGNABLE_ANNOTATION></ANNOTATION></TIER></ANNOTATION_DOCUMENT>"
)
ONE_TURN: dict[str, tuple[str, str, Callable[[Path], list[Turn]]]] = {
    "x.csv": ("start;end;speaker\n{};{};bob\n", "number or clock", turns_in),
    "x.txt": ("start\tend\tspeaker\n{}\t{}\tbob\n", "number or clock", turns_in),
    "x.json": ('[{{"start": "{}", "end": "{}", "speaker": "bob"}}]', "number or clock", turns_in),
    "x.stm": ("x A bob {} {} yes\n", "number or clock", turns_in),
    "x.srt": ("1\n{} --> {}\nbob: yes\n", "clock", turns_in),
    "x.vtt": ("WEBVTT\n\n{} --> {} align:start\n<v bob>yes\n", "clock", turns_in),
    "x.TextGrid": (TEXTGRID + '{}\n{}\n"yes"\n3\n4\n""\n', "number", lambda path: read_textgrid(path, Counter())),
    "x.eaf": (EAF, "milliseconds", lambda path: read_eaf(path, Counter())),
    "x.rttm": ("SPEAKER x 1 {} {} <NA> <NA> bob <NA> <NA>\n", "number", turns_in_rttm),
    "x.ctm": ("x 1 {} {} yes 1 lex bob\n", "number or clock", turns_in),
}
"""The text of a file with one turn, how it spells times, and its reader; RTTM and CTM have durations for ends."""


@pytest.mark.parametrize("name", ONE_TURN)
@given(start=SPELLINGS, end=SPELLINGS)
@settings(deadline=None, max_examples=150)
def test_a_time_is_read_as_it_is_spelt_or_refused(
    name: str, start: str, end: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text, form, read = ONE_TURN[name]
    start_s, end_s = seconds_of(start, form), seconds_of(end, form)
    if end_s is not None and start_s is not None and name in ("x.rttm", "x.ctm"):
        end_s = round(start_s + end_s, 6)
    path = tmp_path_factory.getbasetemp() / name
    path.write_text(text.format(start, end), encoding="utf-8")
    if start_s is None or end_s is None or end_s < start_s or (end_s == start_s and name == "x.rttm"):
        with pytest.raises(UserError) as refusal:
            read(path)
        assert str(refusal.value).startswith(f"{path}: turn 1: " if name == "x.json" else f"{path}:")
    else:
        expected = [Turn(pytest.approx(start_s), pytest.approx(end_s), "bob")] if end_s > start_s else []
        assert read(path) == expected
