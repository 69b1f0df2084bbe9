"""Long recordings are cut at pauses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpora import noise

from diarbench.datasets.conversion.convert import convert
from diarbench.datasets.conversion.corpus import Corpus, SourceRecording
from diarbench.datasets.conversion.cut import cut_long
from diarbench.datasets.conversion.split import Split
from diarbench.datasets.dataset import SUBSETS, Dataset, Recording
from diarbench.datasets.folds import group_recordings
from diarbench.datasets.io.audio import Clip
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.rttm import Region, Turn

TURNS = [Turn(0, 5, "A"), Turn(4, 7.5, "B"), Turn(8.5, 14, "A"), Turn(15, 15.5, "B"), Turn(16, 23.5, "A")]
"""Of 24 s; the pauses are at 7.5 to 8.5, 14 to 15 and 15.5 to 16 s."""


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cut") / "call.wav"
    soundfile.write(str(path), noise(24.0), 16_000, subtype="PCM_16")
    return path


def corpus(audio: Path, turns: list[Turn], regions: list[Region] | None = None) -> Corpus:
    return Corpus("Calls", [SourceRecording("call", (Clip(audio),), turns, regions)], "calls")


def parts_of(dataset: Dataset) -> list[Recording]:
    return sorted((r for subset in SUBSETS for r in dataset.recordings[subset]), key=lambda r: r.uri)


def test_one_recording_becomes_three_subsets(audio: Path, tmp_path: Path) -> None:
    """Cuts are at 8 s, the middle of the only pause from 5 to 10 s, and at 14.5 s, that of the longest after 13 s."""
    dataset = convert(cut_long(corpus(audio, TURNS), 10), tmp_path / "out", split=Split(shares=(1, 1, 1)))
    assert dataset.info.changes == {"recordings cut into parts": 1}
    assert dataset.info.source == "calls, cut at pauses to at most 10 s"
    assert all(dataset.recordings[subset] for subset in SUBSETS)
    parts = parts_of(dataset)
    assert [part.duration_s for part in parts] == [8.0, 6.5, 9.5]
    assert [part.turns for part in parts] == [
        [Turn(0, 5, "A"), Turn(4, 7.5, "B")],
        [Turn(0.5, 6, "A")],
        [Turn(0.5, 1, "B"), Turn(1.5, 9, "A")],
    ]
    whole, _ = soundfile.read(str(audio), dtype="int16")
    assert np.array_equal(np.concatenate([soundfile.read(str(p.audio), dtype="int16")[0] for p in parts]), whole)
    assert len(group_recordings(parts)) == 1  # no fold tests on a part of what it was trained on


def test_turns_outside_the_audio_are_judged_by_the_whole_recording(audio: Path, tmp_path: Path) -> None:
    """Of five turns two are outside, which is few; of the last part's turns they would be most."""
    late = [Turn(30, 31, "A"), Turn(32, 33, "B")]
    dataset = convert(cut_long(corpus(audio, [*TURNS[:3], *late]), 10), tmp_path / "out", split=Split(shares=(1, 0, 0)))
    assert dataset.info.changes == {"recordings cut into parts": 1, "turns dropped: outside the audio": 2}
    with pytest.raises(UserError, match=r"^call: 2 of 3 turns begin after the end of the audio"):
        list(cut_long(corpus(audio, [*TURNS[:1], *late]), 10).recordings)


def test_without_a_pause_the_turns_that_are_cut_are_counted(audio: Path, tmp_path: Path) -> None:
    dataset = convert(
        cut_long(corpus(audio, [Turn(0, 24, "A")], [Region(1, 9)]), 10), tmp_path / "out", split=Split(shares=(1, 0, 0))
    )
    assert dataset.info.changes == {
        "parts left out: nothing is annotated in them": 2,
        "recordings cut into parts": 1,
        "turns cut at the end of a part": 2,
    }
    (part,) = parts_of(dataset)
    assert (part.uri, part.turns, part.regions) == ("call_part1", [Turn(0, 10, "A")], [Region(1, 9)])


def test_short_recordings_stay(audio: Path) -> None:
    uncut = corpus(audio, TURNS)
    assert list(cut_long(uncut, 24).recordings) == uncut.recordings
    pieces = [SourceRecording("call", (Clip(audio), Clip(audio, at_s=30)), TURNS)]
    cut = cut_long(Corpus("Calls", pieces), 10)
    assert list(cut.recordings) == pieces
    assert cut.changes["recordings not cut: several files one after another"] == 1
    with pytest.raises(UserError, match="--cut-s 5: expected at least 10 seconds"):
        cut_long(uncut, 5)
