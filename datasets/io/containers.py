"""Audio in the containers of video and telephones (MP4, Matroska, ...), decoded by the FFmpeg that PyAV carries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diarbench.datasets.io.audio_lengths import avi_refusal
from diarbench.datasets.io.errors import UserError, require
from diarbench.datasets.io.files import check_file, open_file

if TYPE_CHECKING:
    import numpy as np

CONTAINER_SUFFIXES = frozenset(
    {".3gp", ".aac", ".amr", ".avi", ".m4a", ".m4b", ".m4v", ".mka", ".mkv", ".mov", ".mp4", ".webm", ".wma"}
)

_DEMUXERS = "aac,amr,asf,avi,matroska,mov"
"""FFmpeg's names of these formats. Others, such as playlists, can refer to further files and addresses."""

_DECLARING = ("mov", "matroska", "avi")
"""Those that declare a length; FFmpeg estimates that of the others from the bit rate."""

LARGEST_LOSS_S = 0.5
"""Declared lengths include what encoders put before and after the audio."""


LONGEST_SILENCE_S = 600
"""Before a track that begins after the video; longer ones are damage."""


class ContainerFile:
    """The first audio track of a file, with those attributes and methods of `soundfile.SoundFile` that `audio` uses.

    A track that begins after the video is preceded by silence, so that times are those of the video.
    Raises UserError where PyAV is missing, or the file is damaged, truncated or has no audio.
    """

    format, subtype = "CONTAINER", ""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._av = require("av", f"reading {path}", extra="containers")
        self._errors = (OSError, ValueError, self._av.error.FFmpegError)
        try:
            self._file = open_file(path)
        except OSError as error:
            check_file(path)
            raise UserError(f"{path}: cannot be read ({error.strerror})") from error
        if refusal := avi_refusal(self._file):
            self._file.close()
            raise UserError(f"{path}: {refusal}; get the file again")
        self._file.seek(0)
        try:
            self._container = self._av.open(self._file, options={"format_whitelist": _DEMUXERS})
            self._stream: Any = next(iter(self._container.streams.audio), None)
        except self._errors as error:
            self._file.close()
            raise UserError(f"{path}: not readable audio; is it truncated, or not audio at all? ({error})") from error
        codec: Any = self._stream and self._stream.codec_context
        if not (codec and codec.rate and codec.channels):
            self.__exit__()
            raise UserError(f"{path}: has no audio track that can be decoded")
        self.samplerate: int = codec.rate
        self.channels: int = codec.channels
        self._declared_s = self._declared_length_s()
        self.frames = round((self._declared_s or self._packets_s()) * self.samplerate)
        """The samples of each channel: first as declared or estimated, at the end as counted."""
        self._position = 0
        self._decoded = self._decode()
        self._next: np.ndarray | None = None

    def __enter__(self) -> ContainerFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()
        self._file.close()

    def tell(self) -> int:
        return self._position

    def seek(self, frame: int) -> None:
        """Skip to a sample further on, by decoding: times in a container are too coarse to jump to."""
        while self._position < frame and len(self.read(min(frame - self._position, 30 * self.samplerate))):
            pass

    def read(self, frames: int, **_: object) -> np.ndarray:
        """The next samples as float32 of shape (frames, channels); fewer at the end of the file."""
        import numpy as np

        parts, missing = [np.zeros((0, self.channels), dtype=np.float32)], frames
        while missing > 0:
            block = next(self._decoded, None) if self._next is None else self._next
            if block is None:
                break
            parts.append(block[:missing])
            self._next = block[missing:] if len(block) > missing else None
            missing -= len(parts[-1])
        self._position += frames - missing
        return np.concatenate(parts)

    def _declared_length_s(self) -> float:
        if self._stream.duration:
            return float(self._stream.duration * self._stream.time_base)
        if self._container.duration:
            return float(self._container.duration) / self._av.time_base - self._start_s()
        return 0.0

    def _declares_length(self) -> bool:
        """Whether the length of the audio track is known: its own, or that of a file with no other track."""
        is_own = self._stream.duration or len(self._container.streams) == 1
        return bool(is_own and self._container.format.name.startswith(_DECLARING))

    def _packets_s(self) -> float:
        """The end of the last packet; browsers and other live recorders declare no length."""
        try:
            ends = [packet.pts + (packet.duration or 0) for packet in self._container.demux(self._stream) if packet.pts]
            self._container.seek(0)
        except self._errors as error:
            raise UserError(f"{self._path}: truncated or damaged ({error}); get the file again") from error
        return float(max(ends, default=0) * self._stream.time_base)

    def _start_s(self) -> float:
        return float(self._container.start_time or 0) / self._av.time_base

    def _decode(self) -> Iterator[np.ndarray]:
        import numpy as np

        to_float = self._av.AudioResampler(format="fltp", layout=self._stream.layout, rate=self.samplerate)
        frames = 0
        try:
            for decoded in self._container.decode(self._stream):
                if not frames and decoded.time:
                    frames = max(0, round((decoded.time - self._start_s()) * self.samplerate))
                    if frames > LONGEST_SILENCE_S * self.samplerate:
                        raise UserError(
                            f"{self._path}: its audio begins after {decoded.time:.0f} s; get the file again"
                        )
                    yield np.zeros((frames, self.channels), dtype=np.float32)
                for frame in to_float.resample(decoded):
                    frames += frame.samples
                    yield frame.to_ndarray().T
        except self._errors as error:
            at_s = frames / self.samplerate
            raise UserError(
                f"{self._path}: cannot be decoded after {at_s:.1f} s; get the file again ({error})"
            ) from error
        length_s = frames / self.samplerate
        if self._declares_length() and self._declared_s - length_s > LARGEST_LOSS_S:
            text = f"truncated: the header declares {self._declared_s:.1f} s but the file has {length_s:.1f} s"
            raise UserError(f"{self._path}: {text}; get the file again")
        self.frames = frames
