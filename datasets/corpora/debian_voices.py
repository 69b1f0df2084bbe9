"""debian-voices: single-speaker speech from Debian packages, mostly games, as material for simulated conversations.

Format: OGG and WAV files, some inside ZIP files, with one utterance each. Most have 22.05 kHz or more, those of
warzone2100 have 11.025 kHz; files with lower rates are left out.
Splits: none; everything is train. There are no conversations, so it is for `bench data simulate`, not `bench run`.
Licence: according to the Debian copyright files each package is under the GNU GPL, version 2 or "version 2 or later",
except festvox-ru, which is under X11-like terms. Material derived from all of them can be distributed under GPL-2.
Other packages with recorded speech are not used, mostly because of their licences: asterisk-core-sounds-* and
asterisk-prompt-* (CC BY-SA, CC BY and GPL; mostly telephone speech), gcin-voice (CC BY and GPL-3; single syllables),
qabcs-data and planetblupi-common (GPL-3), unknown-horizons and megaglest-data (CC BY-SA), hedgewars-data (GFDL).

The packages do not name the speakers. A speaker is identified by language, by a game's character or, in fillets, by the
actor. The same language in two packages counts as two speakers.
"""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from diarbench.datasets.conversion.convert import convert
from diarbench.datasets.conversion.corpus import Corpus, SourceRecording
from diarbench.datasets.io.audio import AUDIO_SUFFIXES, SAMPLE_RATE, Clip, write_wav
from diarbench.datasets.io.errors import UserError, require
from diarbench.datasets.io.files import temporary_folder
from diarbench.datasets.io.rttm import Turn

if TYPE_CHECKING:
    import numpy as np


log = logging.getLogger(__name__)

SUMMARY = "7.4 hours of single-speaker speech (64 speakers, about 20 languages) from Debian packages, for simulation"

LICENCE = (
    "GPL-2 (fillets-ng-data-cs, fillets-ng-data-nl), X11-like (festvox-ru), GPL-2+ (tuxpaint-stamps-default, "
    "klettres-data, ktuberling-data, nexuiz-data, warzone2100-data, trigger-rally-data, boswars-data, "
    "freedroidrpg-data)"
)

VOICES = {
    "fillets-ng-data-cs": r"/sound/.*/(?P<voice>cs)/[^/]*-(?P<actor>[mv])-",
    "fillets-ng-data-nl": r"/sound/.*/(?P<voice>nl)/[^/]*-(?P<actor>[mv])-",
    "festvox-ru": r"/voices/(?P<voice>russian)/.*/wav/",
    "tuxpaint-stamps-default": r"/stamps/.*_desc_(?P<voice>\w+)\.ogg$",
    "klettres-data": r"/klettres/(?P<voice>\w+)/(alpha|syllab)/",
    "ktuberling-data": r"/sounds/(?P<voice>\w+)/",
    "nexuiz-data": r"/sound/(player/)?(?P<voice>tutorial|[\w-]+(?=/coms/))/",
    "warzone2100-data": r"/audio/(?P<voice>tutorial|countdown|coltive)/",
    "trigger-rally-data": r"/codriver/(?P<voice>\w+)/",
    "boswars-data": r"/campaigns/(?P<voice>tutorial)/",
    "freedroidrpg-data": r"/effects/(?P<voice>tux)_ingame_comments/",
}
"""For each package, the pattern of its files' paths; the groups identify the speaker."""

ZIP_SUFFIXES = frozenset({".zip", ".pk3", ".wz"})

LOWEST_RATE = 11_025
"""Files with a lower sampling rate (Hz) are left out."""

SHORTEST_VOICE_S = 12.0
"""Speakers with less speech are left out."""

FRAME_S = 0.02
"""The frame length of the energy-based speech detection."""

QUIET_DB = -35.0
"""Frames below this level, relative to the loudest frame of the utterance, are not speech."""

PAUSE_S = 0.3
"""A silence longer than this ends a turn."""

LEVEL_DB = -26.0
"""The RMS level of each utterance's speech relative to full scale; in the packages levels differ by 20 dB."""


def fetch(target: Path, downloads: Path) -> None:
    """Download the packages into ``downloads`` with apt-get and convert them into a dataset at ``target``.

    Raises UserError if apt-get is not installed or fails.
    """
    folder = downloads / "debian-voices"
    with tempfile.TemporaryDirectory(prefix="debian-voices-") as temporary:
        for package in VOICES:
            archive = _archive(package, folder)
            _run(["dpkg-deb", "--extract", str(archive), str(Path(temporary) / package)])
        packages = ", ".join(unquote(_archive(package, folder).stem.removesuffix("_all")) for package in VOICES)
        convert(corpus(Path(temporary), Path(temporary) / "voices", packages), target)


def corpus(unpacked: Path, work: Path, packages: str = ", ".join(VOICES)) -> Corpus:
    """Read the speakers in unpacked packages, one folder per package; their audio is written to ``work``.

    ``packages`` is the list of packages with versions, for the record.
    """
    return Corpus(
        "Debian voices", _read_recordings(unpacked, work), f"Debian packages {packages}", LICENCE, "all of it is train"
    )


def _read_recordings(unpacked: Path, work: Path) -> Iterator[SourceRecording]:
    work.mkdir(parents=True, exist_ok=True)
    files: dict[str, list[Path]] = {}
    for package, pattern in VOICES.items():
        _unzip(unpacked / package)
        for path in sorted((unpacked / package).rglob("*")):
            match = re.search(pattern, path.as_posix()) if path.suffix in AUDIO_SUFFIXES else None
            if match:
                speaker = "-".join([package.partition("-")[0], *match.groupdict().values()])
                files.setdefault(speaker, []).append(path)
    for speaker, paths in files.items():
        audio, turns = join_utterances(paths, speaker)
        if sum(turn.end_s - turn.start_s for turn in turns) < SHORTEST_VOICE_S:
            log.info("%s: less than %g s of speech, left out", speaker, SHORTEST_VOICE_S)
            continue
        write_wav(work / f"{speaker}.wav", audio)
        yield SourceRecording(speaker, (Clip(work / f"{speaker}.wav"),), turns, None, "train")


def join_utterances(paths: list[Path], speaker: str) -> tuple[np.ndarray, list[Turn]]:
    """Join a speaker's utterances, mono at 16 kHz and at equal level; returns the samples and the turns in them."""
    import numpy as np
    import soundfile

    soxr = require("soxr", "debian-voices")
    parts: list[np.ndarray] = []
    turns: list[Turn] = []
    at = 0
    for path in paths:
        samples, rate = soundfile.read(str(path), dtype="float32", always_2d=True)
        if rate < LOWEST_RATE or not samples.any():
            continue
        audio = soxr.resample(samples.mean(axis=1), rate, SAMPLE_RATE)
        segments = detect_speech(audio)
        speech = np.concatenate([audio[begin:end] for begin, end in segments]) if segments else audio[:0]
        if not len(speech):
            continue
        gain = 10 ** (LEVEL_DB / 20) / np.sqrt(np.mean(speech**2))
        parts.append(np.clip(audio * gain, -1, 1))
        turns += [Turn((at + begin) / SAMPLE_RATE, (at + end) / SAMPLE_RATE, speaker) for begin, end in segments]
        at += len(audio)
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.float32), turns


def detect_speech(audio: np.ndarray) -> list[tuple[int, int]]:
    """The speech segments (first sample, last sample + 1) of an utterance, mono at 16 kHz, by their energy."""
    import numpy as np

    frame = round(FRAME_S * SAMPLE_RATE)
    energy = np.square(audio[: len(audio) // frame * frame]).reshape(-1, frame).mean(axis=1)
    if not energy.any():
        return []
    loud = np.flatnonzero(energy > energy.max() * 10 ** (QUIET_DB / 10))
    pauses = np.flatnonzero(np.diff(loud) > PAUSE_S / FRAME_S)
    firsts, lasts = loud[np.r_[0, pauses + 1]], loud[np.r_[pauses, len(loud) - 1]]
    return [(int(first) * frame, (int(last) + 1) * frame) for first, last in zip(firsts, lasts, strict=True)]


def _unzip(package: Path) -> None:
    """Extract the audio from a package's ZIP files into their folders; some games keep their audio in ZIP files."""
    for archive in [path for path in package.rglob("*") if path.suffix in ZIP_SUFFIXES]:
        with zipfile.ZipFile(archive) as opened:
            sounds = [name for name in opened.namelist() if Path(name).suffix in AUDIO_SUFFIXES]
            opened.extractall(archive.parent, sounds)


def _archive(package: str, folder: Path) -> Path:
    """The package's .deb file; downloaded if it is missing."""
    name = f"{package}_*.deb"
    if not any(folder.glob(name)):
        log.info("downloading %s", package)
        with temporary_folder(folder / package) as temporary:
            _run(["apt-get", "download", "--quiet", package], cwd=temporary)
            for archive in temporary.glob(name):
                archive.replace(folder / archive.name)
    return max(folder.glob(name))


def _run(command: list[str], cwd: Path | None = None) -> None:
    """Run one of Debian's tools. Raises UserError if it is not installed or fails."""
    if shutil.which(command[0]) is None:
        raise UserError(f"debian-voices needs {command[0]}; use a machine or container with Debian or a derivative")
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise UserError(f"debian-voices: {' '.join(command)} failed ({reason}); try 'apt-get update' first")
