"""Tables, JSON, subtitles, STM and CTM: the same two turns, and what is refused or counted."""

from __future__ import annotations

import json
import re
import string
from collections import Counter
from pathlib import Path

import pytest
from corpora import write_wav
from hypothesis import given, settings
from hypothesis import strategies as st

from diarbench.benchmarks.runs.deploy import FORMATS
from diarbench.datasets.conversion.channels import select_channel
from diarbench.datasets.formats.detect import find_corpus
from diarbench.datasets.formats.turn_files import NAMES_AS_TEXT, NO_TEXT, NOT_READ, READERS, read_turn_file
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.rttm import Region, Turn

TURNS = [Turn(0.5, 1.25, "bob"), Turn(61.0, 62.5, "Ana María")]
BOB, ANA = ({"start": turn.start_s, "end": turn.end_s, "speaker": turn.speaker} for turn in TURNS)


def read(folder: Path, name: str, text: str) -> tuple[list[Turn], dict[str, int]]:
    """The turns of a file about one recording, and what was left out."""
    changes: Counter[str] = Counter()
    (folder / name).write_text(text, encoding="utf-8")
    ((_, reference),) = read_turn_file(folder / name, changes).items()
    return reference.turns, dict(+changes)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.csv", "start,end,speaker\n0.5,1.25,bob\n61,62.5,Ana María\n"),
        ("x.csv", '\ufeffSpeaker;Text;Begin;Duration\r\nbob;a, b;0.5;0.75\r\n"Ana María";;61;1.5\r\n'),
        ("x.tsv", "label\tonset\tend_time\nbob\t00:00:00.5\t0:01.25\nAna María\t1:01\t00:01:02.500\n"),
        ("x.csv", "0.5,1.25,bob\n61,62.5,Ana María\n"),
        ("x.csv", "Start (s),End Time,Speaker\n0.5,1.25,bob\n61,62.5,Ana María\n"),
        ("x.txt", "0.500000\t1.250000\tbob\n\\\t100.0\t200.0\n61.000000\t62.500000\tAna María\n"),
        ("x.csv", "sep=;\nstart;end;speaker\n0.5;1.25;bob\n61;62.5;Ana María\n"),
        ("x.csv", "SEP=|\n0.5|1.25|bob\n61|62.5|Ana María\n"),
        ("x.json", json.dumps([BOB, ANA])),
        ("x.json", json.dumps({"turns": None, "segments": [BOB, ANA], "word_segments": [BOB]})),
        ("x.json", json.dumps({"jobId": "1", "output": {"diarization": [BOB, ANA]}})),
        ("x.json", json.dumps({"segments": [{**BOB, "words": []}, {**ANA, "start": "61"}]})),
        (
            "x.srt",
            "1\n00:00:00,500 --> 00:00:01,250\nbob: yes: no\nand more\n\n"
            "2\n00:01:01,000 --> 00:01:02,500\n[Ana María]: no\n",
        ),
        (
            "x.vtt",
            "WEBVTT\n\nNOTE who: said\n\n00:00.500 --> 00:01.250 align:start\n<v bob>yes</v>\n\n"
            "01:01.000 --> 01:02.500\n<v.loud Ana María>no\n",
        ),
    ],
)
def test_two_turns(name: str, text: str, tmp_path: Path) -> None:
    assert read(tmp_path, name, text) == (TURNS, {})


@pytest.mark.parametrize(("form", "turns"), [("json", TURNS), ("audacity", TURNS), ("json", [])])
def test_what_bench_diarize_writes(form: str, turns: list[Turn], tmp_path: Path) -> None:
    suffix, write = FORMATS[form]
    write_wav(tmp_path / "x.wav")
    (tmp_path / f"x{suffix}").write_text(write("x", turns, 70.0), encoding="utf-8")
    corpus = find_corpus(str(tmp_path))
    assert [(recording.uri, recording.turns) for recording in corpus.recordings] == [("x", turns)]
    assert not +corpus.changes


def test_two_voices_in_a_subtitle(tmp_path: Path) -> None:
    cue = "00:01.000 --> 00:02.000\n"
    for text in ("- a: yes\n- b: no\n", "<v a>yes</v> <v b>no</v>\n"):
        assert read(tmp_path, "x.vtt", cue + text)[0] == [Turn(1, 2, "a"), Turn(1, 2, "b")]


@pytest.mark.parametrize(
    ("text", "turns", "as_text"),
    [
        # A line break in the text of Teams; the name is text even where another subtitle begins with it.
        ("<v a>The plan.\nb: we do it</v>\n", ["a"], 1),
        ("<v a>yes</v>\n- b: no\n<v c>well\n", ["a", "c"], 1),
        ("a: three points.\nFirst: do it\nSecond: rest\n", ["a"], 2),
        ("a: yes\nb: no\n", ["a", "b"], 0),
        ("- a: yes\n- c: no\n- d: well\n", ["a", "c", "d"], 0),
        ("- a: yes\nc: no\n", ["a"], 1),
        ("a: yes\n- c: no\n", ["a"], 1),
    ],
)
def test_a_name_on_a_later_line_of_a_subtitle(
    text: str, turns: list[str], as_text: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, last = "00:01.000 --> 00:02.000\n", "\n00:05.000 --> 00:06.000\nb: yes\n"
    expected = [*(Turn(1, 2, name) for name in turns), Turn(5, 6, "b")]
    for suffix in (".srt", ".vtt"):
        caplog.clear()
        changes = {NAMES_AS_TEXT: as_text} if as_text else {}
        assert read(tmp_path, f"x{suffix}", first + text + last) == (expected, changes)
        assert len(re.findall(rf"x\{suffix}:\d: \w+: read as text, not as a speaker", caplog.text)) == as_text


def test_labels_of_audacity_with_commas(tmp_path: Path) -> None:
    text = "0.0\t1.5\tana, bob, carl, dan\n2.0\t2.5\tbob\n"
    assert read(tmp_path, "x.txt", text)[0] == [Turn(0, 1.5, "ana, bob, carl, dan"), Turn(2, 2.5, "bob")]


@pytest.mark.parametrize("name", ["x.srt", "x.vtt", "x.stm", "x.ctm"])
def test_an_empty_file_says_that_nobody_speaks(name: str, tmp_path: Path) -> None:
    write_wav(tmp_path / "x.wav", 0.1)
    (tmp_path / name).write_text("")
    corpus = find_corpus(str(tmp_path))
    assert [(recording.uri, recording.turns) for recording in corpus.recordings] == [("x", [])]


def test_what_subtitles_may_have(tmp_path: Path) -> None:
    """W3C's WebVTT: a header with metadata, comments, styles, regions, names of cues, settings; no hours, or many."""
    text = (
        "\ufeffWEBVTT - talk\nKind: captions\n\nSTYLE\n::cue(v) { color: red }\n\nREGION\nid:left\nwidth:40%\n\n"
        "NOTE two\nlines\n\nintroduction\n00:01.000-->00:02.000\tregion:left align:start\n<v a>yes\n"
        "1\n100:00:00.5 --> 100:00:01\nb: no blank line before\n\n00:03.000 --> 00:04.000\n\n7\n\n"
    )
    for ending in ("\n", "\r\n", "\r"):
        (tmp_path / "x.vtt").write_bytes(text.replace("\n", ending).encode())
        changes: Counter[str] = Counter()
        (reference,) = read_turn_file(tmp_path / "x.vtt", changes).values()
        assert reference.turns == [Turn(1, 2, "a"), Turn(360_000.5, 360_001, "b")]
        assert changes == {NO_TEXT: 1}


def test_styles_are_no_part_of_a_speakers_name(tmp_path: Path) -> None:
    cue = "00:00:01,000 --> 00:00:02,000\n"
    for text in ("<i>a: yes</i>", "{\\an8}a: yes", '<font color="#ff0000">a:</font> yes', "<v a><c.loud>yes</c>"):
        assert read(tmp_path, "x.srt", f"{cue}{text}\n")[0] == [Turn(1, 2, "a")]


def test_stm(tmp_path: Path) -> None:
    path = tmp_path / "test.stm"
    path.write_text(
        ";; CATEGORY\nx A bob 0.5 1.25 <o,f0,male> YES\nx A inter_segment_gap 1.25 61\n"
        "x A excluded_region 3 5 IGNORE_TIME_SEGMENT_IN_SCORING\nx A ana 61 62.5\ny A bob 0 1 NO\n"
    )
    changes: Counter[str] = Counter()
    references = read_turn_file(path, changes)
    assert references["x"].turns == [Turn(0.5, 1.25, "bob"), Turn(61, 62.5, "ana")]
    assert references["x"].regions == [Region(0, 3), Region(5, float("inf"))]
    assert references["y"] == ([Turn(0, 1, "bob")], None, ["A"])
    assert changes == {"STM segments left out: gaps between turns": 1}
    write_wav(tmp_path / "x.wav", 0.1)
    write_wav(tmp_path / "y.wav", 0.1)
    assert {r.uri: r.subset for r in find_corpus(str(tmp_path)).recordings} == {"x": "test", "y": "test"}


def test_ctm(tmp_path: Path) -> None:
    lines = "x 1 0.5 0.75 YES 0.9 lex bob\nx 1 1.25 0.1 <breath> NA non-lex bob\nx 1 61 1.5 NO 1 fp ana\n"
    turns = [Turn(0.5, 1.25, "bob"), Turn(61, 62.5, "ana")]
    assert read(tmp_path, "x.ctm", lines) == (turns, {"CTM tokens left out: no speech": 1})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.stm", "x A bob 0.5 1.25 YES\nx B ana 0 1 NO\n"),
        ("x.ctm", "x 1 0.5 0.75 YES 0.9 lex bob\nx 2 0 1 NO 0.9 lex ana\n"),
        ("x.csv", "start,end,speaker,channel\n0.5,1.25,bob,0\n0,1,ana,1\n"),
    ],
)
def test_the_turns_of_a_channel(name: str, text: str, tmp_path: Path) -> None:
    write_wav(tmp_path / "x.wav", channels=2)
    (tmp_path / name).write_text(text)
    (recording,) = select_channel(find_corpus(str(tmp_path)), 0).recordings
    assert recording.turns == TURNS[:1]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.csv", "start,end,speaker\n0,1,a\n1,2\n", "x.csv:3: 2 values where a row has 3, with the columns start"),
        # Decimal commas, a row of pandas' with its index, and what is not a row.
        (
            "x.csv",
            "start,end,speaker\n1.5,3.2,a\n4,5,6,5,a\n",
            "x.csv:3: 5 values where a row has 3, with the columns st",
        ),
        (
            "x.csv",
            "0,5,1,5,a\n",
            "x.csv:1: 5 values where a row has 3, with the columns start, end, speaker; decimals need",
        ),
        ("x.csv", "0;1;a;b\n", "x.csv:1: 4 values where a row has 3"),
        ("x.csv", "start,text,end,speaker\n0,1,a\n", "x.csv:2: 3 values where a row has 4"),
        (
            "x.csv",
            'start,end,speaker\n0,1,"a\n1,2,b\n',
            "x.csv:2: not a row of a table .unexpected end of data.; correct",
        ),
        ("x.csv", "0,5;1,5;a\n", "x.csv:1: '0,5' is not a time in seconds .use a point for decimals"),
        ("x.csv", "start,end,speaker\n0,٣,a\n", "x.csv:2: '٣' is not a time"),
        ("x.csv", "start,end,speaker\n0,1_0,a\n", "x.csv:2: '1_0' is not a time"),
        (
            "x.csv",
            "start,end,speaker\n0,99:99:99,a\n",
            "x.csv:2: '99:99:99' is not a time; expected seconds or HH:MM:SS",
        ),
        ("x.csv", "start,end,speaker\n0,1:60,a\n", "x.csv:2: '1:60' is not a time"),
        ("x.csv", f"start,end,speaker\n0,{'9' * 5000}:0:0,a\n", "x.csv:2: '9{40}' is not a time"),
        ("x.csv", "start,end,speaker\n0,1700000000,a\n", "x.csv:2: '1700000000' s is later than three years"),
        (
            "x.csv",
            "file,start,end,speaker\na/x.wav,0,1,a\nb/x.wav,0,1,a\n",
            "x.csv:3: b/x.wav would be x, as is a/x.wav; ren",
        ),
        ("x.csv", "start,end,speaker\n0,1,\n", "x.csv:2: a turn without a speaker"),
        ("x.csv", "start;end;speaker\n0,5;1,5;a\n", "x.csv:2: '0,5' is not a time in seconds"),
        ("x.tsv", "start\tduration\tspeaker\n1\tlong\ta\n", "x.tsv:2: 'long' is not a time in seconds"),
        ("x.json", json.dumps([BOB, {**ANA, "speaker": None}]), "x.json: turn 2: a turn without a speaker"),
        ("x.json", json.dumps([BOB, 7]), "x.json: turn 2: not an object with start"),
        ("x.json", json.dumps({"segments": [{"start": 0, "end": 1}, BOB]}), "x.json: turn 1: a turn without a speaker"),
        ("x.json", '{"turns": 7}', "x.json: no list of turns"),
        (
            "x.json",
            json.dumps({"turns": [], "segments": [BOB]}),
            r"x.json: several lists of turns \(turns, segments\); keep one of them",
        ),
        (
            "x.json",
            json.dumps({"turns": [BOB], "output": {"diarization": [BOB]}}),
            r"x.json: several lists of turns \(turns, output.diarization\); keep",
        ),
        (
            "x.json",
            '{"turns": [{"start": 0, "end": 1, "end": 2, "speaker": "a"}]}',
            "x.json: .* key end more than once",
        ),
        ("x.srt", "1\n00:00:01,000 --> 00:00:02,000\nhttp://a.b\n", "x.srt:3: no speaker; expected 'NAME: text'"),
        # YouTube's automatic subtitles begin with a line of one space.
        *(
            (
                name,
                "00:00:00.000 --> 00:00:02.000 align:start\n \nhello<00:00:00.320><c> world</c>\n",
                f"{name}:3: no sp",
            )
            for name in ("x.srt", "x.vtt")
        ),
        ("x.srt", "1\n00:00:02,000 --> 00:00:01,000\na: b\n", "x.srt:3: a turn from 2.0 to 1.0"),
        (
            "x.srt",
            "1\n00:00:01 -> 00:00:02\na: b\n",
            "x.srt:2: '00:00:01 -> 00:00:02' where the times of a subtitle belong, HH:MM:SS,mmm -->",
        ),
        ("x.srt", "1\n00:00:01 \u2013> 00:00:02\na: b\n", "x.srt:2: '00:00:01 .> 00:00:02' where the times of a"),
        *(
            (
                "x.srt",
                f"00:01,000 --> 00:02,000\na: b\n2\n00:03,000 {arrow} 00:04,000\nc: d\n",
                f"x.srt:4: '00:03,000 {arrow} 00:04,000' is not HH:MM:SS,mmm --> HH:MM:SS,mmm; correct it",
            )
            for arrow in ("->", ">", "\u2013>", "==>")
        ),
        ("x.srt", "1\n1 --> 0x10\na: b\n", "x.srt:2: '1 --> 0x10' is not HH:MM:SS,mmm --> HH:MM:SS,mmm; correct it"),
        ("x.srt", "a: hi\nb: hello\n", "x.srt:1: 'a: hi' where the times of a"),
        (
            "x.srt",
            "1\n00:00:01,000 --> 00:00:02,000\na: b\n\na: after an empty line\n",
            "x.srt:5: 'a: after an empty line'",
        ),
        ("x.vtt", "WEBVTT\n\nlost\n\n00:01.000 --> 00:02.000\n<v a>b\n", "x.vtt:3: 'lost' where the times of a"),
        ("x.vtt", "NOTE\n\na\nb\n00:01.000 --> 00:02.000\n<v a>b\n", "x.vtt:3: 'a' where the times of a"),
        *(
            ("x.vtt", f"00:01.000 --> {time}\n<v a>b\n", f"x.vtt:1: .*{time}' is not HH:MM:SS,mmm --> HH:MM:SS,mmm")
            for time in ("nan", "1e9", "5", "-00:02.000", "00:60.000", "01:60:00.000", "٣:٣٣.٣٣٣", "00:02.000x", "")
        ),
        (
            "x.stm",
            "x A zone 5 3 IGNORE_TIME_SEGMENT_IN_SCORING\n",
            "x.stm:1: a turn from 5 to 3; expected 0 <= start < end",
        ),
        ("x.csv", "start,end,speaker\x0b0,1,bob\n", "x.csv:1: no columns start, end and speaker, one of each; add a"),
        ("x.csv", "start,end,speaker 1,speaker 2\n0,1,a,\n", "x.csv:1: no columns start, end and speaker, one of each"),
        (
            "x.stm",
            "x A bob 0.5 1.25 YES\u2028x A bob 2 3 NO\n",
            "x.stm:1: has a separator of lines within; end each line with",
        ),
        (
            "x.stm",
            "x A speaker 1 5.5 8.25 <o,f0,male> hi\n",
            "x.stm:1: 1, 5.5 and 8.25 before <o,f0,male>, where STM has a start and an end; take the space out of",
        ),
        ("x.stm", "x A bob 0.5\n", "x.stm:1: 4 fields where STM has recording"),
        ("x.ctm", "x 1 0.5 0.75 YES 0.9\n", "x.ctm:1: 6 fields where CTM with speakers has recording"),
    ],
)
def test_what_is_refused(name: str, text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path, name, text)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "x.csv",
            b"start_ms,end_ms,speaker\n0,1000,bob\n",
            r"x\.csv:1: no columns start, end and speaker, one of each; add",
        ),
        (
            "x.csv",
            "start,end,speaker\n0,1,José\n".encode("latin-1"),
            r"x\.csv: not UTF-8 text \(byte \d+\); save it as",
        ),
        (
            "x.json",
            b'{"turns": [{"start": 0, "end": 1, "speaker": "a"}], "turns": []}',
            r"x\.json: cannot be read as JSON \(an object has the key turns more than once; keep one of them\)",
        ),
        ("x.json", b'{"utterances": []}', r"x\.json: no list of turns with start, end and speaker"),
        ("x.yml", b"Databases:\n\tMade: x\n", r"x\.yml:2: not YAML of plain values"),
        ("x.yaml", b"- Made\n", r"x\.yaml: not a pyannote\.database YAML, which has Protocols by database and task"),
    ],
)
def test_the_reason_is_that_of_the_file_beside_the_audio(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    write_wav(tmp_path / "x.wav")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        list(find_corpus(str(tmp_path / name if "y" in name else tmp_path)).recordings)


def test_files_without_turns_are_counted(tmp_path: Path) -> None:
    write_wav(tmp_path / "x.wav", 0.1)
    (tmp_path / "x.csv").write_text("start,end,speaker\n")
    (tmp_path / "notes.txt").write_text("Recorded on Monday.\n")
    (tmp_path / "settings.json").write_text('{"turns": "none", "a": 1, "a": 2}')
    corpus = find_corpus(str(tmp_path))
    assert [recording.turns for recording in corpus.recordings] == [[]]
    assert corpus.changes == {NOT_READ: 2}


TOKENS = st.one_of(
    st.sampled_from(["start", "end", "speaker", "0", "1.5", "0:01", "-1", "nan", "1e400", "00:01.0 --> 00:02.0"]),
    st.sampled_from(["a:", "<v a>", '"', "\\", ";;", "lex", '{"turns": [', '{"start": 1, "speaker": 0}', "]}", "\x00"]),
    st.text(string.printable, max_size=3),
)
TEXTS = st.lists(st.tuples(TOKENS, st.sampled_from([" ", ",", "\t", ";", "\n"])), max_size=25)


@pytest.mark.parametrize("suffix", sorted(READERS))
@given(tokens=TEXTS)
@settings(deadline=None, max_examples=40)
def test_any_text_is_read_or_refused_in_one_line(
    suffix: str, tokens: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / f"fuzzed{suffix}"
    path.write_text("".join(token + separator for token, separator in tokens), encoding="utf-8")
    try:
        references = read_turn_file(path, Counter())
    except UserError as error:
        assert str(path) in str(error)
        assert len(str(error).splitlines()) == 1
    else:
        assert all(0 <= t.start_s < t.end_s and t.speaker for reference in references.values() for t in reference.turns)


SUBTITLE_LINES = st.sampled_from(
    [
        "1",
        "",
        "",
        "00:01.000 --> 00:02.000",
        "00:01.000 -> 00:02.000",
        "00:01 \u2013> 00:02",
        "1 --> 0x10",
        "{}: hi",
        "{}: hi",
    ]
)


@given(lines=st.lists(SUBTITLE_LINES, max_size=12))
@settings(deadline=None, max_examples=200)
def test_no_line_of_a_subtitle_is_lost(lines: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "lines.srt"
    path.write_text("\n".join(line.format(f"speaker {number}") for number, line in enumerate(lines)), encoding="utf-8")
    changes: Counter[str] = Counter()
    try:
        references = read_turn_file(path, changes)
    except UserError as error:
        assert re.match(rf"{re.escape(str(path))}:\d+: ", str(error))
    else:
        is_first = {number: lines[number - 1].startswith("00:") for number, line in enumerate(lines) if "hi" in line}
        assert references[""].turns == [Turn(1, 2, f"speaker {number}") for number, first in is_first.items() if first]
        assert changes[NAMES_AS_TEXT] == list(is_first.values()).count(False)


@pytest.mark.parametrize("header", ["start,end,speaker", "text,start,end,speaker", ""])
@given(rows=st.lists(st.lists(st.sampled_from(["0", "5", "7.5", "a", ""]), min_size=1, max_size=6), max_size=4))
@settings(deadline=None, max_examples=200)
def test_no_value_of_a_table_moves_to_another_column(
    header: str, rows: list[list[str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "rows.csv"
    path.write_text("\n".join([*([header] if header else []), *map(",".join, rows)]), encoding="utf-8")
    try:
        references = read_turn_file(path, Counter())
    except UserError as error:
        assert re.match(rf"{re.escape(str(path))}:\d+: ", str(error))
    else:
        width = len(header.split(",")) if header else 3
        whole = [row[:width] for row in rows if any(row)]
        assert all(
            len(row) == width and not any(more[width:]) for row, more in zip(whole, filter(any, rows), strict=True)
        )
        turns = [Turn(float(row[-3]), float(row[-2]), row[-1]) for row in whole]
        assert references[""].turns == [turn for turn in turns if turn.end_s > turn.start_s]
