"""Pairing audio with references where every folder has a file of the same name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from corpora import textgrid_text, write_wav

from diarbench.datasets.formats.detect import find_corpus
from diarbench.datasets.formats.matching import OTHER_NAME
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.rttm import Region, Turn, rttm_text

BOB, EVE = [Turn(0.5, 1.0, "bob")], [Turn(1.0, 2.0, "eve")]


@pytest.mark.parametrize("uri", ["clip_16k", "{folder}", "other"])
def test_a_folder_per_recording_with_rttm(uri: str, tmp_path: Path) -> None:
    for folder, turns in (("call-1", BOB), ("call-2", EVE)):
        name = uri.format(folder=folder)
        write_wav(tmp_path / folder / "clip_16k.wav")
        (tmp_path / folder / "clip_16k.rttm").write_text(rttm_text(name, turns), encoding="utf-8")
        (tmp_path / folder / "clip_16k.uem").write_text(f"{name} 1 0 2.5\n", encoding="utf-8")
    corpus = find_corpus(str(tmp_path))
    assert {recording.uri: (recording.turns, recording.regions) for recording in corpus.recordings} == {
        "call-1": (BOB, [Region(0, 2.5)]),
        "call-2": (EVE, [Region(0, 2.5)]),
    }
    assert +corpus.changes == ({OTHER_NAME: 4} if uri == "other" else {})


def test_a_folder_per_recording_with_textgrids(tmp_path: Path) -> None:
    for folder, turns in (("call-1", BOB), ("call-2", EVE)):
        write_wav(tmp_path / folder / "audio.wav")
        (tmp_path / folder / "labels.TextGrid").write_text(textgrid_text(turns), encoding="utf-8")
    recordings = find_corpus(str(tmp_path)).recordings
    assert {recording.uri: recording.turns for recording in recordings} == {"call-1": BOB, "call-2": EVE}


def test_a_folder_per_recording_in_a_nemo_manifest(tmp_path: Path) -> None:
    rows = []
    for folder, turns in (("call-1", BOB), ("call-2", EVE)):
        write_wav(tmp_path / folder / "audio.wav")
        (tmp_path / folder / "audio.rttm").write_text(rttm_text("audio", turns), encoding="utf-8")
        rows.append(json.dumps({"audio_filepath": f"{folder}/audio.wav", "rttm_filepath": f"{folder}/audio.rttm"}))
    (tmp_path / "manifest.json").write_text("\n".join(rows), encoding="utf-8")
    recordings = find_corpus(str(tmp_path / "manifest.json")).recordings
    assert {recording.uri: recording.turns for recording in recordings} == {"call-1": BOB, "call-2": EVE}


def test_one_name_twice_beside_other_files_is_refused(tmp_path: Path) -> None:
    for path in ("a/x.wav", "a/y.wav", "b/x.wav", "b/y.wav"):
        write_wav(tmp_path / path, 0.1)
    (tmp_path / "x.rttm").write_text(rttm_text("x", BOB), encoding="utf-8")
    with pytest.raises(UserError, match=r"b/x\.wav: has the same name as .*a/x\.wav; rename one of them"):
        list(find_corpus(str(tmp_path)).recordings)


def test_two_files_about_one_recording_are_refused(tmp_path: Path) -> None:
    write_wav(tmp_path / "x.wav", 0.1)
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.TextGrid").write_text(textgrid_text(BOB), encoding="utf-8")
    with pytest.raises(UserError, match=r"second/x\.TextGrid: x is also described by .*first/x\.TextGrid; keep one"):
        list(find_corpus(str(tmp_path)).recordings)
