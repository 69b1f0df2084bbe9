"""``bench score`` and ``bench compare`` on the command line, on typical and on malformed files."""

from __future__ import annotations

import json
import re
import sys
import unicodedata

import pytest

from diarbench.benchmarks.cli.__main__ import main
from diarbench.benchmarks.cli.score import _above

REFERENCE = [("r", 0, 5, "A"), ("r", 5, 10, "B"), ("s", 0, 4, "A")]
HYPOTHESIS = [("r", 0, 6, "x"), ("r", 6, 10, "y"), ("s", 0, 3, "x"), ("s", 4, 5, "x")]


def line(uri, start, end, speaker):
    return f"SPEAKER {uri} 1 {start} {end - start} <NA> <NA> {speaker} <NA> <NA>\n"


def write(path, turns):
    path.write_text("".join(line(*turn) for turn in turns), encoding="utf-8")
    return path


@pytest.fixture
def files(tmp_path):
    uem = tmp_path / "all.uem"
    uem.write_text("r 1 0 10\ns 1 0 5\n")
    return write(tmp_path / "ref.rttm", REFERENCE), write(tmp_path / "hyp.rttm", HYPOTHESIS), uem


@pytest.fixture
def bench(monkeypatch, capsys):
    """Run the command; returns exit code, stdout and stderr."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, words)])
        with pytest.raises(SystemExit) as stopped:
            main()
            sys.exit(0)
        captured = capsys.readouterr()
        return stopped.value.code or 0, captured.out, captured.err

    return run


@pytest.mark.parametrize("separator", [" ", "\t"])
def test_note_on_several_channels(bench, files, separator):
    reference, hypothesis, uem = files
    reference.write_text(reference.read_text().replace("SPEAKER r 1 5", "SPEAKER r 2 5").replace(" ", separator))
    notes = as_json(bench, "score", reference, hypothesis, "--uem", uem)["notes"]
    assert notes == [f"{reference}: turns on several channels are scored as one recording: r"]


def as_json(bench, *words):
    code, out, _ = bench(*words, "--json")
    assert code == 0
    return json.loads(out)


def test_score_as_json(bench, files):
    reference, hypothesis, uem = files
    result = as_json(bench, "score", reference, hypothesis, "--uem", uem, "--per-file", "--cross-check")
    assert list(result["conditions"]) == ["full", "fair", "forgiving"]
    full = result["conditions"]["full"]
    # In r, one second of B goes to x, which is mapped to A; in s, one second is missed and one is false alarm.
    assert {key: full[key] for key in ("total", "miss", "false_alarm", "confusion")} == {
        "total": 14.0, "miss": 1.0, "false_alarm": 1.0, "confusion": 1.0,
    }  # fmt: skip
    assert full["der"] == 3 / 14
    assert full["fractions"] == {"miss": 1 / 14, "false_alarm": 1 / 14, "confusion": 1 / 14}
    assert full["files"]["s"]["miss"] == 1.0 and full["files"]["r"]["confusion"] == 1.0
    assert (full["interval"]["unit"], full["interval"]["units"]) == ("recordings", 2)
    assert full["protocol"] == {"name": "full", "collar_s": 0.0, "score_overlap": True}
    assert (
        result["conditions"]["fair"]["total"] == 14 - 6 * 0.25
    )  # the collar removes 0.25 s at both ends of three turns
    assert result["largest_difference_s"] <= 1e-6 and result["agrees_with"].startswith("pyannote.metrics")
    assert (result["notes"], result["recordings"], result["groups"], result["groups_unknown"]) == ([], 2, 2, 2)


def test_score_as_tables(bench, files):
    reference, hypothesis, uem = files
    code, out, err = bench("score", reference, hypothesis, "--uem", uem, "--per-file", "--slices", "--metrics")
    assert (code, err) == (0, "")
    assert "21.43" in out  # 3 / 14
    for expected in (
        "full (no collar, overlap scored)",
        "forgiving (collar ±0.25 s, overlap left out)",
        "worst regions",
        "jaccard error rate",
        "Intervals are over 2 recordings. Shared speakers are not known.",
    ):
        assert expected in out


def test_folders_and_empty_files(bench, tmp_path, files):
    reference, hypothesis, uem = files
    for name, turns in (("ref", REFERENCE), ("hyp", HYPOTHESIS)):
        (tmp_path / name).mkdir()
        for uri in "rs":
            write(tmp_path / name / f"{uri}.rttm", [turn for turn in turns if turn[0] == uri])
    single_files = as_json(bench, "score", reference, hypothesis, "--uem", uem)
    folders = as_json(bench, "score", tmp_path / "ref", tmp_path / "hyp", "--uem", uem)
    assert folders == single_files
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "of another disk").symlink_to(tmp_path / "ref")
    assert as_json(bench, "score", tmp_path / "linked", tmp_path / "hyp", "--uem", uem) == folders
    (tmp_path / "ref" / "s.rttm").write_text("")
    result = as_json(bench, "score", tmp_path / "ref", tmp_path / "hyp", "--uem", uem, "--per-file")
    assert result["conditions"]["full"]["files"]["s"]["false_alarm"] == 4.0


@pytest.mark.parametrize(
    ("text", "collar_s", "score_overlap"), [("0.1+overlap", 0.1, True), ("0.5-overlap", 0.5, False)]
)
def test_custom_condition(bench, files, text, collar_s, score_overlap):
    reference, hypothesis, _ = files
    result = as_json(bench, "score", reference, hypothesis, "--condition", text)["conditions"]
    assert result[text]["protocol"] == {"name": text, "collar_s": collar_s, "score_overlap": score_overlap}


@pytest.mark.parametrize("text", ["fulll", "0.1", "-1+overlap", "nan+overlap", "1e300+overlap", "0.1+overlaps"])
def test_unknown_condition_is_rejected(bench, files, text):
    code, out, err = bench("score", *files[:2], "--condition", text)
    assert code == 1 and out == "" and f"--condition {text}" in err


def test_notes_on_missing_recordings(bench, tmp_path):
    reference = write(tmp_path / "ref.rttm", [("a", 0, 5, "A"), ("b", 0, 5, "A")])
    hypothesis = write(tmp_path / "hyp.rttm", [("b", 0, 5, "x"), ("c", 0, 5, "x"), ("d", 0, 5, "x")])
    uem = tmp_path / "all.uem"
    uem.write_text("a 1 0 5\nc 1 0 3\ne 1 0 9\n")
    result = as_json(bench, "score", reference, hypothesis, "--uem", uem, "--per-file")
    assert {uri: (f["miss"], f["false_alarm"]) for uri, f in result["conditions"]["full"]["files"].items()} == {
        "a": (5, 0), "b": (0, 0), "c": (0, 3),
    }  # fmt: skip
    assert [note.replace(str(tmp_path), "") for note in result["notes"]] == [
        "/all.uem: no regions for 1 recording (b); scored from 0 to the last turn end in reference and hypotheses",
        "1 recording in the UEM without reference, all speech is false alarm: c",
        "/hyp.rttm: 1 recording missing, all reference speech is missed: a",
        "/hyp.rttm: 1 recording without reference, not scored: d",
        "/all.uem: 1 recording in neither reference nor hypothesis: e",
        "/hyp.rttm: 2.000 s of speech outside the scored regions, not scored",
    ]


def test_notes_on_merged_and_skipped_lines(bench, tmp_path):
    reference = write(tmp_path / "ref.rttm", [("a", 0, 5, "A"), ("a", 4, 6, "A"), ("a", 6, 7, "A"), ("a", 8, 8, "B")])
    reference.write_text(";; made by hand\nSPKR-INFO a 1 <NA> <NA> <NA> unknown A <NA>\n" + reference.read_text())
    with reference.open("a", encoding="utf-8") as file:
        file.write("SPEAKER,a,1,20,5,<NA>,<NA>,A,<NA>,<NA>\nSPEAKER,a,1,30,5,<NA>,<NA>,A,<NA>,<NA>\n")
    result = as_json(bench, "score", reference, reference, "--condition", "full")
    assert result["conditions"]["full"]["total"] == 7
    assert {note.replace(str(tmp_path), "") for note in result["notes"]} == {
        "no --uem; scored from 0 to the last turn end in reference and hypotheses",
        "/ref.rttm: 1 zero-length turn skipped, the first at /ref.rttm:6",
        "/ref.rttm: 1 SPKR-INFO line skipped",
        "/ref.rttm: 2 unknown lines skipped",
        "/ref.rttm: 1 turn merged into overlapping turns of the same speaker",
    }


def test_overlapping_regions_are_merged(bench, files, tmp_path):
    (tmp_path / "twice.uem").write_text("r 1 0 4\nr 1 2 8\nr 1 8 10\ns 1 0 5\n")
    once, twice = (as_json(bench, "score", *files[:2], "--uem", uem) for uem in (files[2], tmp_path / "twice.uem"))
    assert twice["conditions"] == once["conditions"]
    assert twice["notes"] == [f"{tmp_path}/twice.uem: 1 region merged into overlapping regions"]


def test_lines_that_are_read_as_md_eval_reads_them(bench, files, tmp_path):
    """Types in lower case, and comments of RTTM and UEM."""
    expected = as_json(bench, "score", *files[:2], "--uem", files[2])
    files[0].write_text("# by hand\n" + files[0].read_text().replace("SPEAKER", "speaker"))
    files[2].write_text("; NIST\n # ours\n" + files[2].read_text())
    assert as_json(bench, "score", *files[:2], "--uem", files[2]) == expected


def test_zones_that_are_not_scored(bench, files, tmp_path):
    """NOSCORE from 1 to 2 s, and in both turns of r a cough of 0.1 s, which excludes 0.5 s more at both ends."""
    reference, hypothesis, uem = files
    zones = "NOSCORE r 1 1 1 <NA> <NA> <NA> <NA>\nnon-lex r 1 4 0.1 <NA> cough A <NA>\n"
    reference.write_text(reference.read_text() + zones + "NON-LEX r 1 5.2 0.1 <NA> cough B <NA>\n")
    result = as_json(bench, "score", reference, hypothesis, "--uem", uem, "--condition", "full", "--per-file")
    # from 3.5 to 4.6 s, and from 5 s, where the second turn starts, to 5.8 s
    scored = result["conditions"]["full"]["files"]["r"]
    assert [scored[part] for part in ("total", "miss", "false_alarm", "confusion")] == pytest.approx([7.1, 0, 0, 0.2])
    assert f"{reference}: 2.900 s in NOSCORE and NON-LEX zones, not scored" in result["notes"]


@pytest.mark.parametrize(
    ("name", "old"), [("meetings/R.wav", "r"), ("\uff32", "r"), ("r.WAV", "r"), ("/data/r.wav", None), ("other", None)]
)
def test_a_hypothesis_with_other_names_is_refused(bench, files, tmp_path, name, old):
    hypothesis = write(tmp_path / "named.rttm", [(name, 0, 5, "x")])
    code, out, err = bench("score", files[0], hypothesis)
    assert code == 1 and out == "" and err.count("\n") == 1 and name in err
    assert name[0] != "/" or "rename the recording, for example r\n" in err
    if old:
        assert f"its names are {name}; those of {files[0]} are r, s; rename {name} to {old}\n" in err
    write(hypothesis, [(name, 0, 5, "x"), ("s", 0, 5, "x")])
    if old:  # one of the two names is right
        missing = f"{hypothesis}: 1 recording missing, all reference speech is missed: r; rename {name} to r"
        assert missing in as_json(bench, "score", files[0], hypothesis)["notes"]


def test_names_with_dots_and_other_scripts(bench, tmp_path):
    names = ["a.b.c", "réunion_Ü", "会議01"]
    reference = write(tmp_path / "ref.rttm", [(name, 0, 5, speaker) for name in names for speaker in ("1", "Zoë")])
    hypothesis = write(
        tmp_path / "hyp.rttm",
        [(unicodedata.normalize("NFD", name), 0, 5, speaker) for name in names for speaker in ("2", "1")],
    )
    uem = tmp_path / "all.uem"
    uem.write_text("".join(f"{name} 1 0 3\n" for name in names), encoding="utf-8")
    result = as_json(bench, "score", reference, hypothesis, "--uem", uem)["conditions"]["full"]
    assert (result["total"], result["der"]) == (3 * 3 * 2, 0)


GOOD = line("r", 0, 5, "A")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "SPEAKER r 1 0 5 <NA> <NA> A\n", "bad.rttm:2: 8 fields"),
        (GOOD + "SPEAKER r 1 0 5 <NA> <NA> two words <NA> <NA>\n", "bad.rttm:2: 11 fields"),
        (GOOD + "SPEAKER r 1 0 5 <NA> <NA> two words <NA>\n", "bad.rttm:2: 10 fields where RTTM has 9 or 10 (a space"),
        (GOOD + "SPEAKER my r 1 0 5 <NA> <NA> A <NA>\n", "bad.rttm:2: 10 fields where RTTM has 9 or 10 (a space in a"),
        ("SPEAKER r 1 ٣ 5 <NA> <NA> A <NA> <NA>\n", "bad.rttm:1: '٣' is not a time"),
        ("SPEAKER r 1 1.7e9 5 <NA> <NA> A <NA> <NA>\n", "bad.rttm:1: '1.7e9' s is later than three years; give"),
        ("SPEAKER r 1 nan 5 <NA> <NA> A <NA> <NA>\n", "bad.rttm:1: 'nan' is not a time"),
        ("SPEAKER r 1 0 inf <NA> <NA> A <NA> <NA>\n", "bad.rttm:1: 'inf' is not a time"),
        ("SPEAKER r 1 0,5 1 <NA> <NA> A <NA> <NA>\n", "bad.rttm:1: '0,5' is not a time"),
        ("SPEAKER r 1 -1 5 <NA> <NA> A <NA> <NA>\n", "bad.rttm:1: onset -1"),
        ("SPEAKER r 1 5 -1 <NA> <NA> A <NA> <NA>\n", "bad.rttm:1: onset 5, duration -1"),
        (";; nothing but a comment\n", "no SPEAKER lines"),
        ("SPEAKER,r,1,0,5,<NA>,<NA>,A,<NA>,<NA>\n", "bad.rttm:1: neither this line nor another is a turn"),
        ("# comment\nSPKR-INFO r 1 <NA> <NA> <NA> unknown A <NA>\n", "bad.rttm:2: neither this line nor another"),
        ("\xff", "not UTF-8"),
        (None, "cannot be read"),
    ],
)
@pytest.mark.parametrize("side", ["reference", "hypothesis"])
def test_bad_rttm_is_rejected_with_file_and_line(bench, files, tmp_path, text, message, side):
    bad = tmp_path / "bad.rttm"
    if text is not None:
        bad.write_bytes(text.encode("latin-1" if text == "\xff" else "utf-8"))
    words = [bad, files[1]] if side == "reference" else [files[0], bad]
    code, out, err = bench("score", *words)
    if text and text.startswith(";;") and side == "hypothesis":
        assert code == 0 and "2 recordings missing, all reference speech is missed: r, s" in out
    else:
        assert code == 1 and out == "" and message in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("r 1 0\n", "bad.uem:1: 3 fields"),
        ("r 1 0 5\nr 1 5 5\n", "bad.uem:2: region 5 to 5"),
        ("r 1 -1 5\n", "bad.uem:1: region -1 to 5"),
        ("r 1 0 nan\n", "bad.uem:1: 'nan' is not a time"),
        (" \n;; nothing\n", "bad.uem: has no region; add one"),
    ],
)
def test_bad_uem_is_rejected_with_file_and_line(bench, files, tmp_path, text, message):
    (tmp_path / "bad.uem").write_text(text)
    code, out, err = bench("score", *files[:2], "--uem", tmp_path / "bad.uem")
    assert code == 1 and out == "" and message in err


def test_recording_in_two_files_is_rejected(bench, files, tmp_path):
    (tmp_path / "twice").mkdir()
    for name in ("one", "two"):
        write(tmp_path / "twice" / f"{name}.rttm", [("r", 0, 5, "A")])
    code, _, err = bench("score", tmp_path / "twice", files[1])
    assert code == 1 and "two.rttm:1: r is also in" in err


def test_empty_folder_is_rejected(bench, files, tmp_path):
    (tmp_path / "none").mkdir()
    code, _, err = bench("score", files[0], tmp_path / "none")
    assert code == 1 and "no .rttm files" in err


def test_compare(bench, tmp_path):
    uris = [f"r{i}" for i in range(12)]
    reference = write(tmp_path / "ref.rttm", [(uri, 0, 10, "A") for uri in uris])
    worse = write(tmp_path / "worse.rttm", [(uri, 0, 6 + i % 3, "x") for i, uri in enumerate(uris)])
    better = write(tmp_path / "better.rttm", [(uri, 0, 9, "x") for uri in uris])
    words = ("compare", reference, worse, better, "--condition", "full", "--slices", "--per-file")
    result = as_json(bench, *words)["conditions"]["full"]
    systems = result["systems"]
    assert list(systems) == ["silence", "one speaker", "worse", "better", "DOVER-Lap of the two"]
    assert [system["der"] for system in systems.values()] == [1, 0, 0.3, 0.1, pytest.approx(0.2, abs=0.1)]
    assert result["difference"]["der"] == pytest.approx(-0.2)
    assert result["difference"]["p"] == 2 / 2**12
    assert result["difference"]["interval"]["units"] == 12
    assert result["difference"]["verdict"].startswith("better is better than worse by 20.00 points of DER")
    assert sum(result["explains"]["speech"].values()) == pytest.approx(-0.2)
    assert result["files"]["r0"]["worse"]["miss"] == 4.0
    code, out, err = bench(*words)
    assert (code, err) == (0, "")
    verdict = "full (no collar, overlap scored)\nB is better than A by 20.00 points of DER"
    assert f"A: {worse}\nB: {better}\n\n{verdict}" in out
    assert "\nB minus A: -20.00 points of DER" in out and "points explained" in out
    assert (out.count(str(worse)), out.count("worse"), out.count("12 favour B")) == (1, 1, 1)
    assert re.search(r"^A .*30\.00", out, re.MULTILINE) and re.search(r"^B .*10\.00", out, re.MULTILINE)


def test_score_fails_above_a_rate(bench, files):
    reference, hypothesis, uem = files  # 3 of 14 s are wrong: 21.43 %
    words = ("score", reference, hypothesis, "--uem", uem)
    assert bench(*words, "--fail-above", 21.5)[0] == 0
    code, out, err = bench(*words, "--fail-above", 21.4)
    assert code == 1 and "21.43" in out
    assert err == f"bench: {hypothesis}: DER of 21.43 % under full, above --fail-above 21.4\n"
    assert bench(*words, "--fail-above", 1, "--condition", "forgiving", "--json")[0] == 1
    assert bench(*words, "--fail-above", -1)[0] == 2


@pytest.mark.parametrize(("value", "limit", "text"), [(21.4286, 21.4, "21.43"), (17.5004, 17.5, "17.5004")])
def test_a_rate_above_a_limit_is_written_as_above_it(value, limit, text):
    assert _above(value, limit) == text


def test_score_without_speech_cannot_pass(bench, files, tmp_path):
    reference = write(tmp_path / "short.rttm", [("r", 0, 0.4, "A")])
    code, _, err = bench("score", reference, files[1], "--condition", "fair", "--fail-above", 50)
    assert code == 1 and "no reference speech is scored under fair" in err


def test_compare_fails_if_worse(bench, files, tmp_path):
    reference, hypothesis, uem = files
    worse, better = ("compare", reference, reference, hypothesis), ("compare", reference, hypothesis, reference)
    code, _, err = bench(*worse, "--uem", uem, "--fail-if-worse")
    message = "hyp is 21.43 points worse than ref under full (p = 0.5, not significant), above --fail-if-worse 0"
    assert code == 1 and err == f"bench: {message}\n"
    assert bench(*worse, "--uem", uem, "--fail-if-worse", "21.5")[0] == 0
    turns = [(f"r{k}", 0, 10, "ann-x") for k in range(8)]
    reference_of_ann = write(tmp_path / "ann.rttm", turns)
    shorter = write(tmp_path / "shorter.rttm", [(uri, 0, 9 - 0.1 * int(uri[1]), name) for uri, _, _, name in turns])
    _, _, err = bench("compare", reference_of_ann, reference_of_ann, shorter, "--fail-if-worse")
    assert "shorter is 13.50 points worse than ann under full (p = 0.0078, for these speakers), above" in err
    assert bench(*worse, "--fail-if-worse", 21, "--uem", uem)[0] == 1
    assert bench(*better, "--uem", uem, "--fail-if-worse")[0] == 0
    assert bench("compare", "--fail-if-worse", reference, hypothesis, hypothesis)[0] == 0, "the same output passes"
    assert bench(*worse, "--uem", uem)[0] == 0
    assert bench(*worse, "--fail-if-worse", -1)[0] == 2


def test_compare_names_that_are_taken(bench, tmp_path):
    """A hypothesis that is called like a baseline does not replace it, and the same file twice is two systems."""
    uris = [f"r{i}" for i in range(12)]
    reference = write(tmp_path / "ref.rttm", [(uri, 0, 10, "A") for uri in uris])
    silence = write(tmp_path / "silence.rttm", [(uri, 0, 6, "x") for uri in uris])
    systems = as_json(bench, "compare", reference, silence, silence)["conditions"]["full"]["systems"]
    assert list(systems) == [
        *("silence", "one speaker", f"{silence} (A)", f"{silence} (B)", "DOVER-Lap of the two"),
    ]
    assert systems["silence"]["der"] == 1 and systems[f"{silence} (A)"]["der"] == pytest.approx(0.4)
    other = write(tmp_path / "other.rttm", [(uri, 0, 9, "x") for uri in uris])
    systems = as_json(bench, "compare", reference, silence, other)["conditions"]["full"]["systems"]
    assert systems["silence"]["der"] == 1 and systems[str(silence)]["der"] == pytest.approx(0.4)


def test_compare_and_score_agree_on_units_and_intervals(bench, files):
    reference, hypothesis, uem = files
    alone = as_json(bench, "score", reference, hypothesis, "--uem", uem)["conditions"]
    pair = as_json(bench, "compare", reference, hypothesis, reference, "--uem", uem)["conditions"]
    for condition, scores in alone.items():
        assert pair[condition]["systems"][hypothesis.stem]["interval"] == scores["interval"]


def test_compare_without_scored_speech(bench, files, tmp_path):
    reference = write(tmp_path / "short.rttm", [("r", 0, 0.4, "A")])
    code, _, err = bench("compare", reference, files[1], files[1], "--condition", "fair")
    assert code == 1 and "no reference speech is scored" in err
