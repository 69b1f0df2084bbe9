"""debian-voices: people speaking in Debian's games, each a recording of one speaker; material to simulate from.

Format: OGG and WAV files, some in ZIP files, one utterance each; most at 22.05 kHz or more, warzone2100's at 11.025 kHz
(what is below that is left out).
Splits: none; all of it is train. It is no conversation, so it is for `bench data simulate`, not for `bench run`.
Licence: every package is under the GNU GPL, version 2 or "version 2 or later", or, festvox-ru, under terms as free as
X11's, by its Debian copyright file, so that what is derived from all of them together may be given away under GPL-2.
Debian's other recorded voices are left out: asterisk-core-sounds-* and asterisk-prompt-* are under CC BY-SA, CC BY and
the GPL and most of them telephone speech, gcin-voice is single syllables under CC BY and the GPL-3, qabcs-data and
planetblupi-common are under the GPL-3, unknown-horizons's and megaglest-data's under CC BY-SA, hedgewars-data's under
the GFDL.

Who speaks is not written down in the packages but by language, by a game's character and, in fillets, by the two
fishes' actors. Speakers of one language in two packages are taken for two.
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
from diarbench.datasets.io.audio import AUDIO_SUFFIXES, SAMPLE_RATE, Clip
from diarbench.datasets.io.errors import UserError, require
from diarbench.datasets.io.rttm import Turn

if TYPE_CHECKING:
    import numpy as np


log = logging.getLogger(__name__)

SUMMARY = "64 speakers alone, 7.4 hours in some twenty languages, from Debian's games: to simulate from"

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
"""Package -> what in a file's path tells its speaker."""

ZIP_SUFFIXES = frozenset({".zip", ".pk3", ".wz"})

LOWEST_RATE = 11_025

SHORTEST_VOICE_S = 12.0
"""Less of a speaker than this is left out: a voice is not known by a few words."""

FRAME_S = 0.02

QUIET_DB = -35.0
"""Frames so far under an utterance's loudest are no speech."""

PAUSE_S = 0.3
"""A silence longer than this ends a turn."""

LEVEL_DB = -26.0
"""Root mean square of each utterance's speech, to full scale: the packages differ by 20 dB."""


def fetch(target: Path, downloads: Path) -> None:
    """Fetch the packages with apt's own client into ``downloads`` and make a dataset of them at ``target``.

    Raises UserError where there is no apt-get, or where it fails, with its reason.
    """
    folder = downloads / "debian-voices"
    with tempfile.TemporaryDirectory(prefix="debian-voices-") as temporary:
        for package in VOICES:
            archive = _archive(package, folder)
            _run(["dpkg-deb", "--extract", str(archive), str(Path(temporary) / package)])
        packages = ", ".join(unquote(_archive(package, folder).stem.removesuffix("_all")) for package in VOICES)
        convert(corpus(Path(temporary), Path(temporary) / "voices", packages), target)


def corpus(unpacked: Path, work: Path, packages: str = ", ".join(VOICES)) -> Corpus:
    """The speakers in folders named like the packages that were unpacked there; their audio is written to ``work``.

    ``packages`` says which they are, with versions.
    """
    return Corpus("Debian voices", _find(unpacked, work), f"Debian packages {packages}", LICENCE, "all of it is train")


def _find(unpacked: Path, work: Path) -> Iterator[SourceRecording]:
    import soundfile

    work.mkdir(parents=True, exist_ok=True)
    files: dict[str, list[Path]] = {}
    for package, pattern in VOICES.items():
        _unzip(unpacked / package)
        for path in sorted((unpacked / package).rglob("*")):
            spoken = re.search(pattern, path.as_posix()) if path.suffix in AUDIO_SUFFIXES else None
            if spoken:
                voice = "-".join([package.partition("-")[0], *spoken.groupdict().values()])
                files.setdefault(voice, []).append(path)
    for voice, paths in files.items():
        audio, turns = speech_of(paths, voice)
        if sum(turn.end_s - turn.start_s for turn in turns) < SHORTEST_VOICE_S:
            log.info("%s: under %g s of speech, left out", voice, SHORTEST_VOICE_S)
            continue
        soundfile.write(str(work / f"{voice}.wav"), audio, SAMPLE_RATE, subtype="PCM_16")
        yield SourceRecording(voice, (Clip(work / f"{voice}.wav"),), turns, None, "train")


def speech_of(paths: list[Path], speaker: str) -> tuple[np.ndarray, list[Turn]]:
    """A speaker's utterances one after another, mono at 16 kHz and equally loud, and where speech is in them."""
    import numpy as np
    import soundfile

    soxr = require("soxr", "debian-voices")
    parts: list[np.ndarray] = []
    turns: list[Turn] = []
    at = 0
    for path in paths:
        sound, rate = soundfile.read(str(path), dtype="float32", always_2d=True)
        if rate < LOWEST_RATE or not sound.any():
            continue
        audio = soxr.resample(sound.mean(axis=1), rate, SAMPLE_RATE)
        stretches = spoken(audio)
        heard = np.concatenate([audio[begin:end] for begin, end in stretches]) if stretches else audio[:0]
        if not len(heard):
            continue
        loudness = 10 ** (LEVEL_DB / 20) / np.sqrt(np.mean(heard**2))
        parts.append(np.clip(audio * loudness, -1, 1))
        turns += [Turn((at + begin) / SAMPLE_RATE, (at + end) / SAMPLE_RATE, speaker) for begin, end in stretches]
        at += len(audio)
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.float32), turns


def spoken(audio: np.ndarray) -> list[tuple[int, int]]:
    """The stretches of speech (first and past-last sample) in an utterance of mono samples at 16 kHz."""
    import numpy as np

    frame = round(FRAME_S * SAMPLE_RATE)
    energy = np.square(audio[: len(audio) // frame * frame]).reshape(-1, frame).mean(axis=1)
    if not energy.any():
        return []
    loud = np.flatnonzero(energy > energy.max() * 10 ** (QUIET_DB / 10))
    parted = np.flatnonzero(np.diff(loud) > PAUSE_S / FRAME_S)
    firsts, lasts = loud[np.r_[0, parted + 1]], loud[np.r_[parted, len(loud) - 1]]
    return [(int(first) * frame, (int(last) + 1) * frame) for first, last in zip(firsts, lasts, strict=True)]


def _unzip(package: Path) -> None:
    """Lay the sounds in a package's ZIP files, as some games keep them, beside those files."""
    for archive in [path for path in package.rglob("*") if path.suffix in ZIP_SUFFIXES]:
        with zipfile.ZipFile(archive) as opened:
            sounds = [name for name in opened.namelist() if Path(name).suffix in AUDIO_SUFFIXES]
            opened.extractall(archive.parent, sounds)


def _archive(package: str, folder: Path) -> Path:
    """The package's file, downloaded where it is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    there = sorted(folder.glob(f"{package}_*.deb"))
    if not there:
        log.info("downloading %s", package)
        _run(["apt-get", "download", "--quiet", package], cwd=folder)
        there = sorted(folder.glob(f"{package}_*.deb"))
    return there[-1]


def _run(command: list[str], cwd: Path | None = None) -> None:
    """Run one of Debian's own tools. Raises UserError where it is absent or fails."""
    if shutil.which(command[0]) is None:
        raise UserError(f"debian-voices is fetched with {command[0]}, of Debian and its like; this machine has none")
    ended = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if ended.returncode:
        said = (ended.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise UserError(f"debian-voices: {' '.join(command)} failed ({said}); does 'apt-get update' help?")
