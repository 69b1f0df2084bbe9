"""Detect the format of a source and read the source into a Corpus."""

from __future__ import annotations

import inspect
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from diarbench.datasets.conversion.corpus import Corpus
from diarbench.datasets.io.audio import AUDIO_SUFFIXES
from diarbench.datasets.io.containers import CONTAINER_SUFFIXES
from diarbench.datasets.io.errors import UserError, did_you_mean
from diarbench.datasets.io.files import files

log = logging.getLogger(__name__)

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

DATASET = "dataset"
"""The parameter of ``find`` that is no option of the source."""


def find_corpus(source: str, format_name: str | None = None, dataset: str = "", **options: str) -> Corpus:
    """Read a source: a path, ``lhotse:CORPUS:DIR`` or ``hf:NAME``. Without a format name the format is detected.

    With ``dataset``, a converted dataset's folder, formats that pair references with audio take the dataset's audio.
    Raises UserError if the source does not exist, or the format or an option is unknown.
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
        log.info("%s: format %s", source, format_name)
    elif format_name not in FORMATS:
        hint = did_you_mean(format_name, FORMATS)
        raise UserError(f"--from {format_name}: unknown format{hint}; choose from {', '.join(FORMATS)}")
    find = _format(format_name).find
    if dataset and DATASET in inspect.signature(find).parameters:
        find = partial(find, dataset=dataset)
    return _call(find, path, options)


def _refuse(path: Path) -> NoReturn:
    """Raises the UserError that says best why no format was recognised: a reader's own, if a name suggests one."""
    choice = f"the format was not recognised; set it with --from ({', '.join(FORMATS)})"
    suffixes = AUDIO_SUFFIXES | CONTAINER_SUFFIXES
    audio = next(iter(files(path, suffixes)), path if path.suffix.lower() in suffixes else None)
    if path.suffix.lower() in (".yml", ".yaml"):
        _format("pyannote").find(path)
    if audio is None:
        raise UserError(f"{path}: {choice}")
    turns = _format("turns")
    for file in files(path, turns.READERS):
        if file.stem == audio.stem:
            turns.read_turn_file(file, Counter())
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
