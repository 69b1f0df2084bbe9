"""Audio in MP4, Matroska and other containers."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile

from diarbench.datasets.formats.detect import find_corpus
from diarbench.datasets.io.audio import Clip, length_s, write_audio
from diarbench.datasets.io.errors import UserError

RATE = 48_000


def write_image(container: Any, stream: Any) -> None:
    stream.width = stream.height = 64
    stream.pix_fmt = "yuv420p"
    image = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), dtype=np.uint8), format="rgb24")
    container.mux([*stream.encode(image), *stream.encode(None)])


def write_container(path: Path, codec: str, *, seconds: float = 2.0, at_s: float = 0.0, video: bool = False) -> Path:
    """A tone in two channels, the second at half the level, that begins at ``at_s``; with a video of 0.1 s at 0."""
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE)) / RATE)
    with av.open(str(path), "w") as container:
        images: Any = container.add_stream("mpeg4", rate=10) if video else None
        stream = container.add_stream(codec, rate=RATE, layout="stereo")
        stream.codec_context.open()
        if images:
            write_image(container, images)
        frame = av.AudioFrame.from_ndarray(np.stack([tone, tone / 2]).astype(np.float32), "fltp", "stereo")
        frame.sample_rate, frame.pts, frame.time_base = RATE, round(at_s * RATE), Fraction(1, RATE)
        sized = av.AudioResampler(stream.format, "stereo", RATE, stream.codec_context.frame_size or 1024)
        for part in [*sized.resample(frame), *sized.resample(None), None]:
            container.mux(stream.encode(part))
    return path


def converted(path: Path, channel: int | None = None) -> np.ndarray:
    write_audio((Clip(path),), path.with_suffix(".out.wav"), channel)
    audio, rate = soundfile.read(str(path.with_suffix(".out.wav")))
    assert rate == 16_000
    return audio


@pytest.mark.parametrize(
    ("name", "codec"),
    [("x.m4a", "aac"), ("x.MP4", "aac"), ("x.mkv", "pcm_s16le"), ("x.webm", "libopus"), ("x.aac", "aac")],
)
def test_what_was_encoded_is_decoded(name: str, codec: str, tmp_path: Path) -> None:
    path = write_container(tmp_path / name, codec)
    for channel, level in ((None, 0.375), (0, 0.5), (1, 0.25)):
        audio = converted(path, channel)
        assert len(audio) == pytest.approx(32_000, abs=800)
        middle, tone = audio[8_000:24_000], np.sin(2 * np.pi * 440 * np.arange(8_000, 24_000) / 16_000)
        assert np.std(middle) == pytest.approx(level * np.std(tone), rel=0.05)
        if name != "x.aac":  # a stream without a header, whose first samples are the encoder's
            assert np.corrcoef(middle, tone)[0, 1] > 0.98
    assert length_s(Clip(path)) == pytest.approx(2.0, abs=0.1)


def test_audio_that_begins_after_the_video(tmp_path: Path) -> None:
    audio = converted(write_container(tmp_path / "x.mkv", "pcm_s16le", at_s=1.0, video=True))
    assert len(audio) == 48_000
    assert np.abs(audio[:15_900]).max() < 0.001
    assert np.abs(audio[16_100:]).max() == pytest.approx(0.375, rel=0.05)


def test_a_part_of_a_container(tmp_path: Path) -> None:
    path = write_container(tmp_path / "x.mkv", "pcm_s16le")
    whole = converted(path)
    write_audio((Clip(path, start_s=0.5, duration_s=1.0),), tmp_path / "part.wav")
    part, _ = soundfile.read(str(tmp_path / "part.wav"))
    assert len(part) == 16_000
    assert np.abs(part[200:-200] - whole[8_200:23_800]).max() < 0.001


def test_a_live_recording_without_a_length(tmp_path: Path) -> None:
    path = tmp_path / "x.webm"
    write_container(path, "libopus")
    with av.open(str(path)) as source, path.with_name("live.webm").open("wb") as file:
        live = av.open(_Unseekable(file), "w", "webm", options={"live": "1"})
        stream = live.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.dts is not None:
                packet.stream = stream
                live.mux(packet)
        live.close()
    assert length_s(Clip(path.with_name("live.webm"))) == pytest.approx(2.0, abs=0.1)
    assert len(converted(path.with_name("live.webm"))) == pytest.approx(32_000, abs=800)


class _Unseekable:
    """A file that is only written forward, like a browser's recording."""

    def __init__(self, file: object) -> None:
        self.write = file.write  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda whole: whole[: len(whole) // 2], "not readable audio; is it truncated"),
        (lambda whole: b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/hostname\n", "not readable audio"),
        (lambda whole: b"", "not readable audio"),
    ],
)
def test_damaged_containers(content: object, message: str, tmp_path: Path) -> None:
    path = write_container(tmp_path / "x.mp4", "aac")
    path.write_bytes(content(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(UserError, match=rf"x\.mp4: {message}"):
        converted(path)


def test_a_truncated_matroska_file(tmp_path: Path) -> None:
    path = write_container(tmp_path / "x.mka", "pcm_s16le")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r"x\.mka: truncated: the header declares 2\.0 s but the file has 1\.0 s"):
        converted(path)


def test_a_truncated_avi_file(tmp_path: Path) -> None:
    """FFmpeg shortens what the header declares."""
    path = write_container(tmp_path / "x.avi", "pcm_s16le")
    assert len(converted(path)) == pytest.approx(32_000, abs=1)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r"x\.avi: truncated: the headers declare \d+ bytes but the file has \d+; get"):
        converted(path)


def test_a_video_without_audio(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "x.mp4"), "w") as container:
        write_image(container, container.add_stream("mpeg4", rate=10))
    with pytest.raises(UserError, match=r"x\.mp4: has no audio track that can be decoded"):
        converted(tmp_path / "x.mp4")


def test_without_pyav_the_message_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.m4a").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"x\.m4a needs av; install it with: pip install 'diarbench\[containers\]'"):
        converted(tmp_path / "x.m4a")


def test_a_folder_of_videos(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_container(tmp_path / "x.mp4", "aac")
    (tmp_path / "x.txt").write_text("0.5\t1.5\tbob\n")
    (recording,) = find_corpus(str(tmp_path)).recordings
    assert recording.clips == (Clip(tmp_path / "x.mp4"),)
    soundfile.write(str(tmp_path / "x.wav"), np.zeros(16_000), 16_000)
    (recording,) = find_corpus(str(tmp_path)).recordings
    assert recording.clips == (Clip(tmp_path / "x.wav"),)
    assert "x.mp4: not read, because there is an audio file of the same name" in caplog.text
