"""What ``bench score`` and ``bench compare`` read: anybody's RTTM and UEM, with all that was amiss counted and told."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from diarbench.benchmarks.scoring import ScoringProtocol, merge_overlapping
from diarbench.datasets.rttm import Problem, Region, Turn, read_lines, read_uem, scan_rttm
from diarbench.reports.records import ErrorSeconds, UserError, closest

Turns = dict[str, list[Turn]]

SHOWN = 5
"""Names told of a list; the rest is counted."""


@dataclass
class Inputs:
    """The two sides and the scored regions, by recording."""

    reference: Turns
    hypotheses: list[Turns]
    scored: dict[str, list[Region]]
    notes: list[str] = field(default_factory=list)
    """What was passed over, merged, left out or found missing, in plain words."""


def read_inputs(reference: Path, hypotheses: Sequence[Path], uem: Path | None) -> Inputs:
    """Files, or folders of them.

    Scored are the recordings of the reference, and those of the UEM that only a hypothesis has, as empty references.
    Raises UserError for what cannot be read, by file and line, and where nothing is left to score.
    """
    notes: list[str] = []
    ref = _read_turns(reference, notes)
    hyps = [_read_turns(path, notes) for path in hypotheses]
    regions = _read_regions(uem) if uem else {}
    heard = set().union(*hyps)

    scored: dict[str, list[Region]] = {}
    whole = []
    for uri in sorted({*ref, *(set(regions) & heard)}):
        if uri in regions:
            scored[uri] = regions[uri]
        else:
            last = max((t.end_s for turns in (ref, *hyps) for t in turns.get(uri, ())), default=0.0)
            scored[uri] = [Region(0.0, last)] if last else []
            whole.append(uri)
    if not scored:
        raise UserError(f"{reference}: no SPEAKER lines, so there is nothing to score")
    if whole:
        which = f"{uem} lacks {_count(len(whole), 'recording')} ({_names(whole)})" if uem else "no --uem"
        notes.append(f"{which}: scored whole, from 0 to the last end of a turn on either side")
    if only := sorted(set(scored) - set(ref)):
        notes.append(f"{_count(len(only), 'recording')} of the UEM without reference, all false alarm: {_names(only)}")
    for path, hyp in zip(hypotheses, hyps, strict=True):
        if missing := sorted(set(scored) - set(hyp)):
            notes.append(
                f"{path}: {_count(len(missing), 'recording')} missing, scored as all missed: {_names(missing)}"
            )
        if left_out := sorted(set(hyp) - set(scored)):
            notes.append(
                f"{path}: {_count(len(left_out), 'recording')} without reference, left out: {_names(left_out)}"
            )
    if unused := sorted(set(regions) - set(scored)):
        notes.append(f"{uem}: {_count(len(unused), 'recording')} in neither reference nor hypothesis: {_names(unused)}")
    for path, turns in zip((reference, *hypotheses), (ref, *hyps), strict=True):
        if lost := _merged(turns):
            notes.append(f"{path}: {_count(lost, 'turn')} merged into others of the same speaker that they overlap")
    pieces = {uri: [Turn(*region, "") for region in listed] for uri, listed in regions.items()}
    if lost := _merged(pieces):
        notes.append(f"{uem}: {_count(lost, 'region')} merged into others that they overlap")
    return Inputs(ref, hyps, scored, notes)


def outside(path: Path, turns: Mapping[str, Sequence[Turn]], scored: Iterable[str], inside_s: float) -> list[str]:
    """A note of the speech of the scored recordings that lies outside their regions, where there is any."""
    merged = merge_overlapping(turns, list(scored))
    seconds = sum(t.end_s - t.start_s for listed in merged.values() for t in listed) - inside_s
    return [f"{path}: {seconds:.3f} s of speech outside the scored regions, left out"] if seconds >= 5e-4 else []


def parse_condition(text: str, known: Mapping[str, ScoringProtocol]) -> ScoringProtocol:
    """A protocol by name, or of one's own: ``0.1+overlap``, ``0.1-overlap``. Raises UserError for anything else."""
    if text in known:
        return known[text]
    collar, sign, overlap = text.partition("+" if "+" in text else "-")
    try:
        if sign and overlap == "overlap":
            return ScoringProtocol(name=text, collar_s=float(collar), score_overlap=sign == "+")
    except ValueError:
        pass
    raise UserError(
        f"--condition {text}: neither {', '.join(known)} nor a collar with or without overlap, such as 0.1+overlap or "
        f"0.1-overlap{closest(text, known)}"
    )


def hypothesis_seconds(errors: ErrorSeconds) -> float:
    """Speech of the hypothesis, from the parts of the error that it makes with the reference."""
    return errors.total - errors.miss + errors.false_alarm


def _files(path: Path, suffix: str) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.rglob(f"*{suffix}") if file.is_file())
    if not files:
        raise UserError(f"{path}: no {suffix} files in this folder")
    return files


def _read_turns(path: Path, notes: list[str]) -> Turns:
    turns: Turns = {}
    origin: dict[str, Path] = {}
    problems: list[Problem] = []
    passed_over: list[Problem] = []
    channels: dict[str, set[str]] = {}
    for file in _files(path, ".rttm"):
        for _, line in read_lines(file):
            if line.startswith("SPEAKER ") and len(fields := line.split(maxsplit=3)) > 3:
                channels.setdefault(fields[1], set()).add(fields[2])
        before = len(turns)
        for where, name, turn in scan_rttm(file, problems, passed_over):
            uri = unicodedata.normalize("NFC", name)
            if origin.setdefault(uri, file) != file:
                raise UserError(f"{where}: {uri} is in {origin[uri]} too; a recording's turns belong in one file")
            turns.setdefault(uri, []).append(turn)
        if len(turns) == before and path.is_dir():
            turns.setdefault(
                unicodedata.normalize("NFC", file.stem), []
            )  # a file for a recording in which nobody speaks
    for problem in problems:
        if problem.kind != "zero length":
            raise UserError(str(problem))
    if problems:
        notes.append(
            f"{path}: {_count(len(problems), 'turn')} of no length passed over, the first at {problems[0].where}"
        )
    if several := [uri for uri, used in channels.items() if len(used) > 1]:
        notes.append(f"{path}: turns on several channels are scored as of one recording: {_names(several)}")
    kinds = Counter(problem.kind for problem in passed_over if problem.kind != "comment")
    notes.extend(f"{path}: {_count(number, kind)} passed over" for kind, number in kinds.items())
    return turns


def _read_regions(path: Path) -> dict[str, list[Region]]:
    regions: dict[str, list[Region]] = {}
    for file in _files(path, ".uem"):
        for name, listed in read_uem(file).items():
            regions.setdefault(unicodedata.normalize("NFC", name), []).extend(listed)
    return regions


def _merged(turns: Mapping[str, Sequence[Turn]]) -> int:
    """How many turns overlap others of the same speaker."""
    return sum(map(len, turns.values())) - sum(map(len, merge_overlapping(turns, list(turns)).values()))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number > 1 else ''}"


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
