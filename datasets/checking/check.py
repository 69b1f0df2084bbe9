"""What is wrong with a dataset, by file and line, before an hour of training is wasted on it.

An error spoils a run or its figures; a warning is worth knowing. What can be mended without guessing, `fix` mends.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

from diarbench.datasets.checking.audio_checks import _examine
from diarbench.datasets.checking.files import _complete, _fingerprint, _listed
from diarbench.datasets.checking.findings import CheckResult
from diarbench.datasets.conversion.converted import FILE_KINDS
from diarbench.datasets.conversion.normalize import normalize_regions, normalize_turns
from diarbench.datasets.conversion.parallel import in_parallel
from diarbench.datasets.dataset import SUBSETS, DatasetInfo, Recording, Subset
from diarbench.datasets.io.audio import SAMPLE_RATE
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import nfc
from diarbench.datasets.io.records import read_record
from diarbench.datasets.io.rttm import Problem, Region, Turn, read_uem, scan_rttm
from diarbench.datasets.statistics import seconds_by_speakers

SORTFORMER_SPEAKERS = 4
"""Speakers that NeMo's Sortformer can tell apart in a recording."""

POWERSET_OVERLAP = 2
"""Speakers at once that pyannote's powerset encoding can express."""

WORTH_PROCESSES = 50
"""Recordings from which on processes, which take a second to start, are worth it."""


def check(root: Path, workers: int = 1) -> CheckResult:
    """Look at every file of a dataset folder. Raises UserError only where it is none."""
    lists = [subset for subset in SUBSETS if (root / f"{subset}.txt").is_file()]
    if not lists:
        raise UserError(f"{root}: not a dataset (no train.txt, dev.txt or test.txt in it)")
    found = CheckResult(root)
    recordings = list(_listed(found, lists))
    there = [recording for recording in recordings if _files(found, recording)]
    for outcome in in_parallel(_examine, there, workers if len(there) >= WORTH_PROCESSES else 1):
        if isinstance(outcome, UserError):
            raise outcome
        found.audio[outcome.uri] = outcome
        found.findings += outcome.findings
    spoken = {recording.uri: _reference(found, recording) for recording in there}
    _leakage(found, there, spoken)
    _unlisted(found, recordings, lists)
    _record(found, recordings)
    return found


def _files(found: CheckResult, recording: Recording) -> bool:
    """Whether audio and reference are there; a missing UEM is told."""
    for kind, path in (("no audio", recording.audio), ("no reference", recording.rttm)):
        if not path.is_file():
            like = [other.name for other in path.parent.glob("[!.]*") if nfc(other.name) == nfc(path.name)]
            hint = f"; {like[0]!r} is, in another Unicode form: rename it" if like else ""
            found.error(kind, path, f"listed in {recording.subset}.txt but not there{hint}")
    if not recording.uem.is_file():
        found.error("no UEM", recording.uem, "not there; each tool would invent its own extent")
    return recording.audio.is_file() and recording.rttm.is_file()


def _reference(found: CheckResult, recording: Recording) -> list[Turn]:
    """The turns as they stand, and what is wrong with them told."""
    problems: list[Problem] = []
    passed_over: list[Problem] = []
    try:
        lines = list(scan_rttm(recording.rttm, problems, passed_over))
    except UserError as error:
        found.error("unreadable RTTM", recording.rttm, str(error))
        return []
    for problem in problems:
        found.error(*problem)
    for problem in passed_over:
        found.warn("comment" if problem.kind == "comment" else "not a turn", problem.where, problem.text)
    turns = []
    for where, uri, turn in lines:
        if uri != recording.uri:
            kind = "Unicode form" if nfc(uri) == nfc(recording.uri) else "other uri"
            found.error(kind, where, f"speaks of {uri}, and the file's name says {recording.uri}")
        if turn.speaker in ("NA", "<NA>", "None"):
            found.error("no speaker", where, f"a speaker named {turn.speaker} is nobody to pyannote; name one")
        if nfc(turn.speaker) != turn.speaker:
            found.warn("Unicode form", where, f"speaker {turn.speaker!r} is not in Unicode's composed form (NFC)")
        turns.append((where, turn))
    regions = _regions(found, recording)
    if not turns and not problems:
        found.warn("no turns", recording.rttm, "nobody speaks in it; is the reference whole?")
    audio = found.audio.get(recording.uri)
    _turns(found, turns, regions, audio.duration_s if audio else 0.0)
    _speakers(found, recording, [turn for _, turn in turns], regions)
    return [turn for _, turn in turns]


def _regions(found: CheckResult, recording: Recording) -> list[Region]:
    if not recording.uem.is_file():
        return []
    problems: list[Problem] = []
    try:
        by_uri = read_uem(recording.uem, problems)
    except UserError as error:
        found.error("unreadable UEM", recording.uem, str(error))
        return []
    for problem in problems:
        found.error(*problem)
    for uri in by_uri:
        if uri != recording.uri:
            kind = "Unicode form" if nfc(uri) == nfc(recording.uri) else "other uri"
            found.error(kind, recording.uem, f"speaks of {uri}, and the file's name says {recording.uri}")
    regions = sorted(region for uri, listed in by_uri.items() if nfc(uri) == nfc(recording.uri) for region in listed)
    if not regions and not problems:
        found.error("empty UEM", recording.uem, "no region: nothing is trained on or scored; list one, or remove it")
    for before, after in pairwise(regions):
        if after.start_s < before.end_s:
            found.warn("overlapping UEM regions", recording.uem, f"at {after.start_s} s: seconds would count twice")
    audio = found.audio.get(recording.uri)
    if audio and audio.duration_s and regions and regions[-1].end_s > audio.duration_s + 1 / SAMPLE_RATE:
        text = f"goes on to {regions[-1].end_s} s, the audio to {audio.duration_s:.3f} s"
        found.error("UEM outside the audio", recording.uem, text)
    return regions


def _turns(found: CheckResult, turns: list[tuple[str, Turn]], regions: list[Region], duration_s: float) -> None:
    """Turns against the audio, the UEM and one another."""
    latest: dict[str, float] = {}
    starts = [region.start_s for region in regions]
    for where, turn in sorted(turns, key=lambda line: line[1]):
        if duration_s and turn.end_s > duration_s + 1 / SAMPLE_RATE:
            text = f"{turn.speaker} speaks until {turn.end_s} s, the audio ends at {duration_s:.3f} s"
            found.error("turn outside the audio", where, text)
        at = bisect_right(starts, turn.start_s) - 1
        if regions and (at < 0 or turn.end_s > regions[at].end_s + 1 / SAMPLE_RATE):
            text = (
                f"{turn.speaker} at {turn.start_s} to {turn.end_s} s: outside the UEM nothing is trained on or scored"
            )
            found.warn("turn outside the UEM", where, text)
        if turn.start_s < latest.get(turn.speaker, 0.0):
            text = f"{turn.speaker} speaks already at {turn.start_s} s: seconds would count twice"
            found.warn("speaker overlaps itself", where, text)
        latest[turn.speaker] = max(turn.end_s, latest.get(turn.speaker, 0.0))


def _speakers(found: CheckResult, recording: Recording, turns: list[Turn], regions: list[Region]) -> None:
    """More speakers, or more of them at once, than a backend can express."""
    speakers = {turn.speaker for turn in turns}
    if len(speakers) > SORTFORMER_SPEAKERS:
        text = f"{len(speakers)} speakers, of whom Sortformer can tell {SORTFORMER_SPEAKERS} apart"
        found.warn("many speakers", recording.rttm, text)
    tidy = normalize_turns(turns, max((turn.end_s for turn in turns), default=0.0), Counter())
    seconds = seconds_by_speakers(tidy, normalize_regions(regions, float("inf"), Counter()))
    lost_s = sum(s for count, s in seconds.items() if count > POWERSET_OVERLAP)
    if lost_s > 0:
        text = f"{lost_s:.2f} s in which more than {POWERSET_OVERLAP} speak, which pyannote's powerset cannot express"
        found.warn("much overlap", recording.rttm, text)


def _leakage(found: CheckResult, recordings: list[Recording], spoken: dict[str, list[Turn]]) -> None:
    """Audio, or speakers, that several subsets share."""
    first: dict[str, Recording] = {}
    for recording in recordings:
        sha256 = found.audio[recording.uri].sha256
        other = first.setdefault(sha256, recording) if sha256 else recording
        if other.subset != recording.subset:
            found.error("leakage", recording.audio, f"the same audio as {other.audio}; keep it in one subset")
        elif other is not recording:
            found.warn("same audio twice", recording.audio, f"the same audio as {other.audio}")
    subsets_of: dict[str, set[str]] = defaultdict(set)
    for recording in recordings:
        for turn in spoken[recording.uri]:
            subsets_of[turn.speaker].add(recording.subset)
    shared: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for speaker, subsets in sorted(subsets_of.items()):
        if len(subsets) > 1:
            shared[tuple(sorted(subsets))].append(speaker)
    for names, speakers in shared.items():
        some = ", ".join(speakers[:3]) + (", ..." if len(speakers) > 3 else "")
        text = f"{len(speakers)} in {' and '.join(names)} ({some}): one person, or two of one name?"
        found.warn("shared speakers", found.root, text)


def _unlisted(found: CheckResult, recordings: list[Recording], lists: list[Subset]) -> None:
    """Files that no list names."""
    known = {path for recording in recordings for path in (recording.audio, recording.rttm, recording.uem)}
    for subset in lists:
        for kind in FILE_KINDS:
            for path in sorted((found.root / subset / kind).glob("[!.]*")):
                if path not in known:
                    what = "reference without a recording" if kind == "rttm" else "file in no list"
                    found.warn(what, path, f"{subset}.txt does not name it; list it or remove it")


def _record(found: CheckResult, recordings: list[Recording]) -> None:
    """dataset.json against the files."""
    path = found.root / "dataset.json"
    if not path.is_file():
        found.error("no dataset.json", path, "not a converted dataset; make one with 'bench data convert'")
        return
    try:
        info = read_record(path, DatasetInfo)
    except UserError as error:
        found.error("unreadable dataset.json", path, str(error))
        return
    if _complete(recordings) and _fingerprint(found.audio, recordings) != info.fingerprint:
        found.error("fingerprint", path, "files were changed since conversion; '--fix' takes them as they are now")
