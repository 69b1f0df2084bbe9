"""Render the labels of datasets as one self-contained page: each reference over its audio, and what the check found."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from diarbench.datasets.checking.audio_checks import FRAME_S
from diarbench.datasets.checking.findings import CheckResult, Finding
from diarbench.datasets.conversion.normalize import normalize_turns
from diarbench.datasets.dataset import Dataset, Recording
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.names import visible
from diarbench.datasets.io.rttm import Region, Turn, read_uem, scan_rttm
from diarbench.datasets.statistics import SpeechStatistics, measure
from diarbench.reports.formatting import minutes, percent, plural
from diarbench.reports.html.template import render_template
from diarbench.reports.html.timeline import (
    MOST_SPEAKERS,
    audio_source,
    flat_turns,
    is_embeddable,
    milliseconds,
    timeline_entry,
)
from diarbench.reports.tables.table import Cell, Column, Table

if TYPE_CHECKING:
    import numpy as np

MOST_POINTS = 20_000
"""The most points of a recording's waveform; each is 20 ms, or more in recordings over seven minutes."""

MOST_FINDINGS = 100
"""The most findings of a kind in the table."""

LEVELS = ("error", "warning")


class _Shown(NamedTuple):
    """A recording on the page."""

    dataset: Dataset
    recording: Recording
    lines: list[tuple[str, Turn]]
    """Turns with their places (``file:line``); invalid lines are left out."""
    regions: list[Region]
    duration_s: float
    findings: list[tuple[Finding, Turn | None]]
    """With the turn of the line that a finding is about."""
    waveform: tuple[float, list[int]]
    """Milliseconds of a point, and the points."""


def render_labels(checked: Sequence[tuple[Dataset, CheckResult]], folder: Path) -> str:
    """The page of checked datasets, for a file in ``folder``: audio that is too large for the page is linked."""
    shown = [_shown(dataset, recording, result) for dataset, result in checked for recording in _recordings(dataset)]
    audio = [_own_audio(each.recording) if each.duration_s else None for each in shown]
    is_embedded = is_embeddable(audio)
    findings = [finding for _, result in checked for finding in result.findings]
    names = visible(", ".join(dataset.info.name for dataset, _ in checked))
    errors = sum(finding.level == "error" for finding in findings)
    counts = f"{plural(errors, 'error')} and {plural(len(findings) - errors, 'warning')}"
    length = minutes(sum(each.duration_s for each in shown))
    return render_template(
        "labels.html.j2",
        ("common.js", "timeline.js", "labels.js"),
        title=f"Labels of {names}: {counts}",
        size=f"{plural(len(shown), 'recording')}, {length} of audio",
        kinds=list(_kinds(findings)),
        steps=list(_steps(checked)),
        findings=_findings_table(checked, shown),
        left_out=_left_out(findings),
        recordings=_recordings_table(shown),
        explorer={
            "recordings": [
                timeline_entry(
                    each.recording.uri, _where(each), _timeline(each), audio_source(path, folder, is_embedded)
                )
                for each, path in zip(shown, audio, strict=True)
            ]
        },
    )


def _own_audio(recording: Recording) -> Path | None:
    """The recording's audio; None where a link leads out of its dataset, whose page may be handed on."""
    root = recording.audio.parents[2].resolve()
    return recording.audio if recording.audio.resolve().is_relative_to(root) else None


def _recordings(dataset: Dataset) -> Iterator[Recording]:
    for listed in dataset.recordings.values():
        yield from listed


def _where(each: _Shown) -> str:
    return f"{each.dataset.info.name}, {each.recording.subset}"


def _shown(dataset: Dataset, recording: Recording, result: CheckResult) -> _Shown:
    audio = result.audio.get(recording.uri)
    lines = [(where, turn) for where, _, turn in _readable_lines(recording.rttm)]
    turn_at = dict(lines)
    files = set(map(str, recording.files))
    findings = [
        (finding, turn_at.get(finding.where))
        for finding in result.findings
        if finding.where in files or finding.where.rpartition(":")[0] in files
    ]
    rms = audio.rms if audio else None
    return _Shown(
        dataset,
        recording,
        lines,
        _readable_regions(recording),
        audio.duration_s if audio else 0.0,
        findings,
        _waveform(rms) if rms is not None and len(rms) else (1000 * FRAME_S, []),
    )


def _readable_lines(path: Path) -> Sequence[tuple[str, str, Turn]]:
    try:
        return list(scan_rttm(path, problems=[]))
    except UserError:
        return []


def _readable_regions(recording: Recording) -> list[Region]:
    try:
        return sorted(read_uem(recording.uem, problems=[]).get(recording.uri, []))
    except UserError:
        return []


def _waveform(rms: np.ndarray) -> tuple[float, list[int]]:
    """The level as numbers from 0 to 99, as the square root of the amplitude, so that quiet speech is seen."""
    import numpy as np

    frames = -(-len(rms) // MOST_POINTS)
    padded = np.pad(rms, (0, -len(rms) % frames)).reshape(-1, frames).max(axis=1)
    points = np.sqrt(padded / (padded.max() or 1.0)) * 99
    return 1000 * FRAME_S * frames, points.round().astype(int).tolist()


def _timeline(each: _Shown) -> dict[str, Any]:
    turns = sorted(turn for _, turn in each.lines)
    speakers = sorted({turn.speaker for turn in turns})
    if len(speakers) > MOST_SPEAKERS:
        speakers, turns = [], []
    end_s = max([each.duration_s, 1.0, *(turn.end_s for turn in turns)])
    step, points = each.waveform
    return {
        "end": milliseconds(end_s),
        "regions": [[milliseconds(start), milliseconds(end)] for start, end in each.regions],
        "speakers": [visible(speaker) for speaker in speakers],
        "turns": flat_turns(turns, speakers),
        "step": step,
        "wave": points,
        "findings": [
            {
                "level": LEVELS.index(finding.level),
                "text": visible(f"{finding.kind}: {finding.text}"),
                "start": milliseconds(turn.start_s) if turn else None,
                "end": milliseconds(turn.end_s) if turn else None,
            }
            for finding, turn in each.findings
        ],
    }


def _findings_table(
    checked: Sequence[tuple[Dataset, CheckResult]], shown: Sequence[_Shown]
) -> tuple[Table, list[tuple[int, int | None] | None]]:
    """The findings, errors first, and the recording and time (ms) that each one's button opens."""
    place_of = {
        id(finding): (number, milliseconds(turn.start_s) if turn else None)
        for number, each in enumerate(shown)
        for finding, turn in each.findings
    }
    rows: list[tuple[Cell, ...]] = []
    opens: list[tuple[int, int | None] | None] = []
    seen: Counter[tuple[str, str]] = Counter()
    for level in LEVELS:
        for finding, root in ((f, result.root) for _, result in checked for f in result.findings if f.level == level):
            seen[level, finding.kind] += 1
            if seen[level, finding.kind] > MOST_FINDINGS:
                continue
            place = place_of.get(id(finding))
            name = shown[place[0]].recording.uri if place else root.name
            where = finding.where.removeprefix(f"{root}/")
            rows.append(tuple(Cell(visible(text)) for text in (name, level, finding.kind, where, finding.text)))
            opens.append(place)
    columns = ("Recording", "Level", "Kind", "Where", "What")
    return Table(tuple(map(Column, columns)), tuple(rows)), opens


def _kinds(findings: Sequence[Finding]) -> Iterator[str]:
    """Each kind with its count, errors first, the most frequent first."""
    counts = Counter((LEVELS.index(finding.level), finding.kind) for finding in findings)
    for (level, kind), count in sorted(counts.items(), key=lambda item: (item[0][0], -item[1], item[0][1])):
        yield f"{plural(count, LEVELS[level])}: {kind}"


def _left_out(findings: Sequence[Finding]) -> str:
    counts = Counter((finding.level, finding.kind) for finding in findings)
    more = [f"{count - MOST_FINDINGS} more of {kind}" for (_, kind), count in counts.items() if count > MOST_FINDINGS]
    return f"Not in this table: {', '.join(more)}; bench data check DATASET --json lists all." if more else ""


def _recordings_table(shown: Sequence[_Shown]) -> tuple[Table, list[tuple[int, int | None]]]:
    names = ("Recording", "Dataset, subset")
    figures = ("Length s", "Speakers", "Turns", "Speech %", "Overlap %", "Findings")
    rows = []
    for each in shown:
        turns = normalize_turns([turn for _, turn in each.lines], each.duration_s, Counter())
        statistics = measure(turns, each.regions, each.duration_s)
        values = _figures(statistics, len(each.findings))
        rows.append((Cell(visible(each.recording.uri)), Cell(visible(_where(each))), *values))
    columns = tuple(map(Column, names)) + tuple(Column(name, numeric=True) for name in figures)
    return Table(columns, tuple(rows)), [(number, None) for number in range(len(rows))]


def _figures(statistics: SpeechStatistics, findings: int) -> Iterator[Cell]:
    yield Cell(f"{statistics.audio_s:.1f}", statistics.audio_s)
    for count in (len(statistics.speakers), statistics.turns):
        yield Cell(str(count), count)
    for part, whole in (
        (statistics.speech_s, statistics.scored_s),
        (statistics.overlap_s, statistics.speech_s),
    ):
        yield Cell(percent(part / whole), part / whole) if whole else Cell("-")
    yield Cell(str(findings), findings)


def _steps(checked: Sequence[tuple[Dataset, CheckResult]]) -> Iterator[tuple[str, str]]:
    """What to do next, and the command for it."""
    for dataset, result in checked:
        path = visible(shlex.quote(str(dataset.root)))
        if any(finding.fixable for finding in result.findings):
            yield "Repair what needs no guess", f"bench data check {path} --fix"
        yield "Compare names and voices (slow)", f"bench data check {path} --voices"
