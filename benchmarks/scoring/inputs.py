"""Read the RTTM and UEM files of ``bench score`` and ``bench compare``, with a note on every irregularity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from diarbench.benchmarks.scoring.der import ScoringProtocol
from diarbench.benchmarks.scoring.turns import merge_overlapping
from diarbench.datasets.folds import groups_of, number_groups
from diarbench.datasets.io.errors import UserError, did_you_mean
from diarbench.datasets.io.exclusions import outside, unscored
from diarbench.datasets.io.files import files, nfc
from diarbench.datasets.io.names import first_names, plural, renamings
from diarbench.datasets.io.rttm import Problem, Region, RttmRecording, Turn, read_recordings, read_regions
from diarbench.reports.results.scores import ErrorSeconds

Turns = dict[str, list[Turn]]


@dataclass
class Inputs:
    """Reference, hypotheses and scored regions, by recording."""

    reference: Turns
    hypotheses: list[Turns]
    scored: dict[str, list[Region]]
    notes: list[str] = field(default_factory=list)
    """One sentence for each kind of input that was skipped, merged, not scored or missing."""

    @cached_property
    def groups(self) -> list[int]:
        """The number of each scored recording's group: of those that share speakers or a session."""
        return groups_of(list(self.scored), self.known_groups)

    @cached_property
    def known_groups(self) -> dict[str, int]:
        """The same by recording, without those of which it is not known."""
        return number_groups({uri: self.reference.get(uri, ()) for uri in self.scored})


def read_inputs(reference: Path, hypotheses: Sequence[Path], uem: Path | None) -> Inputs:
    """Read files, or folders of files.

    The scored recordings are those of the reference, and those in both the UEM and a hypothesis, with an empty
    reference. Raises UserError, with file and line, for input that cannot be read, and if there is nothing to score.
    """
    notes: list[str] = []
    ref, unscored_of = _read_turns(reference, notes)
    hyps = [_read_turns(path, notes)[0] for path in hypotheses]
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
    for path, hyp in zip(hypotheses, hyps, strict=True):
        _check_names(reference, path, set(scored), set(hyp))
    excluded_s = 0.0
    for uri, zones in unscored_of.items():
        if zones and uri in scored:
            before_s = sum(region.end_s - region.start_s for region in scored[uri])
            scored[uri] = outside(scored[uri], zones)
            excluded_s += before_s - sum(region.end_s - region.start_s for region in scored[uri])
    if excluded_s:
        notes.append(f"{reference}: {excluded_s:.3f} s in NOSCORE and NON-LEX zones, not scored")
    if without_regions:
        count = plural(len(without_regions), "recording")
        cause = f"{uem}: no regions for {count} ({first_names(without_regions)})" if uem else "no --uem"
        notes.append(f"{cause}; scored from 0 to the last turn end in reference and hypotheses")
    if no_reference := sorted(set(scored) - set(ref)):
        count = plural(len(no_reference), "recording")
        notes.append(f"{count} in the UEM without reference, all speech is false alarm: {first_names(no_reference)}")
    for path, hyp in zip(hypotheses, hyps, strict=True):
        if missing := sorted(set(scored) - set(hyp)):
            count = plural(len(missing), "recording")
            hint = _hint(set(hyp), set(missing))
            notes.append(f"{path}: {count} missing, all reference speech is missed: {first_names(missing)}{hint}")
        if not_scored := sorted(set(hyp) - set(scored)):
            count = plural(len(not_scored), "recording")
            notes.append(f"{path}: {count} without reference, not scored: {first_names(not_scored)}")
    if unused := sorted(set(regions) - set(scored)):
        notes.append(
            f"{uem}: {plural(len(unused), 'recording')} in neither reference nor hypothesis: {first_names(unused)}"
        )
    for path, turns in zip((reference, *hypotheses), (ref, *hyps), strict=True):
        if merged := _count_overlapping(turns):
            notes.append(f"{path}: {plural(merged, 'turn')} merged into overlapping turns of the same speaker")
    region_turns = {uri: [Turn(*region, "") for region in listed] for uri, listed in regions.items()}
    if merged := _count_overlapping(region_turns):
        notes.append(f"{uem}: {plural(merged, 'region')} merged into overlapping regions")
    return Inputs(ref, hyps, scored, notes)


def outside_notes(path: Path, turns: Mapping[str, Sequence[Turn]], scored: Iterable[str], inside_s: float) -> list[str]:
    """A note on the speech of scored recordings outside their regions, if any; ``inside_s`` is the speech inside."""
    merged = merge_overlapping(turns, list(scored))
    seconds = sum(t.end_s - t.start_s for listed in merged.values() for t in listed) - inside_s
    return [f"{path}: {seconds:.3f} s of speech outside the scored regions, not scored"] if seconds >= 5e-4 else []


LARGEST_COLLAR_S = 3600


def parse_condition(text: str, known: Mapping[str, ScoringProtocol]) -> ScoringProtocol:
    """A known protocol by name, or a custom one: ``0.1+overlap``, ``0.1-overlap``. Raises UserError otherwise."""
    if text in known:
        return known[text]
    collar, sign, overlap = text.partition("+" if "+" in text else "-")
    try:
        if sign and overlap == "overlap" and not float(collar) > LARGEST_COLLAR_S:
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


def _read_turns(path: Path, notes: list[str]) -> tuple[Turns, dict[str, list[Region]]]:
    """Turns by recording, and what the file itself says is not scored."""
    recordings: dict[str, RttmRecording] = {}
    origin: dict[str, Path] = {}
    problems: list[Problem] = []
    skipped: list[Problem] = []
    for file in _files(path, ".rttm"):
        read = read_recordings(file, problems, skipped)
        for name, recording in read.items():
            if origin.setdefault(nfc(name), file) != file:
                other = origin[nfc(name)]
                raise UserError(
                    f"{recording.where}: {nfc(name)} is also in {other}; put all turns of a recording in one file"
                )
            recordings.setdefault(nfc(name), RttmRecording(recording.where)).extend(recording)
        if path.is_dir() and not any(recording.turns for recording in read.values()):
            # A file without turns in a folder is a recording in which nobody speaks.
            recordings.setdefault(nfc(file.stem), RttmRecording(str(file)))
    for problem in problems:
        if problem.kind != "zero length":
            raise UserError(str(problem))
    if problems:
        notes.append(f"{path}: {plural(len(problems), 'zero-length turn')} skipped, the first at {problems[0].where}")
    if multichannel := [uri for uri, recording in recordings.items() if len(set(recording.channels)) > 1]:
        notes.append(f"{path}: turns on several channels are scored as one recording: {first_names(multichannel)}")
    kinds = Counter(problem.kind for problem in skipped)
    for kind, number in kinds.items():
        if kind not in ("comment", "NOSCORE line", "NON-LEX line"):
            notes.append(f"{path}: {plural(number, kind)} skipped")
    return (
        {uri: recording.turns for uri, recording in recordings.items() if recording.turns or path.is_dir()},
        {uri: unscored(recording) for uri, recording in recordings.items()},
    )


def _read_regions(path: Path) -> dict[str, list[Region]]:
    regions: dict[str, list[Region]] = {}
    for file in _files(path, ".uem"):
        for name, listed in read_regions(file).items():
            regions.setdefault(nfc(name), []).extend(listed.regions)
    return regions


def _check_names(reference: Path, path: Path, known: Set[str], names: Set[str]) -> None:
    """Raises UserError where a hypothesis has no recording that is scored."""
    if names and known and not names & known:
        examples = f"{first_names(sorted(names))}; those of {reference} are {first_names(sorted(known))}"
        raise UserError(
            f"{path}: no recording has a name of the reference: its names are {examples}{_hint(names, known)}"
        )


def _hint(names: Set[str], known: Set[str]) -> str:
    """Which recordings would be found after renaming; empty if none would."""
    pairs = [f"{old} to {new}" for old, new in renamings(names - known, known - names).items()]
    return f"; rename {first_names(pairs)}" if pairs else ""


def _count_overlapping(turns: Mapping[str, Sequence[Turn]]) -> int:
    """How many turns disappear when each speaker's overlapping turns are merged."""
    return sum(map(len, turns.values())) - sum(map(len, merge_overlapping(turns, list(turns)).values()))
