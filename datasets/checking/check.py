"""Check a dataset before training on it, and report problems by file and line.

An error breaks a run or distorts its scores; a warning does not. `fix` repairs what can be repaired without guessing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from diarbench.datasets.checking.audio_checks import examine_audio
from diarbench.datasets.checking.files import all_files_exist, current_fingerprint, listed_recordings
from diarbench.datasets.checking.findings import CheckResult
from diarbench.datasets.checking.labels import Labelled, check_labels
from diarbench.datasets.checking.voices import Embed, check_voices
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
"""The number of speakers that NeMo's Sortformer can distinguish in a recording."""

POWERSET_OVERLAP = 2
"""The number of simultaneous speakers that pyannote's powerset encoding can represent."""

PARALLEL_FROM = 50
"""The number of recordings from which worker processes, which take a second to start, save time."""


def check(
    root: Path, workers: int = 1, embed: Embed | None = None, progress: Callable[[int], None] = lambda done: None
) -> CheckResult:
    """Check every file of a dataset folder; with ``embed``, also whether names and voices are the same.

    ``progress`` gets the number of recordings whose voices were compared. Raises UserError only if the folder is not a
    dataset.
    """
    lists = [subset for subset in SUBSETS if (root / f"{subset}.txt").is_file()]
    if not lists:
        raise UserError(f"{root}: not a dataset (no train.txt, dev.txt or test.txt in it)")
    result = CheckResult(root)
    recordings = list(listed_recordings(result, lists))
    readable = [recording for recording in recordings if _check_files(result, recording)]
    for report in in_parallel(examine_audio, readable, workers if len(readable) >= PARALLEL_FROM else 1):
        if isinstance(report, UserError):
            raise report
        result.audio[report.uri] = report
        result.findings += report.findings
    labelled = [_check_reference(result, recording) for recording in readable]
    check_labels(result, labelled)
    if embed:
        check_voices(result, [each for each in labelled if each.rms is not None], embed, progress)
    _check_leakage(result, labelled)
    _check_unlisted(result, recordings, lists)
    _check_record(result, recordings)
    return result


def _check_files(result: CheckResult, recording: Recording) -> bool:
    """Report missing files, and return whether audio and reference exist."""
    for kind, path in (("no audio", recording.audio), ("no reference", recording.rttm)):
        if not path.is_file():
            like = [other.name for other in path.parent.glob("[!.]*") if nfc(other.name) == nfc(path.name)]
            hint = f"; rename {like[0]!r}, which is in another Unicode form" if like else ""
            result.error(kind, path, f"listed in {recording.subset}.txt but missing{hint}")
    if not recording.uem.is_file():
        result.error("no UEM", recording.uem, "missing; each tool would assume a different scored region")
    return recording.audio.is_file() and recording.rttm.is_file()


def _check_reference(result: CheckResult, recording: Recording) -> Labelled:
    """Report problems of an RTTM file, and return its turns as written."""
    audio = result.audio[recording.uri]
    problems: list[Problem] = []
    skipped: list[Problem] = []
    try:
        lines = list(scan_rttm(recording.rttm, problems, skipped))
    except UserError as error:
        result.error("unreadable RTTM", recording.rttm, str(error))
        return Labelled(recording, [], [], audio.rms)
    for problem in problems:
        result.error(*problem)
    for problem in skipped:
        result.warn("comment" if problem.kind == "comment" else "not a turn", problem.where, problem.text)
    turns = []
    for where, uri, turn in lines:
        if uri != recording.uri:
            kind = "Unicode form" if nfc(uri) == nfc(recording.uri) else "other uri"
            result.error(kind, where, f"the line is about {uri}, but the file is named {recording.uri}")
        if turn.speaker in ("NA", "<NA>", "None"):
            result.error(
                "no speaker", where, f"pyannote reads the speaker name {turn.speaker} as missing; rename the speaker"
            )
        if nfc(turn.speaker) != turn.speaker:
            result.warn("Unicode form", where, f"speaker {turn.speaker!r} is not in Unicode's composed form (NFC)")
        turns.append((where, turn))
    regions = _check_uem(result, recording)
    if not turns and not problems:
        result.warn("no turns", recording.rttm, "contains no speech; check that the reference is complete")
    _check_turns(result, turns, regions, audio.duration_s)
    _check_speakers(result, recording, [turn for _, turn in turns], regions)
    return Labelled(recording, turns, regions, audio.rms)


def _check_uem(result: CheckResult, recording: Recording) -> list[Region]:
    """Report problems of a UEM file, and return its regions."""
    if not recording.uem.is_file():
        return []
    problems: list[Problem] = []
    try:
        by_uri = read_uem(recording.uem, problems)
    except UserError as error:
        result.error("unreadable UEM", recording.uem, str(error))
        return []
    for problem in problems:
        result.error(*problem)
    for uri in by_uri:
        if uri != recording.uri:
            kind = "Unicode form" if nfc(uri) == nfc(recording.uri) else "other uri"
            result.error(kind, recording.uem, f"has regions of {uri}, but is named {recording.uri}")
    regions = sorted(region for uri, listed in by_uri.items() if nfc(uri) == nfc(recording.uri) for region in listed)
    if not regions and not problems:
        result.error(
            "empty UEM", recording.uem, "no region, so nothing is trained on or scored; add one or remove the file"
        )
    for before, after in pairwise(regions):
        if after.start_s < before.end_s:
            result.warn("overlapping UEM regions", recording.uem, f"at {after.start_s} s; this time would count twice")
    audio = result.audio.get(recording.uri)
    if audio and audio.duration_s and regions and regions[-1].end_s > audio.duration_s + 1 / SAMPLE_RATE:
        text = f"ends at {regions[-1].end_s} s, the audio at {audio.duration_s:.3f} s"
        result.error("UEM outside the audio", recording.uem, text)
    return regions


def _check_turns(result: CheckResult, turns: list[tuple[str, Turn]], regions: list[Region], duration_s: float) -> None:
    """Compare turns with the audio, the UEM and one another."""
    latest: dict[str, float] = {}
    starts = [region.start_s for region in regions]
    for where, turn in sorted(turns, key=lambda line: line[1]):
        if duration_s and turn.end_s > duration_s + 1 / SAMPLE_RATE:
            text = f"{turn.speaker} speaks until {turn.end_s} s, but the audio ends at {duration_s:.3f} s"
            result.error("turn outside the audio", where, text)
        at = bisect_right(starts, turn.start_s) - 1
        if regions and (at < 0 or turn.end_s > regions[at].end_s + 1 / SAMPLE_RATE):
            text = f"{turn.speaker} at {turn.start_s} to {turn.end_s} s: not trained on or scored outside the UEM"
            result.warn("turn outside the UEM", where, text)
        if turn.start_s < latest.get(turn.speaker, 0.0):
            text = f"{turn.speaker} is already speaking at {turn.start_s} s; this time would count twice"
            result.warn("speaker overlaps itself", where, text)
        latest[turn.speaker] = max(turn.end_s, latest.get(turn.speaker, 0.0))


def _check_speakers(result: CheckResult, recording: Recording, turns: list[Turn], regions: list[Region]) -> None:
    """Report more speakers, or more simultaneous speakers, than a backend can represent."""
    speakers = {turn.speaker for turn in turns}
    if len(speakers) > SORTFORMER_SPEAKERS:
        text = f"{len(speakers)} speakers; Sortformer can distinguish at most {SORTFORMER_SPEAKERS}"
        result.warn("many speakers", recording.rttm, text)
    normalized = normalize_turns(turns, max((turn.end_s for turn in turns), default=0.0), Counter())
    seconds = seconds_by_speakers(normalized, normalize_regions(regions, float("inf"), Counter()))
    lost_s = sum(s for count, s in seconds.items() if count > POWERSET_OVERLAP)
    if lost_s > 0:
        text = f"{lost_s:.2f} s with more speakers at once than the {POWERSET_OVERLAP} of pyannote's powerset encoding"
        result.warn("much overlap", recording.rttm, text)


def _check_leakage(result: CheckResult, labelled: list[Labelled]) -> None:
    """Report audio and speakers shared between subsets."""
    first: dict[str, Recording] = {}
    for recording in (each.recording for each in labelled):
        sha256 = result.audio[recording.uri].sha256
        other = first.setdefault(sha256, recording) if sha256 else recording
        if other.subset != recording.subset:
            result.error("leakage", recording.audio, f"the same audio as {other.audio}; keep it in one subset")
        elif other is not recording:
            result.warn("same audio twice", recording.audio, f"the same audio as {other.audio}")
    subsets_of: dict[str, set[str]] = defaultdict(set)
    for each in labelled:
        for turn in each.turns:
            subsets_of[turn.speaker].add(each.recording.subset)
    shared: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for speaker, subsets in sorted(subsets_of.items()):
        if len(subsets) > 1:
            shared[tuple(sorted(subsets))].append(speaker)
    for names, speakers in shared.items():
        examples = ", ".join(speakers[:3]) + (", ..." if len(speakers) > 3 else "")
        text = f"{len(speakers)} in {' and '.join(names)} ({examples}); check that each is one person"
        result.warn("shared speakers", result.root, text)


def _check_unlisted(result: CheckResult, recordings: list[Recording], lists: list[Subset]) -> None:
    """Report files that are not in a list."""
    known = {path for recording in recordings for path in recording.files}
    for subset in lists:
        for kind in FILE_KINDS:
            for path in sorted((result.root / subset / kind).glob("[!.]*")):
                if path not in known:
                    what = "reference without a recording" if kind == "rttm" else "file in no list"
                    result.warn(what, path, f"not in {subset}.txt; add it there or remove it")


def _check_record(result: CheckResult, recordings: list[Recording]) -> None:
    """Compare dataset.json with the files."""
    path = result.root / "dataset.json"
    if not path.is_file():
        result.error(
            "no dataset.json", path, "missing, so this is not a converted dataset; create one with 'bench data convert'"
        )
        return
    try:
        info = read_record(path, DatasetInfo)
    except UserError as error:
        result.error("unreadable dataset.json", path, str(error))
        return
    if all_files_exist(recordings) and current_fingerprint(result.audio, recordings) != info.fingerprint:
        result.error("fingerprint", path, "files have changed since conversion; '--fix' accepts them as they are now")
