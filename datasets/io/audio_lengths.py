"""The length of an audio file: what its headers declare, against what it contains.

libsndfile cuts the length of a truncated file to what is there and says nothing. It estimates the length of an MP3 file
without a Xing header from the bit rate of the first frame, and reads the first of several joined streams alone.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Literal, NamedTuple

Order = Literal["little", "big"]

STREAMED_SIZES = (range(2**31 - 2**16, 2**31 + 1), range(2**32 - 2**16, 2**32), range(2**63 - 2**16, 2**64))
"""Sizes that programs declare where they cannot go back to the header: near the limit of its field."""

MP3_PADDING_FRAMES = 4
"""Frames of an MP3 file that are no sound, at most: the Xing header's, and the encoder's at both ends."""


@dataclass(frozen=True)
class Headers:
    """What the headers of an audio file say about its length."""

    refusal: str = ""
    """Why libsndfile would not read all of the file; empty if it does, or if the headers do not tell."""
    unsized: UnsizedFile | None = None
    """The file for libsndfile, if it should not believe a size; see `UnsizedFile`."""
    counted_s: float = 0.0
    """The length of an MP3 file is at least this, by its frames."""


def read_headers(file: IO[bytes]) -> Headers:
    """Read the headers of a WAV, RF64, W64, AIFF, AU, SPHERE, CAF, Ogg or MP3 file.

    A streamed file, whose header declares no size or the largest one, is complete.
    """
    file.seek(0)
    kind = file.read(4)
    if kind == b"OggS":
        return Headers(_ogg_refusal(file))
    if kind == b"fLaC":
        return Headers(_flac_refusal(file))
    if frames := mp3_frames(file):
        if frames.ends_inside:
            return Headers("truncated: the last MP3 frame is incomplete")
        return Headers(unsized=UnsizedFile(file), counted_s=frames.length_s - MP3_PADDING_FRAMES * frames.frame_s)
    samples = samples_in(file)
    if samples is None or samples.declared == samples.present:
        return Headers()
    declared, present, size_at = samples
    if declared > present and not any(declared in sizes for sizes in STREAMED_SIZES):
        return Headers(f"truncated: the header declares {declared} bytes of samples but the file has {present}")
    is_unwritten = declared == 0 and kind in (b"RIFF", b".snd") and not (kind == b"RIFF" and _has_chunks(file, size_at))
    return Headers(unsized=UnsizedFile(file, size_at) if is_unwritten else None)


def _has_chunks(file: IO[bytes], size_at: int) -> bool:
    """Whether a chunk follows an empty recording's, up to the end of the file."""
    end = file.seek(0, io.SEEK_END)
    return any(start + size == end for _, size, start in _chunks(file, size_at + 4, "little"))


class Samples(NamedTuple):
    """The samples of an uncompressed file, in bytes."""

    declared: int
    """By the header."""
    present: int
    """From the first sample to the end of the file."""
    size_at: int
    """Where the header declares the size."""


def samples_in(file: IO[bytes]) -> Samples | None:
    """The samples of a WAV, RF64, W64, AIFF, AU, SPHERE or CAF file; None for other files."""
    end = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM"):
        declared, start = _data_chunk(file, "big" if head[:4] in (b"RIFX", b"FORM") else "little") or (0, end)
        size_at = start - 4
    elif head[:4] == b"riff":
        declared, start = _w64_data_chunk(file) or (0, end)
        size_at = start - 8
    elif head[:4] == b"caff":
        declared, start = _caf_data_chunk(file) or (0, end)
        size_at = start - 12
    elif head[:4] == b".snd":
        start, declared = int.from_bytes(head[4:8], "big"), int.from_bytes(head[8:], "big")
        size_at = 8
    elif head[:8] == b"NIST_1A\n":
        file.seek(0)
        header = file.read(4096)
        values = {key: int(value) for key, value in re.findall(rb"^(\w+) -[a-z]\d* (\d+)\s", header, re.MULTILINE)}
        counts = [values.get(key, 0) for key in (b"sample_count", b"channel_count", b"sample_n_bytes")]
        start, declared = int(re.sub(rb"\D", b"", header[8:16]) or 0), counts[0] * counts[1] * counts[2]
        size_at = header.find(b"sample_count")
    else:
        return None
    return Samples(declared, max(0, end - start), size_at)


def _data_chunk(file: IO[bytes], order: Order) -> tuple[int, int] | None:
    """Size and position of the samples in a file of RIFF's or IFF's chunks."""
    large = 0
    for name, size, start in _chunks(file, 12, order):
        if name in (b"data", b"SSND"):
            return (large if large and size == 2**32 - 1 else size), start
        if name == b"ds64":  # RF64's sizes of 64 bits: of the file, of the samples
            large = int.from_bytes(file.read(16)[8:], order)
    return None


MOST_CHUNKS = 10_000
"""Of a file. Zeros count as empty chunks, and a sparse file can have any number of them."""


def _chunks(file: IO[bytes], position: int, order: Order) -> Iterator[tuple[bytes, int, int]]:
    """Name, size and position of the content of each chunk."""
    file.seek(position)
    for _ in range(MOST_CHUNKS):
        if len(header := file.read(8)) < 8:
            return
        size, start = int.from_bytes(header[4:], order), file.tell()
        yield header[:4], size, start
        file.seek(start + size + size % 2)


def _w64_data_chunk(file: IO[bytes]) -> tuple[int, int] | None:
    """Size and position of the samples in a W64 file: names of 16 bytes, and sizes of 8 that count the header too."""
    end = file.seek(0, io.SEEK_END)
    file.seek(40)
    for _ in range(MOST_CHUNKS):
        if len(header := file.read(24)) < 24:
            break
        size, start = max(24, int.from_bytes(header[16:], "little")) - 24, file.tell()
        if header[:4] == b"data":
            return size, start
        file.seek(min(start + size + -size % 8, end))
    return None


def _caf_data_chunk(file: IO[bytes]) -> tuple[int, int] | None:
    """Size and position of the samples in a CAF file, where a count of edits comes before them."""
    end = file.seek(0, io.SEEK_END)
    file.seek(8)
    for _ in range(MOST_CHUNKS):
        if len(header := file.read(12)) < 12:
            break
        size, start = int.from_bytes(header[4:], "big"), file.tell()
        if header[:4] == b"data":
            return max(0, size - 4), start + 4
        file.seek(min(start + size, end))
    return None


def avi_refusal(file: IO[bytes]) -> str:
    """Why an AVI file is not whole, by the sizes of its outermost chunks; empty if it is, or for other files."""
    file.seek(0)
    head, end = file.read(12), file.seek(0, io.SEEK_END)
    if head[:4] != b"RIFF" or head[8:] != b"AVI ":
        return ""
    ends = [start + size for _, size, start in _chunks(file, 0, "little")]
    if len(ends) == MOST_CHUNKS:
        return "damaged: it has no end of chunks"
    declared = max(ends)
    is_cut = declared > end and int.from_bytes(head[4:8], "little") not in STREAMED_SIZES[1]
    return f"truncated: the headers declare {declared} bytes but the file has {end}" if is_cut else ""


LONGEST_FLAC_FRAME = 1_000_000


def _flac_refusal(file: IO[bytes]) -> str:
    """Why libsndfile would not read all of a FLAC file: it stops at the number of samples in the header."""
    file.seek(0)
    header, end = file.read(42), file.seek(0, io.SEEK_END)
    samples = int.from_bytes(header[18:26], "big") & 0xFFFFFFFFF
    if not samples:
        return "a streamed FLAC file, which has no length"
    file.seek(max(len(header), end - LONGEST_FLAC_FRAME))
    start = _last_flac_frame(file.read(), int.from_bytes(header[10:12], "big"))
    is_less = start is not None and start >= samples
    return f"has more than the {samples} samples that its header declares" if is_less else ""


def _last_flac_frame(tail: bytes, block_size: int) -> int | None:
    """The first sample of the frame at the end of a FLAC file; None where the file ends otherwise (RFC 9639, 9.1)."""
    at = len(tail)
    while (at := tail.rfind(b"\xff", 0, at)) >= 0:
        head = tail[at : at + 17]
        if len(head) < 7 or head[1] not in (0xF8, 0xF9):
            continue
        ones = 8 - (head[4] ^ 0xFF).bit_length()  # as in UTF-8, of the number of bytes
        length = max(1, ones)
        number = head[4] & (0x7F >> ones)
        for byte in head[5 : 4 + length]:
            number = number << 6 | byte & 0x3F
        length += 4 + {6: 1, 7: 2}.get(head[2] >> 4, 0) + {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)
        if _crc(head[: length + 1], 8, 0x07) == 0 and _crc(tail[at:], 16, 0x8005) == 0:
            return number if head[1] == 0xF9 else number * block_size
    return None


def _crc(content: bytes, bits: int, polynomial: int) -> int:
    """The remainder of a cyclic redundancy check; 0 for content that ends with its own."""
    remainder, top = 0, 1 << (bits - 1)
    for byte in content:
        remainder ^= byte << (bits - 8)
        for _ in range(8):
            remainder = (remainder << 1 ^ polynomial if remainder & top else remainder << 1) & (2 * top - 1)
    return remainder


def _ogg_refusal(file: IO[bytes]) -> str:
    position, has_ended, is_whole = 0, False, False
    end = file.seek(0, io.SEEK_END)
    while True:
        file.seek(position)
        header = file.read(27 + 255)
        if len(header) < 27 or header[:4] != b"OggS":
            break
        if has_ended and header[5] & 2:
            return "several Ogg streams in one file, of which only the first would be read"
        has_ended |= header[5] & 4 != 0
        position += 27 + header[26] + sum(header[27 : 27 + header[26]])
        is_whole = position <= end
    return "" if has_ended and is_whole else "truncated: the Ogg stream has no last page"


class Mp3Frames(NamedTuple):
    """The frames that follow each other in an MP3 file, up to the first gap."""

    length_s: float
    frame_s: float
    """The length of the longest."""
    ends_inside: bool
    """Whether the file ends inside the last one."""


def mp3_frames(file: IO[bytes]) -> Mp3Frames | None:
    """Count the frames of an MP3 file; None for other files."""
    file.seek(0)
    tag = file.read(10)
    position = 0
    if tag[:3] == b"ID3" and len(tag) == 10:  # its size has seven bits a byte
        position = 10 + sum((byte & 127) << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0), strict=True))
        position += 10 if tag[5] & 16 else 0
    frames = list(_frames(file, position))
    if len(frames) < 2:
        return None
    sizes, durations = zip(*frames, strict=True)
    return Mp3Frames(sum(durations), max(durations), position + sum(sizes) > file.seek(0, io.SEEK_END))


_KBITS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
"""By version of MPEG: 1, 2 and 2.5."""


def _frames(file: IO[bytes], position: int) -> Iterator[tuple[int, float]]:
    """Size in bytes and duration in seconds of each frame (layer III, ISO 11172-3 and 13818-3)."""
    while True:
        file.seek(position)
        header = file.read(4)
        if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
            return
        version, bits, rate = header[1] >> 3 & 3, header[2] >> 4, header[2] >> 2 & 3
        if version == 1 or bits in (0, 15) or rate == 3:
            return
        kbits, samples = (_KBITS_1, 1152) if version == 3 else (_KBITS_2, 576)
        size = samples // 8 * 1000 * kbits[bits] // _RATES[version][rate] + (header[2] >> 1 & 1)
        yield size, samples / _RATES[version][rate]
        position += size


class SeekableFile:
    """A file for libsndfile, which seeks to places before its beginning where a header is damaged."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        file.seek(0)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        try:
            return self.file.seek(offset, whence)
        except (OSError, ValueError):
            return self.tell()

    def tell(self) -> int:
        return self.file.tell()

    def read(self, count: int = -1) -> bytes:
        return self.file.read(count)


class UnsizedFile(SeekableFile):
    """A file for libsndfile that hides a size: that of the file, or the one of 0 in its header.

    Without the size of an MP3 file, libsndfile counts the frames where there is no Xing header. The header's size is
    read as the largest one.
    """

    def __init__(self, file: IO[bytes], size_at: int | None = None) -> None:
        super().__init__(file)
        self.size_at, self._at_end = size_at, False

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at_end = whence == io.SEEK_END and self.size_at is None
        return super().seek(offset, whence)

    def tell(self) -> int:
        return 2**63 - 1 if self._at_end else self.file.tell()

    def read(self, count: int = -1) -> bytes:
        position, content = self.file.tell(), bytearray(self.file.read(count))
        if self.size_at is not None:
            hidden = range(max(0, self.size_at - position), min(len(content), self.size_at + 4 - position))
            for at in hidden:
                content[at] = 0xFF
        return bytes(content)
