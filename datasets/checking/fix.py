"""Repair what can be repaired without guessing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from diarbench.datasets.checking.files import _complete, _fingerprint, _listed
from diarbench.datasets.checking.findings import FIXABLE, CheckResult
from diarbench.datasets.conversion.normalize import normalize_regions, normalize_turns
from diarbench.datasets.dataset import SUBSETS, DatasetInfo, Recording, Subset
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import nfc, write_atomic
from diarbench.datasets.io.records import read_record, write_record
from diarbench.datasets.io.rttm import Problem, read_uem, read_uris, rttm_text, scan_rttm, uem_text
from diarbench.datasets.statistics import SpeechStatistics, measure, summarise


def fix(checked: CheckResult) -> list[str]:
    """Mend what needs no guess, and tell dataset.json; returns what was done, a line each.

    RTTM and UEM are written anew, without comments and turns of no length, a speaker's overlapping turns merged, cut to
    the audio, names in Unicode's composed form. A file with a line that cannot be read is left as it is.
    """
    root = checked.root
    done: list[str] = []
    fixable = {finding.where.rpartition(":")[0] or finding.where for finding in checked.findings if finding.fixable}
    fixable |= {finding.where for finding in checked.findings if finding.fixable}
    lists = [subset for subset in SUBSETS if (root / f"{subset}.txt").is_file()]
    recordings = list(_listed(CheckResult(root), lists))
    for subset in lists:
        path = root / f"{subset}.txt"
        if str(path) in fixable:
            write_atomic(path, "".join(f"{uri}\n" for uri in read_uris(path)))
            done.append(f"{path}: blank lines removed")
    for recording in recordings:
        audio = checked.audio.get(recording.uri)
        if audio and audio.duration_s:
            done += _mend(recording, audio.duration_s, fixable)
    if not (root / "dataset.json").is_file() or not _complete(recordings):
        return done
    info = read_record(root / "dataset.json", DatasetInfo)
    now = _fingerprint(checked.audio, recordings)
    if now != info.fingerprint:
        held: dict[Subset, list[SpeechStatistics]] = {subset: [] for subset in SUBSETS}
        try:
            for r in recordings:
                held[r.subset].append(measure(r.turns, r.regions, checked.audio[r.uri].duration_s))
        except UserError:
            return done  # a file that cannot be read stays an error, and so does the fingerprint
        subsets = {subset: summarise(listed) for subset, listed in held.items()}
        write_record(root / "dataset.json", info.model_copy(update={"fingerprint": now, "subsets": subsets}))
        done.append(f"{root / 'dataset.json'}: fingerprint and sums taken from the files as they are now")
    return done


def _mend(recording: Recording, duration_s: float, fixable: set[str]) -> Iterator[str]:
    """Write a recording's RTTM and UEM anew where something in them can be mended and all of them can be read."""
    if str(recording.rttm) in fixable:
        problems: list[Problem] = []
        lines = list(scan_rttm(recording.rttm, problems))
        if all(nfc(uri) == nfc(recording.uri) for _, uri, _ in lines) and all(p.kind in FIXABLE for p in problems):
            changes = Counter({"turns dropped: no length": len(problems)})
            turns = normalize_turns([turn for _, _, turn in lines], duration_s, changes)
            write_atomic(recording.rttm, rttm_text(recording.uri, turns))
            yield f"{recording.rttm}: written anew{_counted(changes)}"
    if str(recording.uem) in fixable:
        changes = Counter()
        regions = None
        if recording.uem.is_file():
            problems = []
            by_uri = read_uem(recording.uem, problems)
            if any(nfc(uri) != nfc(recording.uri) for uri in by_uri) or any(p.kind not in FIXABLE for p in problems):
                return
            regions = [region for listed in by_uri.values() for region in listed]
        tidy = normalize_regions(regions, duration_s, changes)
        if tidy:
            write_atomic(recording.uem, uem_text({recording.uri: tidy}))
            how = _counted(changes) if regions is not None else " for the whole recording"
            yield f"{recording.uem}: written anew{how}"


def _counted(changes: Counter[str]) -> str:
    told = ", ".join(f"{count} {kind}" for kind, count in changes.items() if count)
    return f" ({told})" if told else ""
