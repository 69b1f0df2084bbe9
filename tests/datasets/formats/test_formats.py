"""Every format reader reads the same content, is detected automatically, and reports what it cannot read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from corpora import DURATION_S, MAKERS, TURNS, write_wav

from diarbench.datasets.conversion.convert import convert
from diarbench.datasets.conversion.split import Split
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.formats.detect import FORMATS, find_corpus
from diarbench.datasets.formats.matching import one_line, subsets_from_names
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.rttm import Region

ALL_TRAIN = Split(shares=(1, 0, 0))


def test_every_format_has_a_sample() -> None:
    assert set(MAKERS) == set(FORMATS)


@pytest.mark.parametrize(("name", "make"), [(name, make) for name, makers in MAKERS.items() for make in makers])
def test_reading_a_detected_and_a_named_format(name: str, make: Callable[[Path], Path], tmp_path: Path) -> None:
    source = make(tmp_path / "source")
    detected, named = find_corpus(str(source)), find_corpus(str(source), name)
    by_uri = {recording.uri: recording for recording in named.recordings}
    assert [recording.uri for recording in detected.recordings] == list(by_uri)
    assert {uri: sorted(t for t in recording.turns if t.end_s < DURATION_S) for uri, recording in by_uri.items()} == {
        uri: sorted(t for t in turns if t.end_s < DURATION_S) for uri, turns in TURNS.items()
    }
    dataset = convert(find_corpus(str(source)), tmp_path / "out", split=ALL_TRAIN)
    converted = {recording.uri: recording for recording in dataset.subset("train")}
    assert {uri: recording.turns for uri, recording in converted.items()} == {u: sorted(t) for u, t in TURNS.items()}
    for recording in converted.values():
        assert recording.duration_s == pytest.approx(DURATION_S if name != "nikl" else recording.turns[-1].end_s)
        info = soundfile.info(str(recording.audio))
        assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
    dropped = {kind for kind in dataset.info.changes if "dropped" in kind or "left out" in kind or "cut" in kind}
    assert not dropped


def test_nemo_cuts_become_the_scored_regions(tmp_path: Path) -> None:
    corpus = find_corpus(str(MAKERS["nemo"][0](tmp_path / "source")))
    assert [recording.regions for recording in corpus.recordings] == [[Region(0, 1.5), Region(1.5, 3)]] * 2


def test_overlapping_nikl_utterances_are_not_summed(tmp_path: Path) -> None:
    """Two overlapping utterances cut from one recording contain the same samples in the overlap."""
    from corpora import noise

    convert(find_corpus(str(MAKERS["nikl"][0](tmp_path / "source"))), tmp_path / "out", split=ALL_TRAIN)
    audio, _ = soundfile.read(str(tmp_path / "out" / "train" / "wav" / "meeting_1.wav"), dtype="float32")
    assert audio == pytest.approx(noise(seed=0)[: len(audio), 0], abs=1 / 32768)


def test_subsets_by_name() -> None:
    assert subsets_from_names(["Train_Ali_far", "Eval_Ali/x", "Test_Ali"]) == {
        "Train_Ali_far": "train",
        "Eval_Ali/x": "dev",
        "Test_Ali": "test",
    }
    assert subsets_from_names(["train_L", "eval", "latest", "train/test"]) == {
        "train_L": "train",
        "eval": "dev",
        "latest": None,
        "train/test": None,
    }
    assert subsets_from_names(["eval"]) == {"eval": "test"}


def test_recordings_without_reference_or_audio_are_counted(tmp_path: Path) -> None:
    source = MAKERS["rttm"][0](tmp_path / "source")
    write_wav(source / "audio" / "silent.wav")
    rttm = "SPEAKER gone 1 0 1 <NA> <NA> a <NA> <NA>\nSPEAKER gone 1 1.0 0.0 <NA> <NA> a <NA> <NA>\n"
    (source / "rttm" / "gone.rttm").write_text(rttm)
    dataset = convert(find_corpus(str(source)), tmp_path / "out", split=ALL_TRAIN)
    assert dataset.info.changes == {
        "recordings left out: no reference": 1,
        "references left out: no audio": 1,
        "turns dropped: no length": 1,
    }


def test_unknown_options_and_formats(tmp_path: Path) -> None:
    source = MAKERS["rttm"][0](tmp_path / "source")
    with pytest.raises(UserError, match="no such file"):
        find_corpus(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="did you mean rttm"):
        find_corpus(str(source), "rtm")
    with pytest.raises(UserError, match="this source has no options"):
        find_corpus(str(source), mic="sdm")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="the format was not recognised; set it with --from"):
        find_corpus(str(tmp_path / "empty"))


def test_choosing_one_of_several_protocols(tmp_path: Path) -> None:
    path = MAKERS["pyannote"][0](tmp_path / "source")
    text = path.read_text(encoding="utf-8")
    path.write_text(text + text[text.index("      Up:") :].replace("Up:", "Other:"), encoding="utf-8")
    with pytest.raises(UserError, match=r"set the protocol with --set protocol=NAME.*Made\.SpeakerDiarization\.Other"):
        find_corpus(str(path))
    corpus = find_corpus(str(path), protocol="Made.SpeakerDiarization.Other")
    assert [recording.uri for recording in corpus.recordings] == list(TURNS)


def test_aihub_times_with_thousands_separators(tmp_path: Path) -> None:
    source = MAKERS["aihub"][0](tmp_path / "source")
    path = source / "Training" / "meeting_1.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["Conversation"][0] |= {"StartTime": "1,000.73", "EndTime": "1,002.00"}
    path.write_text(json.dumps(content), encoding="utf-8")
    turns = next(r for r in find_corpus(str(source)).recordings if r.uri == "meeting_1").turns
    assert (turns[0].start_s, turns[0].end_s) == (1000.73, 1002.0)
    content["Conversation"][0]["StartTime"] = "0,5"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match=r"meeting_1\.json: utterance 1: '0,5' is not a time"):
        list(find_corpus(str(source)).recordings)


def test_converting_a_dataset_changes_nothing(tmp_path: Path, ami_mini: Dataset) -> None:
    again = convert(find_corpus(str(ami_mini.root)), tmp_path / "again")
    assert again.info.fingerprint == ami_mini.info.fingerprint
    assert again.info.subsets == ami_mini.info.subsets
    assert not again.info.changes


def test_hugging_face_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hugging Face datasets loads a folder of the name in place of the hub."""
    MAKERS["huggingface"][0](tmp_path / "source")
    monkeypatch.chdir(tmp_path)
    recordings = list(find_corpus("hf:source").recordings)
    assert {r.uri: sorted(r.turns) for r in recordings} == {uri: sorted(turns) for uri, turns in TURNS.items()}
    assert {r.subset for r in recordings} == {"train"}
    with pytest.raises(UserError, match=r"hf:.*cannot be loaded"):
        find_corpus("hf:nothing")


def test_a_recording_that_a_wav_scp_lists_twice_is_told_with_both_lines(tmp_path: Path) -> None:
    source = MAKERS["kaldi"][0](tmp_path / "source")
    scp = next(source.rglob("wav.scp"))
    first, *_ = lines = scp.read_text().splitlines()
    scp.write_text("\n".join([*lines, first]) + "\n")
    with pytest.raises(UserError, match=rf"wav.scp:{len(lines) + 1}: .* is listed twice \(first in {scp}:1\); remove"):
        list(find_corpus(str(source)).recordings)


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("utt2spk", "{utterance} other", r"utt2spk:\d+: {utterance} has another speaker, .*, above; remove one line"),
        ("segments", "{utterance} meeting_1 -2 -1", r"segments:\d+: a turn from -2 to .*; expected 0 <= start < end"),
        ("segments", "{utterance} meeting_1 0 1.0 1.5", r"segments:\d+: '1\.0 1\.5' is not a time in seconds"),
    ],
)
def test_lines_of_kaldi_that_contradict_or_shift(name: str, line: str, message: str, tmp_path: Path) -> None:
    source = MAKERS["kaldi"][0](tmp_path / "source")
    path = next(source.rglob(name))
    utterance = path.read_text(encoding="utf-8").split()[0]
    with path.open("a", encoding="utf-8") as file:
        file.write(line.format(utterance=utterance) + "\n")
    with pytest.raises(UserError, match=message.format(utterance=utterance)):
        list(find_corpus(str(source)).recordings)


def test_a_librarys_advice_to_its_callers_is_not_passed_on() -> None:
    error = ValueError("the column\nhas no times. Pass features=None to infer them.")
    assert one_line(error) == "ValueError: the column has no times"
