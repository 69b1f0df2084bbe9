"""ami-mini: fourteen 30 s excerpts of AMI meetings, contained in pyannote.audio's source distribution.

Format: 16 kHz mono WAV, and one RTTM, UEM and list per subset, in ``tests/data``.
Splits: those of the package (``debug.{train,development,test}``), with 10, 2 and 2 excerpts.
Licence: pyannote.audio is MIT; the AMI corpus is CC BY 4.0 (https://groups.inf.ed.ac.uk/ami/corpus/).

The first train excerpt is ``trn00`` in RTTM and UEM, but the list and the audio file have a tilde on the n. Its Unicode
form depends on the tool that unpacked the archive, so the name is ``trn00`` here.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import tarfile
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from diarbench.datasets.conversion.convert import convert
from diarbench.datasets.conversion.corpus import Corpus, SourceRecording
from diarbench.datasets.dataset import Subset
from diarbench.datasets.io.audio import Clip
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import sha256_of, temporary_folder
from diarbench.datasets.io.rttm import read_rttm, read_uem, read_uris

log = logging.getLogger(__name__)

SUMMARY = "14 excerpts of AMI meetings, 30 s each, from pyannote.audio's own tests"

LICENCE = "CC BY 4.0 (AMI corpus), in pyannote.audio 4.0.7 (MIT)"

PACKAGE = "pyannote.audio==4.0.7"

ARCHIVE = "pyannote_audio-4.0.7.tar.gz"

SHA256 = "3a903dfb5ca711d134cc2522561c9158b186836f5d62e8a57c46c6648e8a8229"

SPLITS: dict[str, Subset] = {"train": "train", "development": "dev", "test": "test"}


def fetch(target: Path, downloads: Path) -> None:
    """Download the archive into ``downloads`` once, check its hash, and convert it into a dataset at ``target``.

    Raises UserError if the archive cannot be downloaded or its hash differs; the message says which file to put where.
    """
    archive = downloads / ARCHIVE
    if not archive.is_file():
        _download(archive)
    if sha256_of(archive) != SHA256:
        raise UserError(f"{archive}: not the expected file (SHA-256 {SHA256}); remove it and fetch again")
    with tempfile.TemporaryDirectory(prefix="ami-mini-") as temporary:
        with tarfile.open(archive) as tar:
            for member in tar:
                content = tar.extractfile(member) if "/tests/data/" in member.name else None
                if content:
                    (Path(temporary) / Path(member.name).name).write_bytes(content.read())
        convert(corpus(Path(temporary)), target)


def corpus(data: Path) -> Corpus:
    """Read the excerpts in a folder with the files of ``tests/data``."""
    source = f"{PACKAGE} source distribution, tests/data"
    return Corpus("AMI", _read_recordings(data), source, licence=LICENCE, split_rule="the package's own")


def _read_recordings(data: Path) -> Iterator[SourceRecording]:
    audio = {_without_accents(path.stem): path for path in data.glob("*.wav")}
    for split, subset in SPLITS.items():
        turns, regions = read_rttm(data / f"debug.{split}.rttm"), read_uem(data / f"debug.{split}.uem")
        for uri in map(_without_accents, read_uris(data / f"debug.{split}.lst")):
            yield SourceRecording(uri, (Clip(audio[uri]),), turns[uri], regions[uri], subset)


def _without_accents(name: str) -> str:
    """Remove accents in any Unicode form."""
    return "".join(c for c in unicodedata.normalize("NFD", name) if not unicodedata.combining(c))


def _download(archive: Path) -> None:
    """Download the archive with pip and its configuration (index, proxy, certificates)."""
    by_hand = f"put {ARCHIVE} (the source distribution of {PACKAGE} on PyPI) into {archive.parent} by hand"
    log.info("downloading %s", ARCHIVE)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    with temporary_folder(archive) as temporary:
        pip += ["--no-deps", "--no-binary", "pyannote.audio", "--dest", str(temporary), PACKAGE]
        result = subprocess.run(pip, capture_output=True, text=True, check=False)
        downloaded = temporary / ARCHIVE
        if not downloaded.is_file():
            reason = (result.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
            raise UserError(f"ami-mini cannot be fetched: {by_hand} ({reason})")
        downloaded.replace(archive)
