"""Datasets by name, those that can be fetched and where they are kept; and sources by format, found by sniffing."""

from __future__ import annotations

import inspect
import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType

from diarbench.datasets.convert import Corpus
from diarbench.datasets.layout import Dataset
from diarbench.reports.records import UserError, closest

log = logging.getLogger(__name__)

KNOWN = {
    "ami-mini": "diarbench.datasets.sources.ami_mini",
    "debian-voices": "diarbench.datasets.sources.debian_voices",
}
"""Name -> module with SUMMARY, LICENCE and ``fetch(target, downloads)``."""

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
}
"""Format -> module of `sources` with ``sniff(path)`` and ``find(path, **options)``; the first that fits is taken."""


def cache_dir() -> Path:
    """Where fetched datasets are kept; the environment variable DIARBENCH_CACHE moves it."""
    import platformdirs

    return Path(os.environ.get("DIARBENCH_CACHE") or platformdirs.user_cache_path("diarbench"))


def known(name: str) -> ModuleType:
    """The module of a known dataset. Raises UserError where there is none of that name."""
    if name not in KNOWN:
        raise UserError(
            f"{name}: no dataset of this name{closest(name, KNOWN)}, and no such folder; see 'bench data list'"
        )
    return import_module(KNOWN[name])


def location(name: str) -> Path:
    """Where a known dataset is, or will be."""
    return cache_dir() / "datasets" / name


def fetch(name: str) -> Dataset:
    """A known dataset, fetched and converted where it is not yet."""
    module, target = known(name), location(name)
    if not target.exists():
        _fetch_apart(module, target)
    return Dataset.open(target)


def _fetch_apart(module: ModuleType, target: Path) -> None:
    """Fetch into a folder of our own and rename, so that two processes may fetch at once."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as temporary:
            module.fetch(Path(temporary) / target.name, cache_dir() / "downloads")
            try:
                (Path(temporary) / target.name).rename(target)
            except OSError:
                if not target.exists():
                    raise
    except OSError as error:
        where = error.filename or target
        raise UserError(f"{where}: {error.strerror}; free some room or set DIARBENCH_CACHE") from error


def open_dataset(name_or_path: str) -> Dataset:
    """A converted dataset by its path, or a known one by its name, fetched where it is not yet.

    Raises UserError where it is neither, or cannot be fetched.
    """
    path = Path(name_or_path)
    return Dataset.open(path) if path.is_dir() else fetch(name_or_path)


def find_corpus(source: str, format_name: str | None = None, **options: str) -> Corpus:
    """What a source describes: a path in a format (sniffed where none is named), ``lhotse:CORPUS:DIR`` or ``hf:NAME``.

    Raises UserError where nothing is there, no format fits, or the format knows no such option.
    """
    scheme, _, rest = source.partition(":")
    if scheme == "lhotse" and rest:
        corpus, _, folder = rest.partition(":")
        if not folder:
            raise UserError(f"{source}: say where the corpus lies: {source}:CORPUS_DIR")
        return _format("lhotse").prepare(corpus, Path(folder), **options)
    if scheme == "hf" and rest:
        return _call(_format("huggingface").hub, rest, options)
    path = Path(source)
    if not path.exists():
        raise UserError(f"{source}: no such file or folder")
    if format_name is None:
        format_name = next((name for name in FORMATS if _format(name).sniff(path)), None)
        if format_name is None:
            raise UserError(f"{source}: in none of the formats known; name one with --from ({', '.join(FORMATS)})")
        log.info("%s: format %s", source, format_name)
    elif format_name not in FORMATS:
        near = closest(format_name, FORMATS)
        raise UserError(f"--from {format_name}: no such format{near}; there are {', '.join(FORMATS)}")
    return _call(_format(format_name).find, path, options)


def _format(name: str) -> ModuleType:
    return import_module(f"diarbench.datasets.sources.{FORMATS[name]}")


def _call(find: Callable[..., Corpus], source: object, options: Mapping[str, str]) -> Corpus:
    known_options = list(inspect.signature(find).parameters)[1:]
    for option in options:
        if option not in known_options:
            there_are = f"there are {', '.join(known_options)}" if known_options else "this source has none"
            raise UserError(f"--set {option}: no such option{closest(option, known_options)}; {there_are}")
    return find(source, **options)
