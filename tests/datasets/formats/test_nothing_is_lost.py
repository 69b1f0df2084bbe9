"""What readers do not use is named and counted, and what they cannot use is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from corpora import MAKERS, write_wav

from diarbench.datasets.conversion.convert import convert
from diarbench.datasets.conversion.corpus import SourceRecording
from diarbench.datasets.conversion.split import Split
from diarbench.datasets.formats.detect import find_corpus
from diarbench.datasets.formats.matching import NO_REFERENCE, OTHER_NAME
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.rttm import Region, Turn

NOT_READ = "files not read: beside what this format consists of"
NO_REGIONS = "recordings without a UEM although others have one, scored completely"


def read(source: Path) -> tuple[dict[str, SourceRecording], dict[str, int]]:
    """The recordings by uri, and what was counted."""
    corpus = find_corpus(str(source))
    recordings = {recording.uri: recording for recording in corpus.recordings}
    return recordings, {kind: count for kind, count in corpus.changes.items() if count}


def turn(uri: str, start_s: float = 0) -> str:
    return f"SPEAKER {uri} 1 {start_s} 1 <NA> <NA> x <NA> <NA>\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two recordings of 3 s with an RTTM file each."""
    for uri in "ab":
        write_wav(tmp_path / "in" / f"{uri}.wav")
        (tmp_path / "in" / f"{uri}.rttm").write_text(turn(uri), encoding="utf-8")
    return tmp_path / "in"


@pytest.fixture
def database(folder: Path) -> Path:
    """The same as a protocol of pyannote.database, with a UEM file each."""
    for uri in "ab":
        (folder / f"{uri}.uem").write_text(f"{uri} 1 0 2\n", encoding="utf-8")
    (folder / "all.lst").write_text("a\nb\n", encoding="utf-8")
    entry = "{uri: all.lst, annotation: '{uri}.rttm', annotated: '{uri}.uem', audio: '{uri}.wav'}"
    path = folder / "database.yml"
    path.write_text(f"Protocols:\n  D:\n    SpeakerDiarization:\n      P:\n        train: {entry}\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["kaldi", "nemo", "layout", "textgrid", "lhotse", "huggingface", "nikl", "aihub"])
def test_files_that_a_reader_does_not_look_for(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    MAKERS[name][0](tmp_path / "in")
    source = tmp_path / "in"
    assert NOT_READ not in read(source)[1]
    for path in ("all.uem", "database.yml", "more/AMI/wav.scp", "more/c.eaf"):
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_text("meeting_1 1 0 1\n", encoding="utf-8")
    assert read(source)[1][NOT_READ] == 4
    assert f"{source}: not read: all.uem, database.yml, more/AMI/wav.scp, more/c.eaf" in caplog.text


@pytest.fixture
def mixed(folder: Path) -> Path:
    """Recordings a and b with RTTM, c with subtitles, and d with a table; notes.txt and plan.csv have no turns."""
    for name, content in {
        "c.srt": "1\n00:00:00,000 --> 00:00:01,000\nx: hello\n",
        "d.CSV": "start,end,speaker\n0,1,x\n",
        "notes.txt": "ask d again\n",
        "plan.csv": "day,room\n1,2\n",
    }.items():
        (folder / name).write_text(content, encoding="utf-8")
    for uri in "cd":
        write_wav(folder / f"{uri}.wav")
    return folder


def test_references_in_several_formats_are_refused(mixed: Path) -> None:
    counts = r"in 2 formats \(--from rttm: 2 \.rttm; --from turns: 1 \.CSV, 1 \.srt\); choose one, or"
    with pytest.raises(UserError, match=counts):
        find_corpus(str(mixed))
    for name in ("rttm", "turns"):  # the way out that the message tells
        converted = convert(find_corpus(str(mixed), name), mixed.parent / name, split=Split(shares=(1, 0, 0)))
        for path in converted.root.glob("*/rttm/*.rttm"):
            shutil.copy(path, mixed)
    recordings = find_corpus(str(mixed), "rttm").recordings
    assert {r.uri: r.turns for r in recordings} == {uri: [Turn(0, 1, "x")] for uri in "abcd"}
    for path in mixed.glob("*.rttm"):
        path.unlink()
    assert find_corpus(str(mixed)).format_name == "turns"


def test_references_in_another_format_than_that_of_from_are_named(
    mixed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_wav(mixed / "e.wav")
    corpus = find_corpus(str(mixed), "rttm")
    assert [(recording.uri, Path(recording.reference.split(":")[0]).name) for recording in corpus.recordings] == [
        ("a", "a.rttm"), ("b", "b.rttm"),
    ]  # fmt: skip
    assert {kind: count for kind, count in corpus.changes.items() if count} == {NOT_READ: 2, NO_REFERENCE: 3}
    assert f"{mixed}: not read: c.srt, d.CSV (1 .CSV, 1 .srt)" in caplog.messages
    for name in ("c.srt", "d.CSV"):
        text = f"{mixed / name[0]}.wav: no reference; {name} was not read, since it has another format"
        assert text in caplog.messages
    assert f"{mixed / 'e.wav'}: no reference" in caplog.messages


def test_rows_of_a_manifest_that_span_lines(folder: Path) -> None:
    rows = [{"audio_filepath": f"{uri}.wav", "rttm_filepath": f"{uri}.rttm"} for uri in "ab"]
    manifest = folder / "manifest.json"
    for text in ("\n".join(json.dumps(row, indent=2) for row in rows), json.dumps(rows, indent=2)):
        manifest.write_text(text, encoding="utf-8")
        for source in (manifest, folder):
            with pytest.raises(UserError, match=r"manifest\.json:1: a row must be one line"):
                read(source)
    manifest.write_text(json.dumps(rows[0])[:-1] + ', "offset": 1, "offset": 2}', encoding="utf-8")
    with pytest.raises(
        UserError, match=r"manifest\.json:1: cannot be read as JSON \(an object has the key offset more"
    ):
        read(folder)
    manifest.write_text("\n\n" + "\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert list(read(manifest)[0]) == list(read(folder)[0]) == ["a", "b"]


def test_lines_that_are_almost_rttm(folder: Path) -> None:
    (folder / "a.rttm").write_text(turn("a").lower() + "SPEAKER,a,1,2,1\nSPKR-INFO a 1\n;; end\n", encoding="utf-8")
    recordings, changes = read(folder)
    assert recordings["a"].turns == [Turn(0, 1, "x")]
    assert changes == {"RTTM passed over: unknown lines": 1, "RTTM passed over: SPKR-INFO lines": 1}
    (folder / "a.rttm").write_text("SPEAKER,a,1,0,1,<NA>,<NA>,x,<NA>,<NA>\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"a\.rttm:1: neither this line nor another is a turn"):
        read(folder)


def test_a_reference_that_names_another_recording_is_counted(folder: Path) -> None:
    """A name that differs in its folder, suffix or case alone is the recording's."""
    (folder / "a.rttm").write_text(turn("elsewhere"), encoding="utf-8")
    (folder / "b.rttm").write_text(turn("audio/B.wav"), encoding="utf-8")
    recordings, changes = read(folder)
    assert recordings.keys() == {"a", "b"} and changes == {OTHER_NAME: 1}
    (folder / "a.rttm").write_text(turn("a").replace(" x ", " <NA> "), encoding="utf-8")
    with pytest.raises(UserError, match=r"a\.rttm: a has a turn without a speaker \(<NA>\); add the name"):
        read(folder)


def test_zones_that_are_not_scored(folder: Path) -> None:
    (folder / "a.rttm").write_text(turn("a") + "NOSCORE a 1 1.5 0.5 <NA> <NA> <NA> <NA>\n", encoding="utf-8")
    recordings, changes = read(folder)
    assert recordings["a"].regions == [Region(0, 1.5), Region(2, float("inf"))]
    assert recordings["b"].regions is None
    assert changes == {
        "NOSCORE and NON-LEX zones taken out of the UEM": 1, "RTTM passed over: NOSCORE lines": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("NOSCORE a 1 1.5 -0.5 <NA> <NA> <NA> <NA>", "onset 1.5, duration -0.5: expected onset >= 0 and duration >= 0"),
        ("NON-LEX a 1 -1 0.5 <NA> laugh x <NA>", "onset -1, duration 0.5: expected"),
        ("NOSCORE a 1 1.5", "4 fields where RTTM has 10"),
        ("NOSCORE a b 1 1.5 0.5 <NA> <NA> <NA> <NA> <NA>", "11 fields where RTTM has 10 .a space in a name"),
    ],
)
def test_a_zone_that_says_nothing_is_refused(line: str, message: str, folder: Path) -> None:
    (folder / "a.rttm").write_text(turn("a") + line + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=rf"a\.rttm:2: {message}"):
        read(folder)


def test_a_recording_without_regions(folder: Path) -> None:
    (folder / "all.uem").write_text("a 1 0 2\n", encoding="utf-8")
    recordings, changes = read(folder)
    assert [recordings[uri].regions for uri in "ab"] == [[Region(0, 2)], None]
    assert changes == {NO_REGIONS: 1}


def test_a_protocol_with_a_shared_uem_that_lacks_a_recording(database: Path) -> None:
    text = database.read_text(encoding="utf-8")
    database.write_text(text.replace("annotated: '{uri}.uem'", "annotated: a.uem"), encoding="utf-8")
    recordings, changes = read(database)
    assert [recordings[uri].regions for uri in "ab"] == [[Region(0, 2)], None]
    assert changes == {NO_REGIONS: 1}


@pytest.mark.parametrize(("suffix", "content"), [("rttm", turn("b")), ("uem", "b 1 0 2\n")])
def test_a_protocol_whose_files_describe_another_recording(database: Path, suffix: str, content: str) -> None:
    path = database.parent / f"a.{suffix}"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=rf"a\.{suffix}: describes b, not a; correct the name"):
        read(database)
    (database.parent / "a.rttm").write_text("", encoding="utf-8")  # nobody speaks
    (database.parent / "a.uem").write_text("a 1 0 2\n", encoding="utf-8")
    recording = read(database)[0]["a"]
    assert (recording.turns, recording.regions) == ([], [Region(0, 2)])


@pytest.mark.parametrize("content", ["", " \n\n", ";; to do\n"])
@pytest.mark.parametrize("name", ["folder", "database"])
def test_a_uem_without_a_region(name: str, content: str, request: pytest.FixtureRequest) -> None:
    source: Path = request.getfixturevalue(name)
    (source / "a.uem" if source.is_dir() else source.with_name("a.uem")).write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"a\.uem: has no region; add one"):
        read(source)


def test_files_of_a_layout_that_name_another_recording(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = MAKERS["layout"][0](tmp_path / "in")
    (source / "train" / "rttm" / "meeting_1.rttm").write_text(turn("meeting_1.mix"), encoding="utf-8")
    (source / "train" / "uem" / "회의-2.uem").unlink()
    recordings, changes = read(source)
    assert recordings["meeting_1"].turns == [Turn(0, 1, "x")]
    assert changes == {"files that name another recording than their own": 1, NO_REGIONS: 1}
    assert "meeting_1.rttm: describes meeting_1.mix, and was taken for meeting_1" in caplog.text
