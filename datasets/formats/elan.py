"""ELAN annotations (``.eaf``, https://archive.mpi.nl/tla/elan), beside audio of the same name.

Format: XML with tiers of annotations, whose times are in ``TIME_ORDER``. A tier that depends on no other is a speaker,
named by its participant or, without one, by the tier; tiers below it are left out and counted. ``--set tiers=A_words``
chooses tiers instead, of any level.
Splits: from folder names; otherwise drawn.
Licence: the corpus's own.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import NoReturn
from xml.etree import ElementTree

from diarbench.datasets.conversion.corpus import Corpus
from diarbench.datasets.formats.matching import log
from diarbench.datasets.formats.tiers import Interval, find_tiered, read_tiers
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import files, open_file
from diarbench.datasets.io.rttm import Turn, seconds

LARGEST_BYTES = 50_000_000


def sniff(path: Path) -> bool:
    """Whether the path is a folder with an ``.eaf`` file at any depth."""
    return bool(files(path, {".eaf"}))


def find(path: Path, tiers: str = "", dataset: str = "") -> Corpus:
    """Read the recordings that the ``.eaf`` files below the folder describe, see `find_tiered`."""
    return find_tiered(path, ".eaf", read_eaf, tiers, dataset)


def read_eaf(path: Path, changes: Counter[str], tiers: str = "") -> list[Turn]:
    """Read the turns in an ELAN file, see `read_tiers`. Raises UserError if it is not one, or a time is missing."""
    root = _parse(path)
    units = [header.get("TIME_UNITS", "milliseconds") for header in root.iterfind("HEADER")]
    if units not in ([], ["milliseconds"]):
        raise UserError(f"{path}: its times are in {units[0]}, not milliseconds; save it again in ELAN")
    times = {slot.get("TIME_SLOT_ID"): slot.get("TIME_VALUE") for slot in root.iterfind("TIME_ORDER/TIME_SLOT")}
    spans: dict[str, tuple[str, str]] = {}
    for annotation in root.iter("ALIGNABLE_ANNOTATION"):
        start, end = (times.get(annotation.get(f"TIME_SLOT_REF{number}")) for number in (1, 2))
        if start and end:
            spans[annotation.get("ANNOTATION_ID", "")] = (start, end)
    parents = {ref.get("ANNOTATION_ID", ""): ref.get("ANNOTATION_REF", "") for ref in root.iter("REF_ANNOTATION")}
    names: dict[str, str] = {}
    intervals: dict[str, list[Interval]] = {}
    for tier in root.iterfind("TIER"):
        name = tier.get("TIER_ID", "")
        where = f"{path}: tier {name}"
        if name in names:
            raise UserError(f"{where}: there are two of this name; rename one in ELAN")
        if tier.get("PARENT_REF") and not tiers:
            changes["tiers left out: they depend on another"] += 1
            continue
        names[name] = tier.get("PARTICIPANT") or name
        intervals[name] = [
            Interval(where, *_span(annotation.get("ANNOTATION_ID", ""), spans, parents, where), _value(annotation))
            for annotation in tier.iterfind("ANNOTATION/*")
        ]
    for media in root.iterfind("HEADER/MEDIA_DESCRIPTOR"):
        if media.get("TIME_ORIGIN", "0") != "0":
            log.warning(
                "%s: starts at %s ms of %s; not applied", path, media.get("TIME_ORIGIN"), media.get("MEDIA_URL")
            )
            changes["offsets between annotation and a medium, not applied"] += 1
    return [turn._replace(speaker=names[turn.speaker]) for turn in read_tiers(intervals, tiers, path, changes)]


def _span(name: str, spans: dict[str, tuple[str, str]], parents: dict[str, str], where: str) -> tuple[float, float]:
    """Start and end of an annotation in seconds: its own, or those of the annotation to which it refers.

    ``spans`` keeps what was found, for the others that refer to it.
    """
    passed = {name: None}  # in order
    while name not in spans:
        name = parents.get(name, "")
        if name in passed or not (name in spans or name in parents):
            own = next(iter(passed))
            raise UserError(
                f"{where}: annotation {own} has no time; align it in ELAN, or choose other tiers with --set tiers=NAME"
            )
        passed[name] = None
    spans.update(dict.fromkeys(passed, spans[name]))
    start, end = spans[name]
    return _seconds(start, where), _seconds(end, where)


def _seconds(milliseconds: str, where: str) -> float:
    """Raises UserError where it is not a number of milliseconds; ELAN writes whole ones, other tools decimals too."""
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", milliseconds):
        raise UserError(f"{where}: TIME_VALUE {milliseconds[:40]!r}; expected milliseconds, 0 or more")
    return seconds(float(milliseconds) / 1000, where)


def _value(annotation: ElementTree.Element) -> str:
    """The text of an annotation. An empty one in ELAN is speech that was not transcribed."""
    return (annotation.findtext("ANNOTATION_VALUE") or "").strip() or "speech"


class _NoDoctype(ElementTree.TreeBuilder):
    """Refuses document types, by which a small file can declare entities that unfold to a large one."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> NoReturn:
        raise ValueError("it has a document type, which ELAN does not write")


def _parse(path: Path) -> ElementTree.Element:
    try:
        with open_file(path) as file:
            content = file.read(LARGEST_BYTES + 1)
        if len(content) > LARGEST_BYTES:
            raise ValueError(f"larger than {LARGEST_BYTES:,} bytes")
        root = ElementTree.fromstring(content, ElementTree.XMLParser(target=_NoDoctype()))
    except (OSError, ValueError, LookupError, ElementTree.ParseError) as error:
        raise UserError(f"{path}: not a readable ELAN file ({error})") from error
    if root.tag != "ANNOTATION_DOCUMENT":
        raise UserError(f"{path}: not an ELAN file (its root is {root.tag[:80]}, not ANNOTATION_DOCUMENT)")
    return root
