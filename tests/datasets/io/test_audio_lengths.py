"""Audio files that are truncated, streamed, joined, or without a length are read whole or refused."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpora import noise

from diarbench.datasets.io.audio import Clip, write_audio
from diarbench.datasets.io.errors import UserError

RATE, DURATION_S = 16_000, 3.0

FORMATS = [("WAV", "PCM_16"), ("WAV", "IMA_ADPCM"), ("WAVEX", "PCM_24"), ("RF64", "PCM_16"), ("W64", "FLOAT")]
FORMATS += [("AIFF", "PCM_16"), ("AU", "ULAW"), ("NIST", "PCM_16"), ("NIST", "ULAW"), ("CAF", "PCM_16")]
FORMATS += [("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")]


def encoded(format_: str, subtype: str | None = None, **options: object) -> bytes:
    """Noise for a second, and then silence, which takes few bits of a variable bit rate."""
    samples = np.concatenate([noise(1.0), np.zeros((round(RATE * (DURATION_S - 1)), 1), np.float32)])
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, RATE, format=format_, subtype=subtype, **options)
    return buffer.getvalue()


def without_xing(mp3: bytes) -> bytes:
    """An MP3 file as a program writes it that cannot go back: without its first frame, which has the length."""
    assert b"Xing" in mp3[:200]
    return mp3[mp3.index(mp3[:2], 4) :]


def converted_s(content: bytes, folder: Path) -> float:
    (folder / "recording").write_bytes(content)
    frames, _ = write_audio((Clip(folder / "recording"),), folder / "out.wav")
    assert soundfile.info(str(folder / "out.wav")).frames == frames
    return frames / RATE


def test_a_flac_file_that_declares_too_little_is_refused(tmp_path: Path) -> None:
    """libsndfile would read what is declared, and leave the rest."""
    content = bytearray(encoded("FLAC"))
    fields = int.from_bytes(content[18:26], "big")
    for samples in (1, RATE, RATE * 2):
        content[18:26] = (fields >> 36 << 36 | samples).to_bytes(8, "big")
        with pytest.raises(UserError, match=f"has more than the {samples} samples that its header declares"):
            converted_s(bytes(content), tmp_path)


@pytest.mark.parametrize(("format_", "subtype"), FORMATS)
def test_a_truncated_file_is_refused(format_: str, subtype: str, tmp_path: Path) -> None:
    content = encoded(format_, subtype)
    assert converted_s(content, tmp_path) == pytest.approx(DURATION_S, abs=0.07)
    for kept in (1 / 3, 1 / 2, 0.9):
        with pytest.raises(UserError, match=r"recording: .*truncated") as caught:
            converted_s(content[: round(kept * len(content))], tmp_path)
        assert len(str(caught.value).splitlines()) == 1


def test_what_a_caf_file_loses_at_its_end_is_missed(tmp_path: Path) -> None:
    """libsndfile refuses a CAF file that is cut by more than a few kilobytes, and shortens others."""
    content = encoded("CAF", "ALAW")
    with pytest.raises(UserError, match="truncated: the header declares 48000 bytes of samples but the file has 47000"):
        converted_s(content[:-1000], tmp_path)


def test_a_format_whose_length_is_not_checked_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"recording: VOC files of PCM_16 are not read; save it as WAV or FLAC"):
        converted_s(encoded("VOC", "PCM_16"), tmp_path)


def test_telephone_codecs_that_cannot_be_sought(tmp_path: Path) -> None:
    content = encoded("WAV", "GSM610")
    assert converted_s(content, tmp_path) == pytest.approx(DURATION_S, abs=0.02)
    part = Clip(tmp_path / "recording", start_s=0.5, duration_s=1.0)
    write_audio((part,), tmp_path / "part.wav")
    level = np.abs(soundfile.read(str(tmp_path / "part.wav"))[0])
    assert len(level) == RATE
    assert level[:7_500].mean() > 10 * level[10_000:].mean()  # the noise ends at 1 s


@pytest.mark.parametrize("damage", ["header", "frames"])
def test_libraries_write_nothing_by_themselves(
    damage: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """libsndfile seeks before a file's beginning by a damaged header; libmpg123 warns on the terminal."""
    unraisable = []
    monkeypatch.setattr("sys.unraisablehook", unraisable.append)
    mp3 = encoded("MP3")
    content = encoded("AIFF", "FLOAT")[:60] if damage == "header" else mp3[:1000] + bytes(500) + mp3[1500:]
    with contextlib.suppress(UserError):
        converted_s(content, tmp_path)
    assert capfd.readouterr().err == ""
    assert not unraisable


def test_a_channel_that_a_finished_file_does_not_have(tmp_path: Path) -> None:
    (tmp_path / "recording.wav").write_bytes(encoded("WAV"))
    with pytest.raises(UserError, match=r"has 1 channel, so no channel 3 \(they count from 0\)"):
        write_audio((Clip(tmp_path / "recording.wav"),), tmp_path / "out.wav", channel=3)


def test_a_truncated_file_in_memory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"row 3: truncated: the header declares 96000 bytes .* the file has 47978"):
        write_audio((Clip(encoded("WAV")[:48_022], name="row 3"),), tmp_path / "unwritten.wav")


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
@pytest.mark.parametrize("riff_size", [0, 36, 0xFFFFFFFF])
def test_a_streamed_wav_is_read_to_its_end(size: int, riff_size: int, tmp_path: Path) -> None:
    content = bytearray(encoded("WAV"))
    content[4:8], content[40:44] = riff_size.to_bytes(4, "little"), size.to_bytes(4, "little")
    assert converted_s(bytes(content), tmp_path) == DURATION_S


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_streamed_au_is_read_to_its_end(size: int, tmp_path: Path) -> None:
    content = encoded("AU")
    assert converted_s(content[:8] + size.to_bytes(4, "big") + content[12:], tmp_path) == DURATION_S


def test_a_streamed_flac_is_refused(tmp_path: Path) -> None:
    """libsndfile fails at its end."""
    content = bytearray(encoded("FLAC"))
    content[21:26] = bytes([content[21] & 0xF0, 0, 0, 0, 0])
    with pytest.raises(UserError, match=r"a streamed FLAC file, which has no length; .* as a new file"):
        converted_s(bytes(content), tmp_path)


def test_an_empty_wav_is_no_streamed_one(tmp_path: Path) -> None:
    header = encoded("WAV")[:40]
    with pytest.raises(UserError, match="no samples"):
        converted_s(header + bytes(4) + b"LIST" + (8).to_bytes(4, "little") + bytes(8), tmp_path)


def test_an_mp3_without_a_length_is_read_to_its_end(tmp_path: Path) -> None:
    """Variable bit rate without a Xing header, as in ``ffmpeg ... -f mp3 - > talk.mp3``."""
    mp3 = without_xing(encoded("MP3", bitrate_mode="VARIABLE"))
    (tmp_path / "talk.mp3").write_bytes(mp3)
    assert soundfile.info(str(tmp_path / "talk.mp3")).duration < 2  # what libsndfile believes
    assert converted_s(mp3, tmp_path) == pytest.approx(DURATION_S, abs=0.1)
    frames, _ = write_audio((Clip(mp3, name="row"),), tmp_path / "out.wav")
    assert frames / RATE == pytest.approx(DURATION_S, abs=0.1)
    with pytest.raises(UserError, match="truncated: the last MP3 frame is incomplete"):
        converted_s(mp3[:-30], tmp_path)


@pytest.mark.parametrize("tag", [b"ID3\x04\x00\x00\x00\x00\x02\x00" + bytes(256), b""])
def test_tags_of_an_mp3_are_no_frames(tag: bytes, tmp_path: Path) -> None:
    assert converted_s(tag + encoded("MP3") + b"TAG" + bytes(125), tmp_path) == pytest.approx(DURATION_S, abs=0.001)


@pytest.mark.parametrize(
    ("format_", "message"), [("MP3", r"more than the 3\.0 s that its header declares"), ("OGG", "several Ogg streams")]
)
def test_joined_files_are_refused(format_: str, message: str, tmp_path: Path) -> None:
    """``cat a.mp3 b.mp3``: libsndfile reads as much as the first header declares."""
    with pytest.raises(UserError, match=message):
        converted_s(2 * encoded(format_), tmp_path)
