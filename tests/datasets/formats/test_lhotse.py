"""Common diarization corpora in their published layouts, read by lhotse's recipes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from corpora import noise, textgrid_text, write_wav

from diarbench.datasets.conversion.convert import convert
from diarbench.datasets.dataset import SUBSETS, Subset
from diarbench.datasets.formats.detect import find_corpus
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.rttm import Region, Turn, rttm_text

TURNS = [Turn(0.5, 1.5, "FEE005"), Turn(1.25, 2.0, "MEE006"), Turn(2.5, 3.0, "FEE005")]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def ami(root: Path) -> dict[Subset, str]:
    """NXT annotation: segments and words by speaker letter, and the headset mix."""
    uris: dict[Subset, str] = {"train": "ES2002a", "dev": "ES2011a", "test": "ES2004a"}
    notes, agents = root / "ami_public_manual_1.6.2", {"A": "FEE005", "B": "MEE006"}
    meetings = ""
    for meeting in uris.values():
        write_wav(root / meeting / "audio" / f"{meeting}.Mix-Headset.wav")
        meetings += f'<meeting observation="{meeting}">'
        for channel, (agent, name) in enumerate(agents.items()):
            meetings += f'<speaker nxt_agent="{agent}" global_name="{name}" channel="{channel}"/>'
            own = [t for t in TURNS if t.speaker == name]
            segments = (f'<segment transcriber_start="{t.start_s}" transcriber_end="{t.end_s}"/>' for t in own)
            words = (f'<w starttime="{t.start_s}" endtime="{t.end_s}">yes</w>' for t in own)
            write(notes / "segments" / f"{meeting}.{agent}.segments.xml", f"<r>{''.join(segments)}</r>")
            write(notes / "words" / f"{meeting}.{agent}.words.xml", f"<r>{''.join(words)}</r>")
        meetings += "</meeting>"
    write(notes / "corpusResources" / "meetings.xml", f"<meetings>{meetings}</meetings>")
    return uris


def icsi(root: Path) -> dict[Subset, str]:
    """MRT preambles, segments and words by speaker, and one mix per meeting."""
    uris: dict[Subset, str] = {"train": "Bdb001", "dev": "Bmr021", "test": "Bmr013"}
    notes, names = root / "transcripts", sorted({t.speaker for t in TURNS})
    meetings = ""
    for meeting in uris.values():
        write_wav(root / meeting / "mix.wav")
        channels = "".join(f'<Channel Name="chan{k}"/>' for k in range(2))
        people = "".join(f'<Participant Name="{name}" Channel="chan{k}"/>' for k, name in enumerate(names))
        meetings += (
            f'<Meeting Session="{meeting}"><Preamble><Channels>{channels}</Channels>'
            f"<Participants>{people}</Participants></Preamble></Meeting>"
        )
        for letter, name in zip("AB", names, strict=True):
            own = [t for t in TURNS if t.speaker == name]
            segments = (f'<segment participant="{name}" starttime="{t.start_s}" endtime="{t.end_s}"/>' for t in own)
            words = (f'<w starttime="{t.start_s}" endtime="{t.end_s}">yes</w>' for t in own)
            write(notes / "Segments" / f"{meeting}.{letter}.segs.xml", f"<r>{''.join(segments)}</r>")
            write(notes / "Words" / f"{meeting}.{letter}.words.xml", f"<r>{''.join(words)}</r>")
    write(notes / "preambles.mrt", f"<Meetings>{meetings}</Meetings>")
    return uris


def ali_meeting(root: Path) -> dict[Subset, str]:
    """Eight-channel far-field audio with longer names than the TextGrids; Eval and Test are one folder deeper."""
    uris: dict[Subset, str] = {"train": "R0001_M0001", "dev": "R0002_M0002", "test": "R0003_M0003"}
    for subset, part in (
        ("train", "Train_Ali_far"),
        ("dev", "Eval_Ali/Eval_Ali_far"),
        ("test", "Test_Ali/Test_Ali_far"),
    ):
        meeting = uris[subset]  # type: ignore[index]
        write_wav(root / part / "audio_dir" / f"{meeting}_MS001.wav", channels=8)
        write(root / part / "textgrid_dir" / f"{meeting}.TextGrid", textgrid_text(TURNS, "F_SPK{}"))
    return uris


def aishell4(root: Path) -> dict[Subset, str]:
    """Eight-channel FLAC, with one folder per room size; no dev set."""
    for part in ("train_L", "train_M", "train_S", "test"):
        path = root / part / "wav" / f"{part}_1.flac"
        path.parent.mkdir(parents=True)
        soundfile.write(str(path), noise(channels=8), 16_000)
        write(root / part / "TextGrid" / f"{part}_1.TextGrid", textgrid_text(TURNS))
    return {"train": "train_L_1", "test": "test_1"}


def voxconverse(root: Path) -> dict[Subset, str]:
    """RTTM beside WAV; no train set."""
    for part in ("dev", "test"):
        write_wav(root / part / f"{part}_1.wav")
        write(root / part / f"{part}_1.rttm", rttm_text(f"{part}_1", TURNS))
    return {"dev": "dev_1", "test": "test_1"}


@pytest.mark.parametrize("publish", [ami, icsi, ali_meeting, aishell4, voxconverse])
def test_converting_a_corpus(publish: Callable[[Path], dict[Subset, str]], tmp_path: Path) -> None:
    name = publish.__name__
    uris = publish(tmp_path / "corpus")
    dataset = convert(find_corpus(f"lhotse:{name}:{tmp_path / 'corpus'}"), tmp_path / "out")
    assert dataset.info.licence.startswith("CC BY")
    assert {subset for subset in SUBSETS if dataset.recordings[subset]} == set(uris)
    for subset, uri in uris.items():
        recording = next(r for r in dataset.subset(subset) if r.uri == uri)
        assert recording.duration_s == 3.0
        # The recipes for AISHELL-4 and AliMeeting rename the speakers
        names = dict(zip([t.speaker for t in sorted(recording.turns)], [t.speaker for t in TURNS], strict=True))
        assert [t._replace(speaker=names[t.speaker]) for t in recording.turns] == TURNS
    assert not [kind for kind in dataset.info.changes if "left out" in kind or "lhotse" in kind]


def test_options_are_passed_to_the_recipe(tmp_path: Path) -> None:
    """With ``split_test`` the recipe makes dev the train part and divides test into dev and test."""
    voxconverse(tmp_path)
    write_wav(tmp_path / "test" / "test_2.wav")
    write(tmp_path / "test" / "test_2.rttm", rttm_text("test_2", TURNS))
    dataset = convert(find_corpus(f"lhotse:voxconverse:{tmp_path}", split_test="yes"), tmp_path / "out")
    assert [[r.uri for r in dataset.subset(s)] for s in SUBSETS] == [["dev_1"], ["test_1"], ["test_2"]]


def test_recordings_that_lhotse_drops_are_counted(tmp_path: Path) -> None:
    """lhotse drops a recording without annotation, and reports it only in its log."""
    voxconverse(tmp_path)
    write_wav(tmp_path / "test" / "silent.wav")
    write(tmp_path / "test" / "silent.rttm", "")
    dataset = convert(find_corpus(f"lhotse:voxconverse:{tmp_path}"), tmp_path / "out")
    assert dataset.info.changes == {"lhotse: removed recordings with no corresponding supervisions.": 1}


def test_unknown_corpora_options_and_folders(tmp_path: Path) -> None:
    voxconverse(tmp_path)
    with pytest.raises(UserError, match="did you mean voxconverse"):
        find_corpus(f"lhotse:voxconvers:{tmp_path}")
    with pytest.raises(UserError, match="no option mic"):
        find_corpus(f"lhotse:voxconverse:{tmp_path}", mic="sdm")
    with pytest.raises(UserError, match="lhotse cannot prepare ami"):
        find_corpus(f"lhotse:ami:{tmp_path}")


def test_integers_as_ids_and_speakers(tmp_path: Path) -> None:
    audio = str(write_wav(tmp_path / "x.wav", 2.0))
    recording = {
        "id": 7,
        "sources": [{"type": "file", "channels": [0], "source": audio}],
        "sampling_rate": 16_000,
        "num_samples": 32_000,
        "duration": 2.0,
    }
    turn = {"id": "a", "recording_id": 7, "start": 0.5, "duration": 1.0, "channel": 0, "speaker": 0}
    write(tmp_path / "x_recordings.jsonl", json.dumps(recording) + "\n")
    write(tmp_path / "x_supervisions.jsonl", json.dumps(turn) + "\n")
    (read,) = find_corpus(str(tmp_path)).recordings
    assert (read.uri, read.turns) == ("7", [Turn(0.5, 1.5, "0")])
    write(tmp_path / "x_supervisions.jsonl", json.dumps({**turn, "speaker": None}) + "\n")
    with pytest.raises(UserError, match="supervision a: a turn without a speaker; add the name"):
        list(find_corpus(str(tmp_path)).recordings)


def cut_set(folder: Path, **changed: object) -> Path:
    """A set of one cut, from 1 s to 3 s of a recording of 4 s, with a turn that begins before the cut."""
    write_wav(folder / "audio" / "x.wav", 4.0)
    source = {"type": "file", "channels": [0], "source": "audio/x.wav"}
    recording = {"id": "x", "sources": [source], "sampling_rate": 16_000, "num_samples": 64_000, "duration": 4.0}
    turn = {"id": "a", "recording_id": "x", "start": -0.5, "duration": 1.0, "channel": 0, "speaker": "bob"}
    cut = {"id": "x-1", "start": 1.0, "duration": 2.0, "channel": 0, "supervisions": [turn], "recording": recording}
    row = {key: value for key, value in {**cut, "type": "MonoCut", **changed}.items() if value is not None}
    write(folder / "cuts_test.jsonl", json.dumps(row) + "\n")
    return folder / "cuts_test.jsonl"


def test_a_cut_set(tmp_path: Path) -> None:
    path = cut_set(tmp_path)
    for source in (path, tmp_path):
        (recording,) = find_corpus(str(source)).recordings
        assert (recording.uri, recording.turns, recording.subset) == ("x", [Turn(0.5, 1.5, "bob")], "test")
        assert (recording.regions, recording.turn_channels) == ([Region(1, 3)], ["0"])
        assert recording.clips[0].audio == tmp_path / "audio" / "x.wav"


def test_cuts_that_are_not_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="x-1 is not cut from one recording"):
        list(find_corpus(str(cut_set(tmp_path, recording=None))).recordings)
    with pytest.raises(UserError, match="x-1: 'soon' is not a time in seconds"):
        list(find_corpus(str(cut_set(tmp_path, start="soon"))).recordings)
    corpus = find_corpus(str(cut_set(tmp_path, supervisions=[])))
    assert list(corpus.recordings) == []
    assert corpus.changes == {"recordings left out: no reference": 1}


def test_sets_of_one_name_in_several_folders(tmp_path: Path) -> None:
    for subset in ("train", "dev"):
        audio = str(write_wav(tmp_path / f"{subset}.wav", 2.0))
        source = {"type": "file", "channels": [0], "source": audio}
        recording = {"id": subset, "sources": [source], "sampling_rate": 16_000, "num_samples": 32_000, "duration": 2.0}
        turn = {"id": "a", "recording_id": subset, "start": 0.5, "duration": 1.0, "channel": 0, "speaker": "bob"}
        write(tmp_path / subset / "recordings.jsonl", json.dumps(recording) + "\n")
        write(tmp_path / subset / "supervisions.jsonl", json.dumps(turn) + "\n")
    recordings = find_corpus(str(tmp_path)).recordings
    assert {recording.uri: recording.subset for recording in recordings} == {"train": "train", "dev": "dev"}
