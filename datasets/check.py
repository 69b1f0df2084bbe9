"""What is wrong with a dataset, by file and line, before an hour of training is wasted on it.

An error spoils a run or its figures; a warning is worth knowing. What can be mended without guessing, `fix` mends.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Literal

from diarbench.datasets.audio import wav_data_bytes
from diarbench.datasets.convert import KINDS, fingerprint, in_parallel, tidy_name, tidy_regions, tidy_turns
from diarbench.datasets.layout import SAMPLE_RATE, DatasetInfo, Recording, recording_in
from diarbench.datasets.rttm import (
    Problem,
    Region,
    Turn,
    read_lines,
    read_uem,
    read_uris,
    rttm_text,
    scan_rttm,
    uem_text,
)
from diarbench.datasets.sources.pairing import nfc
from diarbench.datasets.stats import Held, measure, seconds_by_speakers, summarise
from diarbench.reports.records import (
    SUBSETS,
    Record,
    Subset,
    UserError,
    read_record,
    sha256_of,
    write_record,
    write_whole,
)

WINDOW_S = 10.0
"""pyannote's segmentation-3.0 hears 10 s at a time, and a recording shorter than that raises."""
SORTFORMER_SPEAKERS = 4
"""Speakers that NeMo's Sortformer can tell apart in a recording."""
POWERSET_OVERLAP = 2
"""Speakers at once that pyannote's powerset encoding can express."""
WORTH_PROCESSES = 50
"""Recordings from which on processes, which take a second to start, are worth it."""
SILENCE_PEAK, NEAR_EMPTY_RMS, CLIPPED_SHARE = 1e-4, 1e-4, 1e-3

FIXABLE = frozenset(
    {
        "Unicode form",
        "blank line",
        "comment",
        "no UEM",
        "overlapping UEM regions",
        "speaker overlaps itself",
        "turn outside the audio",
        "UEM outside the audio",
        "zero length",
    }
)


class Finding(Record):
    """Something wrong: how bad, what kind, where (``file`` or ``file:line``), what it means and what to do."""

    level: Literal["error", "warning"]
    kind: str
    where: str
    text: str
    fixable: bool


@dataclass
class _Audio:
    """What a pass over a recording's samples found."""

    uri: str
    sha256: str = ""
    """Empty where it could not be read."""
    duration_s: float = 0.0
    findings: list[Finding] = field(default_factory=list)


@dataclass
class Checked:
    """The findings on a dataset, and what `fix` needs to know of it."""

    root: Path
    findings: list[Finding] = field(default_factory=list)
    audio: dict[str, _Audio] = field(default_factory=dict)
    """By uri."""

    @property
    def errors(self) -> int:
        return sum(finding.level == "error" for finding in self.findings)

    def error(self, kind: str, where: object, text: str) -> None:
        self.findings.append(_finding("error", kind, where, text))

    def warn(self, kind: str, where: object, text: str) -> None:
        self.findings.append(_finding("warning", kind, where, text))


def _finding(level: Literal["error", "warning"], kind: str, where: object, text: str) -> Finding:
    return Finding(level=level, kind=kind, where=str(where), text=text, fixable=kind in FIXABLE)


def check(root: Path, workers: int = 1) -> Checked:
    """Look at every file of a dataset folder. Raises UserError only where it is none."""
    lists = [subset for subset in SUBSETS if (root / f"{subset}.txt").is_file()]
    if not lists:
        raise UserError(f"{root}: not a dataset (no train.txt, dev.txt or test.txt in it)")
    found = Checked(root)
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


def _listed(found: Checked, lists: list[Subset]) -> Iterator[Recording]:
    """The recordings in the lists, each name once."""
    for subset in SUBSETS:
        if subset not in lists:
            found.warn("no list", found.root / f"{subset}.txt", f"no {subset} set; a run needs train, dev and test")
    seen: dict[str, tuple[str, str]] = {}
    for subset in lists:
        path = found.root / f"{subset}.txt"
        lines = [(where, line) for where, line in read_lines(path)]
        if not lines[-1][1]:
            lines.pop()  # what follows the last line's end
        if not lines:
            found.warn("empty list", path, f"no recordings; a run needs some in {subset}")
        for where, line in lines:
            name = line.strip()
            if not name:
                found.warn("blank line", where, "some readers take it for a recording named ''")
                continue
            if name != tidy_name(name):
                _name(found, where, name)
            earlier, earlier_where = seen.setdefault(nfc(name).casefold(), (name, where))
            if earlier_where == where:
                yield recording_in(found.root, subset, name)
            elif Path(earlier_where.rpartition(":")[0]) != path:
                found.error("leakage", where, f"{name} is in {earlier_where} too; keep it in one subset")
            else:
                kind = "duplicate uri" if earlier == name else "equal stems"
                found.error(kind, where, f"{name} is {earlier} of {earlier_where} to some file systems and toolkits")


def _name(found: Checked, where: object, name: str) -> None:
    if nfc(name) != name:
        text = f"{name!r} is not in Unicode's composed form (NFC); rename it, and its files"
        found.warn("decomposed name", where, text)
    if any(character.isspace() or character in "/\\" for character in name):
        found.error("space in a name", where, f"{name!r}: RTTM cannot carry it; rename it, and its files")


def _files(found: Checked, recording: Recording) -> bool:
    """Whether audio and reference are there; a missing UEM is told."""
    for kind, path in (("no audio", recording.audio), ("no reference", recording.rttm)):
        if not path.is_file():
            like = [other.name for other in path.parent.glob("[!.]*") if nfc(other.name) == nfc(path.name)]
            hint = f"; {like[0]!r} is, in another Unicode form: rename it" if like else ""
            found.error(kind, path, f"listed in {recording.subset}.txt but not there{hint}")
    if not recording.uem.is_file():
        found.error("no UEM", recording.uem, "not there; each tool would invent its own extent")
    return recording.audio.is_file() and recording.rttm.is_file()


def _examine(recording: Recording) -> _Audio:
    """Read all of a recording's audio and measure it."""
    import numpy as np
    import soundfile

    path = recording.audio
    audio = _Audio(recording.uri)

    def tell(level: Literal["error", "warning"], kind: str, text: str) -> None:
        audio.findings.append(_finding(level, kind, path, text))

    frames, full, peak, square = 0, 0, 0.0, np.zeros(1)
    try:
        audio.sha256 = sha256_of(path)
        declared, present = wav_data_bytes(path) or (0, 0)
        if declared > present:
            text = f"its header says {declared} bytes of samples, it holds {present}; fetch it again"
            tell("error", "truncated audio", text)
        with soundfile.SoundFile(str(path)) as file:
            rate, channels = file.samplerate, file.channels
            square = np.zeros(channels)
            for block in file.blocks(blocksize=30 * rate, dtype="float32", always_2d=True):
                frames += len(block)
                magnitude = np.abs(block)
                full += int((magnitude >= 32767 / 32768).sum())
                peak = max(peak, float(magnitude.max()))
                square += (block.astype(np.float64) ** 2).sum(axis=0)
    except (OSError, RuntimeError) as error:
        tell("error", "unreadable audio", f"not audio that can be read ({error}); fetch or convert it again")
        return audio
    audio.duration_s = frames / rate
    if not frames:
        tell("error", "header-only audio", "holds no samples; fetch or convert it again")
        return audio
    if rate != SAMPLE_RATE:
        tell("error", "sample rate", f"{rate} Hz where datasets have {SAMPLE_RATE}; convert it again")
    if channels != 1:
        tell("error", "channels", f"{channels} channels where datasets have one; convert it again")
    if audio.duration_s < WINDOW_S:
        text = f"{audio.duration_s:.2f} s, shorter than the {WINDOW_S:g} s that pyannote's segmentation hears at a time"
        tell("warning", "short audio", text)
    level = np.sqrt(square / frames)
    if peak < SILENCE_PEAK:
        tell("warning", "silence", f"nothing but silence (peak {peak:.1e} of full scale)")
    elif (level < NEAR_EMPTY_RMS).any():
        tell("warning", "near-empty channel", f"channel {int(level.argmin())} is near empty (RMS {level.min():.1e})")
    if full > CLIPPED_SHARE * frames * channels:
        share = full / frames / channels
        tell("warning", "clipping", f"{share:.1%} of its samples are at full scale; lower the recording's level")
    return audio


def _reference(found: Checked, recording: Recording) -> list[Turn]:
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


def _regions(found: Checked, recording: Recording) -> list[Region]:
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


def _turns(found: Checked, turns: list[tuple[str, Turn]], regions: list[Region], duration_s: float) -> None:
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


def _speakers(found: Checked, recording: Recording, turns: list[Turn], regions: list[Region]) -> None:
    """More speakers, or more of them at once, than a backend can express."""
    speakers = {turn.speaker for turn in turns}
    if len(speakers) > SORTFORMER_SPEAKERS:
        text = f"{len(speakers)} speakers, of whom Sortformer can tell {SORTFORMER_SPEAKERS} apart"
        found.warn("many speakers", recording.rttm, text)
    tidy = tidy_turns(turns, max((turn.end_s for turn in turns), default=0.0), Counter())
    seconds = seconds_by_speakers(tidy, tidy_regions(regions, float("inf"), Counter()))
    lost_s = sum(s for count, s in seconds.items() if count > POWERSET_OVERLAP)
    if lost_s > 0:
        text = f"{lost_s:.2f} s in which more than {POWERSET_OVERLAP} speak, which pyannote's powerset cannot express"
        found.warn("much overlap", recording.rttm, text)


def _leakage(found: Checked, recordings: list[Recording], spoken: dict[str, list[Turn]]) -> None:
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


def _unlisted(found: Checked, recordings: list[Recording], lists: list[Subset]) -> None:
    """Files that no list names."""
    known = {path for recording in recordings for path in (recording.audio, recording.rttm, recording.uem)}
    for subset in lists:
        for kind in KINDS:
            for path in sorted((found.root / subset / kind).glob("[!.]*")):
                if path not in known:
                    what = "reference without a recording" if kind == "rttm" else "file in no list"
                    found.warn(what, path, f"{subset}.txt does not name it; list it or remove it")


def _record(found: Checked, recordings: list[Recording]) -> None:
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


def _complete(recordings: list[Recording]) -> bool:
    return all(path.is_file() for r in recordings for path in (r.audio, r.rttm, r.uem))


def _fingerprint(audio: dict[str, _Audio], recordings: list[Recording]) -> str:
    files = {
        r.uri: (r.subset, {"wav": audio[r.uri].sha256, "rttm": sha256_of(r.rttm), "uem": sha256_of(r.uem)})
        for r in recordings
    }
    return fingerprint(files)


def fix(checked: Checked) -> list[str]:
    """Mend what needs no guess, and tell dataset.json; returns what was done, a line each.

    RTTM and UEM are written anew, without comments and turns of no length, a speaker's overlapping turns merged, cut to
    the audio, names in Unicode's composed form. A file with a line that cannot be read is left as it is.
    """
    root = checked.root
    done: list[str] = []
    fixable = {finding.where.rpartition(":")[0] or finding.where for finding in checked.findings if finding.fixable}
    fixable |= {finding.where for finding in checked.findings if finding.fixable}
    lists = [subset for subset in SUBSETS if (root / f"{subset}.txt").is_file()]
    recordings = list(_listed(Checked(root), lists))
    for subset in lists:
        path = root / f"{subset}.txt"
        if str(path) in fixable:
            write_whole(path, "".join(f"{uri}\n" for uri in read_uris(path)))
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
        held: dict[Subset, list[Held]] = {subset: [] for subset in SUBSETS}
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
            turns = tidy_turns([turn for _, _, turn in lines], duration_s, changes)
            write_whole(recording.rttm, rttm_text(recording.uri, turns))
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
        tidy = tidy_regions(regions, duration_s, changes)
        if tidy:
            write_whole(recording.uem, uem_text({recording.uri: tidy}))
            how = _counted(changes) if regions is not None else " for the whole recording"
            yield f"{recording.uem}: written anew{how}"


def _counted(changes: Counter[str]) -> str:
    told = ", ".join(f"{count} {kind}" for kind, count in changes.items() if count)
    return f" ({told})" if told else ""
