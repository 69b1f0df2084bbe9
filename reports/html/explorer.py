"""The data of the page's error explorer: reference, hypotheses, errors and audio of every recording."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from diarbench.datasets.dataset import SUBSETS, DatasetInfo
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import sha256_of
from diarbench.datasets.io.names import visible
from diarbench.datasets.io.records import read_record
from diarbench.datasets.io.rttm import Region, Turn, read_rttm, read_uem
from diarbench.reports.html.error_timeline import KINDS, find_errors, map_speakers, moments
from diarbench.reports.html.timeline import (
    MOST_SPEAKERS,
    MOST_TURNS,
    audio_source,
    flat_turns,
    is_embeddable,
    milliseconds,
    timeline_entry,
)
from diarbench.reports.results.comparison import Comparison
from diarbench.reports.results.run import Run
from diarbench.reports.results.run_folder import ComparisonFolder, RunFolder
from diarbench.reports.summary.summary import Section, Summary

T = TypeVar("T", Turn, Region)

WORST = 100
"""Number of errors per system that 'Next worst error' visits; on test where there is one."""


def explore(summary: Summary, root: Path) -> dict[str, Any]:
    """The explorer's data as JSON values; times in whole milliseconds, turns and errors as flat lists.

    Files under ``root`` are used only if their hash is the one in the results.
    """
    comparison = summary.comparison
    systems = list(_systems(comparison))
    shown = [
        (section, uri, _audio(comparison, section, uri))
        for section in summary.sections
        if section.condition == comparison.conditions[0]
        for uri in section.recordings
    ]
    embedded = is_embeddable(path for *_, path in shown)
    has_test = any(section.subset == "test" for section, *_ in shown)
    recordings: list[dict[str, Any]] = []
    worst: list[list[int]] = []
    for section, uri, path in shown:
        timeline = _timeline(comparison, root, section, uri, systems)
        for layer in timeline["systems"] if section.subset == "test" or not has_test else ():
            errors = layer["errors"]
            worst += ([len(recordings), layer["system"], *errors[at : at + 4]] for at in range(0, len(errors), 4))
        where = f"{section.dataset}, {section.subset}"
        recordings.append(timeline_entry(uri, where, timeline, audio_source(path, root, embedded)))
    return {
        "kinds": KINDS,
        "systems": [{"name": visible(system.name), "final": system.final} for system in systems],
        "recordings": recordings,
        "worst": list(_worst(worst, len(systems))),
    }


class _System(NamedTuple):
    """A system whose RTTM is drawn; ``folder`` has one folder per subset."""

    name: str
    dataset: str
    folder: str
    subsets: frozenset[str]
    final: bool


def _systems(comparison: Comparison) -> Iterator[_System]:
    """Every stage with rows of every run, and every fusion."""
    for run in comparison.runs:
        subsets: dict[tuple[str, str], set[str]] = {}
        for row in comparison.rows:
            if row.run == run.name:
                subsets.setdefault((row.dataset, row.stage), set()).add(row.subset)
        for (dataset, stage), scored in subsets.items():
            folder = str(RunFolder(Path(run.name)).rttm(run, dataset, stage))
            name = f"{run.name}, {stage}{f', on {dataset}' if dataset != run.dataset else ''}"
            yield _System(name, dataset, folder, frozenset(scored), stage == run.final_stage)
    for row in comparison.rows:
        if row.backend == "fusion" and row.condition == comparison.conditions[0].name:
            beside = next((_comparison_folder(run) for run in comparison.runs if run.dataset == row.dataset), Path())
            fusion = ComparisonFolder(beside).fusion(row.dataset, row.recipe, row.seed, row.subset).parent
            yield _System(
                f"{row.stage} fusion of {fusion.name}", row.dataset, str(fusion), frozenset([row.subset]), False
            )


def _comparison_folder(run: Run) -> Path:
    """The folder of a run's comparison, relative to the root; the root itself unless comparisons are merged."""
    return Path(run.name).parent


def _timeline(comparison: Comparison, root: Path, section: Section, uri: str, systems: list[_System]) -> dict[str, Any]:
    regions = _reference(comparison, root, section, f"{uri}.uem", read_uem)
    reference = _reference(comparison, root, section, f"{uri}.rttm", read_rttm)
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
        hypothesis = _read(comparison, root, f"{system.folder}/{section.subset}/{uri}.rttm", read_rttm)
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
                "turns": flat_turns(hypothesis, theirs),
                "errors": [
                    value
                    for e in find_errors(cut, mapping)
                    for value in (milliseconds(e.start_s), milliseconds(e.end_s), KINDS.index(e.kind), e.speakers)
                ],
            }
        )
    return {
        "end": milliseconds(end_s),
        "regions": [[milliseconds(start), milliseconds(end)] for start, end in regions],
        "speakers": [visible(speaker) for speaker in speakers],
        "turns": flat_turns(reference, speakers),
        "systems": layers,
        "missing": [visible(name) for name in missing],
    }


def _reference(
    comparison: Comparison, root: Path, section: Section, name: str, read: Callable[[Path], dict[str, list[T]]]
) -> list[T] | None:
    """From the comparison folder of any run; in a merged comparison several folders have the same reference."""
    places = dict.fromkeys(_comparison_folder(line.run) for line in section.lines if line.run)
    paths = (str(ComparisonFolder(place).reference(section.dataset, section.subset) / name) for place in places)
    contents = (_read(comparison, root, path, read) for path in paths)
    return next((content for content in contents if content is not None), None)


def _read(
    comparison: Comparison, root: Path, relative: str, read: Callable[[Path], dict[str, list[T]]]
) -> list[T] | None:
    """The sorted turns or regions of a source file.

    None where it is missing, invalid, changed since scoring, or has more speakers or turns than can be drawn.
    """
    path = root / relative
    if relative not in comparison.source_hashes or not path.is_file():
        return None
    if sha256_of(path) != comparison.source_hashes[relative]:
        return None
    try:
        items = sorted(item for items in read(path).values() for item in items)
    except UserError:
        return None
    speakers = {getattr(item, "speaker", None) for item in items}
    return items if len(speakers) <= MOST_SPEAKERS and len(items) <= MOST_TURNS else None


def _audio(comparison: Comparison, section: Section, uri: str) -> Path | None:
    """A recording's WAV file in the dataset of the runs; None where it no longer exists.

    A stranger's ``results.json`` may name any folder, so the folder must be this dataset, and the file audio in it.
    """
    for domain in filter(None, (run.domain(section.dataset) for run in comparison.runs)):
        root = Path(domain.root.replace("\0", "")).resolve()
        if not _is_dataset(root, domain.fingerprint):
            continue
        for subset in (section.subset, *SUBSETS):  # a cross-validation tests recordings of every subset
            path = root / subset / "wav" / f"{uri}.wav"
            if path.resolve().is_relative_to(root) and _is_wav(path):
                return path
    return None


def _is_dataset(root: Path, fingerprint: str) -> bool:
    try:
        return read_record(root / "dataset.json", DatasetInfo).fingerprint == fingerprint
    except UserError:
        return False


def _is_wav(path: Path) -> bool:
    import soundfile

    try:
        return bool(soundfile.info(str(path)).format == "WAV")
    except (OSError, RuntimeError):
        return False


def _worst(errors: list[list[int]], systems: int) -> Iterator[list[int]]:
    """The longest errors of each system in speaker time, of all systems together, longest first."""
    errors.sort(key=lambda error: (error[2] - error[3]) * error[5])
    left = [WORST] * systems
    for error in errors:
        if left[error[1]]:
            left[error[1]] -= 1
            yield error
