"""Fix the problems of a dataset that have only one sensible repair."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from diarbench.datasets.checking.files import all_files_exist, current_fingerprint, listed_recordings
from diarbench.datasets.checking.findings import FIXABLE, CheckResult
from diarbench.datasets.conversion.normalize import normalize_regions, normalize_turns, same_when_normalized
from diarbench.datasets.dataset import SUBSETS, DatasetInfo, Recording, Subset
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import nfc, refuse_outside, write_atomic
from diarbench.datasets.io.records import read_record, write_record
from diarbench.datasets.io.rttm import Problem, read_uem, read_uris, rttm_text, scan_rttm, uem_text
from diarbench.datasets.statistics import SpeechStatistics, measure, summarise


def fix(checked: CheckResult) -> list[str]:
    """Fix what needs no guess, update dataset.json, and return one line per change.

    RTTM and UEM files are rewritten without comments and zero-length turns; a speaker's overlapping turns are merged,
    turns and regions are cut to the audio, and names are put into Unicode's composed form (NFC). A file with an
    unreadable line, or with two speakers whose names would become one, is not changed. Raises UserError, and changes
    nothing, where it would write to a folder outside the dataset through a link.
    """
    root = checked.root
    changes: list[str] = []
    fixable = {finding.where.rpartition(":")[0] or finding.where for finding in checked.findings if finding.fixable}
    fixable |= {finding.where for finding in checked.findings if finding.fixable}
    lists = [subset for subset in SUBSETS if (root / f"{subset}.txt").is_file()]
    recordings = list(listed_recordings(CheckResult(root), lists))
    for path in (path for recording in recordings for path in (recording.rttm, recording.uem)):
        if str(path) in fixable:
            refuse_outside(path.parent, root)
    for subset in lists:
        path = root / f"{subset}.txt"
        if str(path) in fixable:
            write_atomic(path, "".join(f"{uri}\n" for uri in read_uris(path)))
            changes.append(f"{path}: blank lines removed")
    for recording in recordings:
        audio = checked.audio.get(recording.uri)
        if audio and audio.duration_s:
            changes += _rewrite(recording, audio.duration_s, fixable)
    if not (root / "dataset.json").is_file() or not all_files_exist(recordings):
        return changes
    info = read_record(root / "dataset.json", DatasetInfo)
    current = current_fingerprint(checked.audio, recordings)
    if current != info.fingerprint:
        statistics: dict[Subset, list[SpeechStatistics]] = {subset: [] for subset in SUBSETS}
        try:
            for r in recordings:
                statistics[r.subset].append(measure(r.turns, r.regions, checked.audio[r.uri].duration_s))
        except UserError:
            return changes  # an unreadable file stays an error, and so does the fingerprint
        subsets = {subset: summarise(listed) for subset, listed in statistics.items()}
        write_record(root / "dataset.json", info.model_copy(update={"fingerprint": current, "subsets": subsets}))
        changes.append(f"{root / 'dataset.json'}: fingerprint and statistics recomputed from the files")
    return changes


def _rewrite(recording: Recording, duration_s: float, fixable: set[str]) -> Iterator[str]:
    """Rewrite a recording's RTTM and UEM if they have fixable problems and every line is readable."""
    if str(recording.rttm) in fixable:
        problems: list[Problem] = []
        lines = list(scan_rttm(recording.rttm, problems))
        is_own = all(nfc(uri) == nfc(recording.uri) for _, uri, _ in lines)
        is_distinct = same_when_normalized({turn.speaker for _, _, turn in lines}, {}) is None
        if is_own and is_distinct and all(problem.kind in FIXABLE for problem in problems):
            counts = Counter({"turns dropped: no length": len(problems)})
            turns = normalize_turns([turn for _, _, turn in lines], duration_s, counts)
            write_atomic(recording.rttm, rttm_text(recording.uri, turns))
            yield f"{recording.rttm}: rewritten{_in_brackets(counts)}"
    if str(recording.uem) in fixable:
        counts = Counter()
        regions = None
        if recording.uem.is_file():
            problems = []
            by_uri = read_uem(recording.uem, problems)
            if any(nfc(uri) != nfc(recording.uri) for uri in by_uri) or any(p.kind not in FIXABLE for p in problems):
                return
            regions = [region for listed in by_uri.values() for region in listed]
        tidy = normalize_regions(regions, duration_s, counts)
        if tidy:
            write_atomic(recording.uem, uem_text({recording.uri: tidy}))
            note = _in_brackets(counts) if regions is not None else " for the whole recording"
            yield f"{recording.uem}: rewritten{note}"


def _in_brackets(counts: Counter[str]) -> str:
    text = ", ".join(f"{kind}: {count}" for kind, count in counts.items() if count)
    return f" ({text})" if text else ""
