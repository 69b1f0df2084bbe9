"""Detect the format of a source and read the source into a Corpus."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from diarbench.datasets.conversion.corpus import Corpus
from diarbench.datasets.formats.turn_files import READERS, has_turns, read_turn_file
from diarbench.datasets.io.audio import AUDIO_SUFFIXES
from diarbench.datasets.io.containers import CONTAINER_SUFFIXES
from diarbench.datasets.io.errors import UserError, did_you_mean
from diarbench.datasets.io.files import files, nfc

FORMATS = {
    "layout": "guide_layout",
    "pyannote": "pyannote_yaml",
    "lhotse": "lhotse_sets",
    "kaldi": "kaldi",
    "nemo": "nemo_manifest",
    "huggingface": "huggingface",
    "nikl": "nikl",
    "aihub": "aihub",
    "rttm": "rttm_folder",
    "textgrid": "textgrid_tiers",
    "elan": "elan",
    "turns": "turn_files",
}
"""The module in this folder for each format, with ``sniff(path)`` and ``find(path, **options)``.

The first format whose ``sniff`` is true is used.
"""

BESIDE_AUDIO = {
    "rttm": frozenset({".rttm"}),
    "textgrid": frozenset({".textgrid"}),
    "elan": frozenset({".eaf"}),
    "turns": frozenset(READERS),
}
"""Formats with one or more files for each recording, named as its audio is, and the suffixes of these files."""

DATASET = "dataset"
"""The parameter of ``find`` that is no option of the source."""


def find_corpus(source: str, format_name: str | None = None, dataset: str = "", **options: str) -> Corpus:
    """Read a source: a path, ``lhotse:CORPUS:DIR`` or ``hf:NAME``. Without a format name the format is detected.

    With ``dataset``, a converted dataset's folder, formats that pair references with audio take the dataset's audio.
    Raises UserError if the source does not exist, the format or an option is unknown, or the format is to be detected
    and the recordings have references in several.
    """
    scheme, _, rest = source.partition(":")
    if scheme == "lhotse" and rest:
        corpus, _, folder = rest.partition(":")
        if not folder:
            raise UserError(f"{source}: add the corpus folder: {source}:CORPUS_DIR")
        return _format("lhotse").prepare(corpus, Path(folder), **options)
    if scheme == "hf" and rest:
        return _call(_format("huggingface").hub, rest, options)
    path = Path(source)
    if not path.exists():
        raise UserError(f"{source}: no such file or folder")
    if format_name is None:
        format_name = next((name for name in FORMATS if _format(name).sniff(path)), None)
        if format_name is None:
            _refuse(path)
        if format_name in BESIDE_AUDIO:
            _refuse_several(path, Path(dataset or path))
    elif format_name not in FORMATS:
        hint = did_you_mean(format_name, FORMATS)
        raise UserError(f"--from {format_name}: unknown format{hint}; choose from {', '.join(FORMATS)}")
    find = _format(format_name).find
    if dataset and DATASET in inspect.signature(find).parameters:
        find = partial(find, dataset=dataset)
    return replace(_call(find, path, options), format_name=format_name)


def _refuse_several(path: Path, audio_root: Path) -> None:
    """Raises UserError where files of several formats have the names of recordings: reading one loses the others."""
    audio = files(audio_root, AUDIO_SUFFIXES | CONTAINER_SUFFIXES)
    names = {nfc(name) for file in audio for name in (file.stem, file.parent.name)}
    found = {name: Counter[str]() for name in BESIDE_AUDIO}
    for name, suffixes in BESIDE_AUDIO.items():
        for file in files(path, suffixes):
            if nfc(file.stem) in names and (name != "turns" or has_turns(file)):
                found[name][file.suffix] += 1
    several = {name: counts for name, counts in found.items() if counts}
    if len(several) > 1:
        counts = "; ".join(
            f"--from {name}: {', '.join(f'{count} {suffix}' for suffix, count in sorted(counts.items()))}"
            for name, counts in several.items()
        )
        # Not bench data merge, by which a speaker of two formats becomes two.
        cure = "convert each into a folder of its own, copy FOLDER/*/rttm/*.rttm beside the audio, and use --from rttm"
        raise UserError(f"{path}: has references in {len(several)} formats ({counts}); choose one, or {cure}")


def _refuse(path: Path) -> NoReturn:
    """Raises the UserError that says best why no format was recognised: a reader's own, if a name suggests one."""
    choice = f"the format was not recognised; set it with --from ({', '.join(FORMATS)})"
    suffixes = AUDIO_SUFFIXES | CONTAINER_SUFFIXES
    audio = next(iter(files(path, suffixes)), path if path.suffix.lower() in suffixes else None)
    if path.suffix.lower() in (".yml", ".yaml"):
        _format("pyannote").find(path)
    if audio is None:
        raise UserError(f"{path}: {choice}")
    for file in files(path, READERS):
        if file.stem == audio.stem:
            read_turn_file(file, Counter())
    missing = f"has audio ({audio.name}) but no reference, such as {audio.stem}.rttm"
    raise UserError(f"{path}: {missing}; add one, or {choice}")


def _format(name: str) -> ModuleType:
    return import_module(f"diarbench.datasets.formats.{FORMATS[name]}")


def _call(find: Callable[..., Corpus], source: object, options: Mapping[str, str]) -> Corpus:
    known_options = [name for name in list(inspect.signature(find).parameters)[1:] if name != DATASET]
    for option in options:
        if option not in known_options:
            choices = f"choose from {', '.join(known_options)}" if known_options else "this source has no options"
            raise UserError(f"--set {option}: unknown option{did_you_mean(option, known_options)}; {choices}")
    return find(source, **options)
