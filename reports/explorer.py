"""What the page's error explorer draws: reference, hypotheses and errors of every recording, and its audio."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

from diarbench.reports.errors import KINDS, Turn, find_errors, map_speakers, moments, read_regions, read_turns
from diarbench.reports.records import Comparison, Run
from diarbench.reports.summary import STAGES, Section, Summary
from diarbench.reports.text import visible

T = TypeVar("T")

EMBED_AT_MOST_BYTES = 16_000_000
"""Audio of all recordings together up to which it goes into the page; above, the page links to it."""

WORST = 100
"""Errors of a system that 'next worst error' walks through."""


def explore(summary: Summary, root: Path) -> dict[str, Any]:
    """A JSON-like value; times in whole milliseconds, turns and errors as flat lists.

    Files under ``root`` count only where they are the ones that the records rest on, by hash. A recording's
    timeline is JSON, deflated, in base64, so that a page of hundreds of recordings opens at once.
    """
    comparison = summary.comparison
    systems = list(_systems(comparison))
    shown = [
        (section, uri)
        for section in summary.sections
        if section.condition == comparison.conditions[0]
        for uri in section.recordings
    ]
    audio = {path for section, uri in shown if (path := _audio(comparison, section, uri))}
    embedded = sum(path.stat().st_size for path in audio) <= EMBED_AT_MOST_BYTES
    recordings: list[dict[str, Any]] = []
    worst: list[list[int]] = []
    for section, uri in shown:
        timeline = _timeline(comparison, root, section, uri, systems)
        path = _audio(comparison, section, uri)
        for layer in timeline["systems"]:
            found = layer["errors"]
            worst += ([len(recordings), layer["system"], *found[at : at + 4]] for at in range(0, len(found), 4))
        recordings.append(
            {
                "name": visible(uri),
                "where": visible(f"{section.dataset}, {section.subset}"),
                "packed": base64.b64encode(zlib.compress(json.dumps(timeline).encode(), 9)).decode(),
                "audio": path and {"wav": base64.b64encode(path.read_bytes()).decode()}
                if embedded
                else path and {"href": quote(os.path.relpath(path, root.resolve()))},
            }
        )
    return {
        "kinds": KINDS,
        "systems": [{"name": visible(system.name), "final": system.final} for system in systems],
        "recordings": recordings,
        "worst": list(_worst(worst, len(systems))),
    }


class _System(NamedTuple):
    """Whose RTTM is drawn, and the folder that has it by subset."""

    name: str
    dataset: str
    folder: str
    subsets: frozenset[str]
    final: bool


def _systems(comparison: Comparison) -> Iterator[_System]:
    """Each run and stage that has rows, and each fusion."""
    for run in comparison.runs:
        subsets: dict[tuple[str, str], set[str]] = {}
        for row in comparison.rows:
            if row.run == run.name:
                subsets.setdefault((row.dataset, row.stage), set()).add(row.subset)
        final = max((stage for _, stage in subsets if stage in STAGES), key=STAGES.index, default=None)
        for (dataset, stage), scored in subsets.items():
            abroad = dataset != run.dataset
            place = f"{run.name}/also/{dataset}" if abroad else run.name
            folder = f"{place}/{'rttm' if stage == final else f'rttm-{stage}'}"
            name = f"{run.name}, {stage}{f', on {dataset}' if abroad else ''}"
            yield _System(name, dataset, folder, frozenset(scored), stage == final)
    for row in comparison.rows:
        if row.backend == "fusion" and row.condition == comparison.conditions[0].name:
            name = f"{row.dataset}-{row.recipe}-seed{row.seed}"
            beside = next((_beside(run) for run in comparison.runs if run.dataset == row.dataset), "")
            folder = f"{beside}fusion/{name}"
            yield _System(f"{row.stage} fusion of {name}", row.dataset, folder, frozenset([row.subset]), False)


def _beside(run: Run) -> str:
    """The folder of a run's comparison, from the root: nothing, but in a merged comparison."""
    return "".join(run.name.rpartition("/")[:2])


def _timeline(comparison: Comparison, root: Path, section: Section, uri: str, systems: list[_System]) -> dict[str, Any]:
    regions = _reference(comparison, root, section, f"{uri}.uem", read_regions)
    reference = _reference(comparison, root, section, f"{uri}.rttm", read_turns)
    missing: list[str] = []
    layers: list[dict[str, Any]] = []
    if regions is None or reference is None:
        missing.append("the reference")
        regions, reference, systems = [], [], []
    speakers = sorted({turn.speaker for turn in reference})
    end_s = max([end for _, end in regions] + [turn.end_s for turn in reference], default=0.0)
    for number, system in enumerate(systems):
        if system.dataset != section.dataset or section.subset not in system.subsets:
            continue
        hypothesis = _read(comparison, root, f"{system.folder}/{section.subset}/{uri}.rttm", read_turns)
        if hypothesis is None:
            missing.append(system.name)
            continue
        end_s = max([end_s, *(turn.end_s for turn in hypothesis)])
        cut = moments(reference, hypothesis, regions)
        mapping = map_speakers(cut)
        theirs = sorted({turn.speaker for turn in hypothesis}, key=lambda s: (mapping.get(s, "\U0010ffff"), s))
        layers.append(
            {
                "system": number,
                "speakers": [visible(speaker) for speaker in theirs],
                "mapping": [speakers.index(mapping[speaker]) if speaker in mapping else -1 for speaker in theirs],
                "turns": _flat(hypothesis, theirs),
                "errors": [
                    value
                    for e in find_errors(cut, mapping)
                    for value in (_ms(e.start_s), _ms(e.end_s), KINDS.index(e.kind), e.speakers)
                ],
            }
        )
    return {
        "end": _ms(end_s),
        "regions": [[_ms(start), _ms(end)] for start, end in regions],
        "speakers": [visible(speaker) for speaker in speakers],
        "turns": _flat(reference, speakers),
        "systems": layers,
        "missing": [visible(name) for name in missing],
    }


def _reference(
    comparison: Comparison, root: Path, section: Section, name: str, read: Callable[[str], list[T]]
) -> list[T] | None:
    """From beside a run's folder: a merged comparison has several such places, which hold the same."""
    places = dict.fromkeys(_beside(line.run) for line in section.lines if line.run)
    paths = (f"{place}reference/{section.dataset}/{section.subset}/{name}" for place in places)
    found = (_read(comparison, root, path, read) for path in paths)
    return next((each for each in found if each is not None), None)


def _read(comparison: Comparison, root: Path, relative: str, read: Callable[[str], list[T]]) -> list[T] | None:
    """A file that the records rest on; None where it is gone, or is no longer the one that was scored."""
    path = root / relative
    if relative not in comparison.rests_on or not path.is_file():
        return None
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != comparison.rests_on[relative]:
        return None
    try:
        return read(data.decode("utf-8"))
    except ValueError:
        return None


def _audio(comparison: Comparison, section: Section, uri: str) -> Path | None:
    """A recording's WAV file in the dataset that the runs read, if it is still there."""
    for run in comparison.runs:
        domain = run.domain(section.dataset)
        root = Path(domain.root).resolve() if domain else None
        path = root and (root / section.subset / "wav" / f"{uri}.wav").resolve()
        if root and path and path.is_relative_to(root) and path.is_file():
            return path
    return None


def _worst(found: list[list[int]], systems: int) -> Iterator[list[int]]:
    """The longest errors of each system in speaker time, all systems' together in that order."""
    found.sort(key=lambda error: (error[2] - error[3]) * error[5])
    left = [WORST] * systems
    for error in found:
        if left[error[1]]:
            left[error[1]] -= 1
            yield error


def _flat(turns: Iterable[Turn], speakers: list[str]) -> list[int]:
    return [value for t in turns for value in (_ms(t.start_s), _ms(t.end_s), speakers.index(t.speaker))]


def _ms(seconds: float) -> int:
    return round(1000 * seconds)
