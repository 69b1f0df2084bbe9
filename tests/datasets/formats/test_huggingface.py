"""Parquet files with unusual values: paths, no speech, numbers in place of lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from corpora import write_wav

from diarbench.datasets.formats.detect import find_corpus
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.rttm import Turn


def write_row(folder: Path, **changed: Any) -> Path:
    import pyarrow
    from pyarrow import parquet

    write_wav(folder / "audio" / "x.wav")
    row = {"timestamps_start": [0.5], "timestamps_end": [1.0], "speakers": ["bob"]}
    row["audio"] = {"bytes": None, "path": "audio/x.wav"}  # type: ignore[assignment]
    parquet.write_table(pyarrow.Table.from_pylist([{**row, **changed}]), folder / "x.parquet")
    return folder / "x.parquet"


@pytest.mark.parametrize("audio", [{"bytes": None, "path": "audio/x.wav"}, "audio/x.wav"])
def test_paths_are_relative_to_the_parquet_file(audio: object, tmp_path: Path) -> None:
    (recording,) = find_corpus(str(write_row(tmp_path, audio=audio))).recordings
    assert recording.clips[0].audio == tmp_path / "audio" / "x.wav"
    assert (recording.uri, recording.turns) == ("x", [Turn(0.5, 1.0, "bob")])


def test_a_recording_without_speech(tmp_path: Path) -> None:
    path = write_row(tmp_path, timestamps_start=[], timestamps_end=[], speakers=[])
    (recording,) = find_corpus(str(path)).recordings
    assert recording.turns == []


@pytest.mark.parametrize(("speakers", "name"), [([0], "0"), ([0.0], "0"), ([12], "12")])
def test_numbers_as_speakers(speakers: list[float], name: str, tmp_path: Path) -> None:
    (recording,) = find_corpus(str(write_row(tmp_path, speakers=speakers))).recordings
    assert recording.turns == [Turn(0.5, 1.0, name)]


def test_files_of_the_same_name_in_two_folders(tmp_path: Path) -> None:
    sound = {"bytes": write_wav(tmp_path / "sound.wav").read_bytes(), "path": None}
    for subset in ("test", "train"):
        write_row(tmp_path / "in" / subset, audio=sound)
    recordings = list(find_corpus(str(tmp_path / "in")).recordings)
    assert [(r.uri, r.subset) for r in recordings] == [("test-x-00000", "test"), ("train-x-00000", "train")]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"timestamps_start": 0.5}, "timestamps_start is '0.5'; expected a list"),
        ({"speakers": "bob"}, "speakers is 'bob'; expected a list"),
        ({"timestamps_end": None}, "timestamps_end is missing; expected a list"),
        ({"speakers": ["bob", "eve"]}, "1 start, 1 end and 2 speakers; a turn needs one of each"),
        ({"speakers": [float("nan")]}, "a turn without a speaker; add the name"),
        ({"audio": 7}, "audio is neither a path nor bytes"),
        ({"audio": {"bytes": None, "path": 7}}, "audio is neither a path nor bytes"),
        ({"audio": {"bytes": "text", "path": None}}, "audio is neither a path nor bytes"),
        ({"audio": None}, "contains no audio"),
    ],
)
def test_other_values_are_refused(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = write_row(tmp_path, **changed)
    with pytest.raises(UserError, match=f"x.parquet: row 0: {message}"):
        list(find_corpus(str(path)).recordings)
