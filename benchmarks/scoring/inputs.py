"""Read the RTTM and UEM files of ``bench score`` and ``bench compare``, with a note on every irregularity."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from diarbench.benchmarks.scoring.der import ScoringProtocol
from diarbench.benchmarks.scoring.turns import merge_overlapping
from diarbench.datasets.io.errors import UserError, did_you_mean
from diarbench.datasets.io.files import files
from diarbench.datasets.io.rttm import Problem, Region, Turn, read_lines, read_uem, scan_rttm
from diarbench.reports.results.scores import ErrorSeconds

Turns = dict[str, list[Turn]]

MAX_NAMES = 5
"""Recordings that a note names; the others are counted."""


@dataclass
class Inputs:
    """Reference, hypotheses and scored regions, by recording."""

    reference: Turns
    hypotheses: list[Turns]
    scored: dict[str, list[Region]]
    notes: list[str] = field(default_factory=list)
    """One sentence for each kind of input that was skipped, merged, not scored or missing."""


def read_inputs(reference: Path, hypotheses: Sequence[Path], uem: Path | None) -> Inputs:
    """Read files, or folders of files.

    The scored recordings are those of the reference, and those in both the UEM and a hypothesis, with an empty
    reference. Raises UserError, with file and line, for input that cannot be read, and if there is nothing to score.
    """
    notes: list[str] = []
    ref = _read_turns(reference, notes)
    hyps = [_read_turns(path, notes) for path in hypotheses]
    regions = _read_regions(uem) if uem else {}

    scored: dict[str, list[Region]] = {}
    without_regions = []
    for uri in sorted({*ref, *(set(regions) & set().union(*hyps))}):
        if uri in regions:
            scored[uri] = regions[uri]
        else:
            end_s = max((t.end_s for turns in (ref, *hyps) for t in turns.get(uri, ())), default=0.0)
            scored[uri] = [Region(0.0, end_s)] if end_s else []
            without_regions.append(uri)
    if not scored:
        raise UserError(f"{reference}: no SPEAKER lines, nothing to score")
    if without_regions:
        count = _count(len(without_regions), "recording")
        cause = f"{uem}: no regions for {count} ({_names(without_regions)})" if uem else "no --uem"
        notes.append(f"{cause}; scored from 0 to the last turn end in reference and hypotheses")
    if no_reference := sorted(set(scored) - set(ref)):
        count = _count(len(no_reference), "recording")
        notes.append(f"{count} in the UEM without reference, all speech is false alarm: {_names(no_reference)}")
    for path, hyp in zip(hypotheses, hyps, strict=True):
        if missing := sorted(set(scored) - set(hyp)):
            count = _count(len(missing), "recording")
            notes.append(f"{path}: {count} missing, all reference speech is missed: {_names(missing)}")
        if not_scored := sorted(set(hyp) - set(scored)):
            count = _count(len(not_scored), "recording")
            notes.append(f"{path}: {count} without reference, not scored: {_names(not_scored)}")
    if unused := sorted(set(regions) - set(scored)):
        notes.append(f"{uem}: {_count(len(unused), 'recording')} in neither reference nor hypothesis: {_names(unused)}")
    for path, turns in zip((reference, *hypotheses), (ref, *hyps), strict=True):
        if merged := _count_overlapping(turns):
            notes.append(f"{path}: {_count(merged, 'turn')} merged into overlapping turns of the same speaker")
    region_turns = {uri: [Turn(*region, "") for region in listed] for uri, listed in regions.items()}
    if merged := _count_overlapping(region_turns):
        notes.append(f"{uem}: {_count(merged, 'region')} merged into overlapping regions")
    return Inputs(ref, hyps, scored, notes)


def outside_notes(path: Path, turns: Mapping[str, Sequence[Turn]], scored: Iterable[str], inside_s: float) -> list[str]:
    """A note on the speech of scored recordings outside their regions, if any; ``inside_s`` is the speech inside."""
    merged = merge_overlapping(turns, list(scored))
    seconds = sum(t.end_s - t.start_s for listed in merged.values() for t in listed) - inside_s
    return [f"{path}: {seconds:.3f} s of speech outside the scored regions, not scored"] if seconds >= 5e-4 else []


def parse_condition(text: str, known: Mapping[str, ScoringProtocol]) -> ScoringProtocol:
    """A known protocol by name, or a custom one: ``0.1+overlap``, ``0.1-overlap``. Raises UserError otherwise."""
    if text in known:
        return known[text]
    collar, sign, overlap = text.partition("+" if "+" in text else "-")
    try:
        if sign and overlap == "overlap":
            return ScoringProtocol(name=text, collar_s=float(collar), score_overlap=sign == "+")
    except ValueError:
        pass
    raise UserError(
        f"--condition {text}: expected {', '.join(known)} or a collar in seconds with or without overlap, such as "
        f"0.1+overlap or 0.1-overlap{did_you_mean(text, known)}"
    )


def hypothesis_seconds(errors: ErrorSeconds) -> float:
    """Hypothesis speech in the scored regions, derived from the error components."""
    return errors.total - errors.miss + errors.false_alarm


def _files(path: Path, suffix: str) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = files(path, {suffix})
    if not found:
        raise UserError(f"{path}: no {suffix} files in this folder")
    return found


def _read_turns(path: Path, notes: list[str]) -> Turns:
    turns: Turns = {}
    origin: dict[str, Path] = {}
    problems: list[Problem] = []
    skipped: list[Problem] = []
    channels: dict[str, set[str]] = {}
    for file in _files(path, ".rttm"):
        for _, line in read_lines(file):
            if line.startswith("SPEAKER ") and len(fields := line.split(maxsplit=3)) > 3:
                channels.setdefault(fields[1], set()).add(fields[2])
        before = len(turns)
        for location, name, turn in scan_rttm(file, problems, skipped):
            uri = unicodedata.normalize("NFC", name)
            if origin.setdefault(uri, file) != file:
                raise UserError(f"{location}: {uri} is also in {origin[uri]}; put all turns of a recording in one file")
            turns.setdefault(uri, []).append(turn)
        if len(turns) == before and path.is_dir():
            # A file without turns in a folder is a recording in which nobody speaks.
            turns.setdefault(unicodedata.normalize("NFC", file.stem), [])
    for problem in problems:
        if problem.kind != "zero length":
            raise UserError(str(problem))
    if problems:
        notes.append(f"{path}: {_count(len(problems), 'zero-length turn')} skipped, the first at {problems[0].where}")
    if multichannel := [uri for uri, numbers in channels.items() if len(numbers) > 1]:
        notes.append(f"{path}: turns on several channels are scored as one recording: {_names(multichannel)}")
    kinds = Counter(problem.kind for problem in skipped if problem.kind != "comment")
    notes.extend(f"{path}: {_count(number, kind)} skipped" for kind, number in kinds.items())
    return turns


def _read_regions(path: Path) -> dict[str, list[Region]]:
    regions: dict[str, list[Region]] = {}
    for file in _files(path, ".uem"):
        for name, listed in read_uem(file).items():
            regions.setdefault(unicodedata.normalize("NFC", name), []).extend(listed)
    return regions


def _count_overlapping(turns: Mapping[str, Sequence[Turn]]) -> int:
    """How many turns disappear when each speaker's overlapping turns are merged."""
    return sum(map(len, turns.values())) - sum(map(len, merge_overlapping(turns, list(turns)).values()))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number > 1 else ''}"


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more
