"""A selected channel keeps the turns and regions on it; where the reference does not tell them, it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
from corpora import noise, write_wav

from diarbench.datasets.conversion.channels import select_channel
from diarbench.datasets.conversion.convert import convert
from diarbench.datasets.conversion.split import Split
from diarbench.datasets.formats.detect import find_corpus
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.rttm import Region, Turn

ALL_TRAIN = Split(shares=(1, 0, 0))


def call(folder: Path, caller: str, callee: str, channels: int = 2, uem: str = "") -> Path:
    """A call of 3 s with a turn on either channel."""
    write_wav(folder / "call.wav", channels=channels)
    line = "SPEAKER call {} {} 1 <NA> <NA> {} <NA> <NA>\n"
    (folder / "call.rttm").write_text(line.format(caller, 0, "ann") + line.format(callee, 1, "bob"), encoding="utf-8")
    if uem:
        (folder / "call.uem").write_text(uem, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("names", "channel"), [(("1", "2"), 0), (("1", "2"), 1), (("0", "1"), 1), (("A", "B"), 0), (("a", "b"), 1)]
)
def test_turns_and_regions_of_a_channel(names: tuple[str, str], channel: int, tmp_path: Path) -> None:
    source = call(tmp_path / "in", *names, uem=f"call {names[0]} 0 2\ncall {names[1]} 1 3\n")
    dataset = convert(select_channel(find_corpus(str(source)), channel), tmp_path / "out", split=ALL_TRAIN)
    (recording,) = dataset.subset("train")
    assert recording.turns == [Turn(channel, channel + 1, ("ann", "bob")[channel])]
    assert recording.regions == [Region(channel, channel + 2)]
    samples, _ = soundfile.read(str(recording.audio))
    assert samples == pytest.approx(noise(channels=2)[:, channel], abs=1 / 32768)
    assert dataset.info.changes == {
        "UEM regions left out: on another channel": 1,
        "files reduced to one of their channels": 1,
        "turns left out: on another channel": 1,
    }


def test_a_uem_for_all_channels(tmp_path: Path) -> None:
    source = call(tmp_path, "1", "2", uem="call 1 0 2\n")
    (recording,) = select_channel(find_corpus(str(source)), 1).recordings
    assert (recording.turns, recording.regions) == ([Turn(1, 2, "bob")], [Region(0, 2)])


@pytest.mark.parametrize("names", [("1", "1"), ("0", "0"), ("<NA>", "<NA>"), ("left", "right"), ("1", "3"), ("1", "B")])
def test_a_reference_that_does_not_tell_channels_is_refused(names: tuple[str, str], tmp_path: Path) -> None:
    corpus = find_corpus(str(call(tmp_path, *names)))
    with pytest.raises(UserError, match=r"call: has 2 channels, and its reference does not tell .* --all-turns"):
        list(select_channel(corpus, 0).recordings)
    (recording,) = select_channel(find_corpus(str(tmp_path)), 0, all_turns=True).recordings
    assert len(recording.turns) == 2


def test_mono_audio_keeps_all_turns(tmp_path: Path) -> None:
    (recording,) = select_channel(find_corpus(str(call(tmp_path, "1", "1", channels=1))), 0).recordings
    assert len(recording.turns) == 2


def test_a_channel_that_does_not_exist(tmp_path: Path) -> None:
    corpus = select_channel(find_corpus(str(call(tmp_path / "in", "1", "2"))), 2)
    with pytest.raises(UserError, match="has 2 channels, so no channel 2"):
        convert(corpus, tmp_path / "out", split=ALL_TRAIN)
