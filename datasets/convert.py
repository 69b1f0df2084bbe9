"""Any corpus in, one layout out: recordings as sources find them become the dataset of `layout`, everything counted.

A conversion is built beside its destination, each recording whole with a note of what it was made from, and renamed at
the end: one that was stopped never looks whole, and goes on where it was when run again.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import os
import random
import re
import shutil
import signal
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace
from multiprocessing import get_context, resource_tracker
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field

from diarbench.datasets.audio import Clip, write_audio
from diarbench.datasets.layout import SAMPLE_RATE, Dataset, DatasetInfo
from diarbench.datasets.rttm import Region, Turn, rttm_text, uem_text
from diarbench.datasets.stats import Held, measure, summarise
from diarbench.reports.records import (
    SUBSETS,
    Subset,
    UserError,
    digest,
    read_record,
    sha256_of,
    write_record,
    write_whole,
)

log = logging.getLogger(__name__)

KINDS = ("wav", "rttm", "uem")

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Found:
    """A recording as a source describes it; times in seconds from its start."""

    uri: str
    clips: tuple[Clip, ...]
    turns: Sequence[Turn]
    regions: Sequence[Region] | None = None
    """None: all of it is annotated."""
    subset: Subset | None = None
    """None: the source has no splits of its own."""


@dataclass
class Corpus:
    """What a source makes of a path: which corpus it is, and its recordings, found one by one."""

    name: str
    """What the recordings are from, as `DatasetInfo.corpus`."""
    found: Iterable[Found]
    source: str = ""
    licence: str = "unknown: ask whoever gave you the corpus"
    split_rule: str = "the corpus's own"
    changes: Counter[str] = field(default_factory=Counter)
    """What the source itself dropped or mended, by kind; complete once ``found`` is exhausted."""


@dataclass(frozen=True)
class Split:
    """How recordings are drawn into subsets where a source has none."""

    by: Literal["recording", "speaker"] = "recording"
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)
    seed: int = 0

    def __str__(self) -> str:
        shares = "/".join(f"{share:g}" for share in self.shares)
        return f"drawn by {self.by}, {shares} of the hours to train/dev/test, seed {self.seed}"


class Done(Held):
    """A converted recording: what it was made from, its files' hashes, and what it holds."""

    uri: str
    made_from: str
    subset: Subset | None
    sha256: dict[str, str]
    changes: dict[str, int] = Field(default_factory=dict)


def convert(
    corpus: Corpus,
    target: Path,
    *,
    split: Split | None = None,
    redraw: bool = False,
    channel: int | None = None,
    workers: int = 1,
    progress: Callable[[int], None] = lambda done: None,
) -> Dataset:
    """Convert a corpus into a dataset at ``target``, whose name it gets and which must not exist yet.

    Subsets are the source's own; where it has none, or ``redraw``, they are drawn by ``split``.
    ``channel`` (from 0) is taken from audio of several; None averages them. ``progress`` is told the recordings done.
    Raises UserError where recordings cannot be converted (each is logged), two have one uri, or there are none.
    """
    if target.exists():
        raise UserError(f"{target}: exists already; remove it or choose another destination")
    partial = target.with_name(f".{target.name}.converting")
    try:
        for kind in (*KINDS, "done"):
            (partial / "all" / kind).mkdir(parents=True, exist_ok=True)
        done = _convert_all(corpus, _Convert(partial / "all", channel), workers, progress)
        if not done:
            raise UserError(f"{corpus.source or corpus.name}: no recordings found")
        drawn = redraw or all(recording.subset is None for recording in done)
        _lay_out(partial, target.name, corpus, done, (split or Split()) if drawn else None)
        os.sync()
        partial.replace(target)
    except OSError as error:
        raise UserError(f"{error.filename or target}: {error.strerror}; mend it and run the same again") from error
    return Dataset.open(target)


def _lay_out(partial: Path, name: str, corpus: Corpus, done: list[Done], split: Split | None) -> None:
    """From converted recordings to a dataset: subsets drawn where there is a ``split``, files moved, lists written."""
    subsets = draw(done, split) if split else {recording.uri: _own_subset(recording) for recording in done}
    for subset in SUBSETS:
        shutil.rmtree(partial / subset, ignore_errors=True)
        listed = [recording.uri for recording in done if subsets[recording.uri] == subset]
        write_whole(partial / f"{subset}.txt", "".join(f"{uri}\n" for uri in listed))
        for kind in KINDS:
            folder = partial / subset / kind
            folder.mkdir(parents=True)
            for uri in listed:
                (partial / "all" / kind / f"{uri}.{kind}").replace(folder / f"{uri}.{kind}")
    changes = sum((Counter(recording.changes) for recording in done), corpus.changes)
    info = DatasetInfo(
        name=name,
        corpus=corpus.name or name,
        source=corpus.source,
        licence=corpus.licence,
        split_rule=str(split) if split else corpus.split_rule,
        fingerprint=fingerprint({r.uri: (subsets[r.uri], r.sha256) for r in done}),
        subsets={s: summarise([r for r in done if subsets[r.uri] == s]) for s in SUBSETS},
        changes={kind: count for kind, count in sorted(changes.items()) if count},
    )
    write_record(partial / "dataset.json", info)
    shutil.rmtree(partial / "all")


def fingerprint(files: Mapping[str, tuple[Subset, Mapping[str, str]]]) -> str:
    """SHA-256 over uri, subset and the hashes of audio, reference and UEM of every recording."""
    lines = (
        f"{subset} {uri} {' '.join(sha256[kind] for kind in KINDS)}\n"
        for uri, (subset, sha256) in sorted(files.items())
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _own_subset(recording: Done) -> Subset:
    if recording.subset is None:
        raise UserError(f"{recording.uri}: in no subset, where others are; give it one, or draw all with --split")
    return recording.subset


def draw(recordings: Sequence[Done], split: Split) -> dict[str, Subset]:
    """A subset for every recording: shuffled by the seed, each group goes where most hours are wanting.

    A group is a recording; or, by speaker, all recordings that speakers tie together, so that none crosses.
    Raises UserError where there are too few groups for the subsets that are to have a share.
    """
    wanted = {subset: share for subset, share in zip(SUBSETS, split.shares, strict=True) if share > 0}
    groups = _tied_by_speaker(recordings) if split.by == "speaker" else [[r] for r in recordings]
    if len(groups) < len(wanted):
        ties = "their speakers tie into" if split.by == "speaker" else "are"
        raise UserError(
            f"{len(recordings)} recordings {ties} {len(groups)} groups, too few for {len(wanted)} subsets; "
            "split by recording, or give a subset no share"
        )
    groups.sort(key=lambda group: min(r.uri for r in group))
    random.Random(split.seed).shuffle(groups)
    groups.sort(key=len, reverse=True)  # stable: the big ones first, while there is room for them
    total_s = sum(r.audio_s for r in recordings)
    given_s = dict.fromkeys(wanted, 0.0)
    drawn: dict[str, Subset] = {}
    for position, group in enumerate(groups):
        empty = [subset for subset in wanted if not given_s[subset]]
        choice = empty if len(groups) - position <= len(empty) else list(wanted)
        subset = max(choice, key=lambda s: wanted[s] / sum(wanted.values()) * total_s - given_s[s])
        given_s[subset] += sum(r.audio_s for r in group)
        drawn.update((r.uri, subset) for r in group)
    return drawn


def _tied_by_speaker(recordings: Sequence[Done]) -> list[list[Done]]:
    """Groups of recordings that share speakers, directly or through others."""
    group_of: dict[str, list[Done]] = {}
    groups: list[list[Done]] = []
    for recording in recordings:
        group = [recording]
        for other in {id(group_of[s]): group_of[s] for s in recording.speakers if s in group_of}.values():
            group += other
            groups.remove(other)
        groups.append(group)
        group_of.update((speaker, group) for member in group for speaker in member.speakers)
    return groups


def _convert_all(corpus: Corpus, convert_one: _Convert, workers: int, progress: Callable[[int], None]) -> list[Done]:
    """Every recording converted, by uri. Failures are logged, and raised together at the end."""
    done: list[Done] = []
    failures: list[str] = []
    for outcome in in_parallel(convert_one, _distinct(corpus), workers):
        if isinstance(outcome, UserError):
            log.error("%s", outcome)
            failures.append(str(outcome))
        else:
            done.append(outcome)
            progress(len(done))
    if failures:
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        raise UserError(f"{failures[0]}{more}")
    return sorted(done, key=lambda recording: recording.uri)


def _distinct(corpus: Corpus) -> Iterator[Found]:
    """Recordings with names fit for a file and a list. Raises UserError where two would share one."""
    seen: dict[str, str] = {}
    for recording in corpus.found:
        uri = tidy_name(recording.uri)
        if uri.casefold() in seen:
            other = seen[uri.casefold()]
            raise UserError(f"{recording.uri}: two recordings of this name (the other: {other}); rename one")
        seen[uri.casefold()] = recording.uri
        if uri != recording.uri:
            log.warning("%r: renamed %s", recording.uri, uri)
            corpus.changes["recordings renamed (spaces, Unicode form)"] += 1
        yield replace(recording, uri=uri)


def tidy_name(name: str) -> str:
    """A recording's or a speaker's name in Unicode's composed form (NFC), with no white space and no slash."""
    return re.sub(r"[\s/\\\x00-\x1f]+", "_", unicodedata.normalize("NFC", name).strip()) or "_"


def in_parallel(work: Callable[[T], R], jobs: Iterable[T], workers: int) -> Iterator[R | UserError]:
    """Results of jobs as they end, at most a few jobs a worker waiting; a UserError is a result.

    One worker is this process.
    """
    if workers <= 1:
        for job in jobs:
            try:
                yield work(job)
            except UserError as error:
                yield error
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    pending: set[Future[R]] = set()
    try:
        for job in jobs:
            with _interrupts_held():
                pending.add(pool.submit(work, job))
            if len(pending) >= 4 * workers:
                ended, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from map(_outcome, ended)
        yield from map(_outcome, wait(pending).done)
    finally:
        pool.shutdown(cancel_futures=True)


def _outcome(future: Future[R]) -> R | UserError:
    try:
        return future.result()
    except UserError as error:
        return error
    except BrokenExecutor as error:
        raise UserError("a worker process died, perhaps for want of memory; try again with fewer --workers") from error


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C waits until after this; the processes that start in it never hear of it, and this one ends them."""
    resource_tracker.ensure_running()  # where it is not yet, starting it lets Ctrl-C through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@dataclass(frozen=True)
class _Convert:
    """Convert one recording into a work folder, or take what an earlier conversion made of the very same."""

    work: Path
    channel: int | None

    def __call__(self, found: Found) -> Done:
        note = self.work / "done" / f"{found.uri}.json"
        made_from = self._made_from(found)
        with contextlib.suppress(UserError):  # no note, or one that a crash left half written
            earlier = read_record(note, Done)
            if earlier.made_from == made_from and earlier.sha256 == self._hashes(found.uri):
                return earlier
        changes: Counter[str] = Counter()
        frames, audio_changes = write_audio(found.clips, self._path("wav", found.uri), self.channel)
        changes += audio_changes
        duration_s = math.floor(frames * 1e6 / SAMPLE_RATE) / 1e6
        turns = tidy_turns(found.turns, duration_s, changes)
        regions = tidy_regions(found.regions, duration_s, changes)
        if not regions:
            raise UserError(f"{found.uri}: its UEM holds nothing inside the audio; mend it or leave the recording out")
        self._path("rttm", found.uri).write_text(rttm_text(found.uri, turns), encoding="utf-8")
        self._path("uem", found.uri).write_text(uem_text({found.uri: regions}), encoding="utf-8")
        done = Done(
            **measure(turns, regions, duration_s).model_dump(),
            uri=found.uri,
            made_from=made_from,
            subset=found.subset,
            sha256=self._hashes(found.uri),
            changes=dict(changes),
        )
        note.write_text(done.model_dump_json(), encoding="utf-8")
        return done

    def _path(self, kind: str, uri: str) -> Path:
        return self.work / kind / f"{uri}.{kind}"

    def _hashes(self, uri: str) -> dict[str, str]:
        paths = {kind: self._path(kind, uri) for kind in KINDS}
        return {kind: sha256_of(path) for kind, path in paths.items() if path.is_file()}

    def _made_from(self, found: Found) -> str:
        """Changes with whatever the result depends on; audio files by path, size and time of change."""
        clips = [(_identity(clip.audio), clip.at_s, clip.start_s, clip.duration_s) for clip in found.clips]
        return digest([clips, list(found.turns), found.regions and list(found.regions), found.subset, self.channel])


def _identity(audio: Path | bytes) -> list[str | int]:
    if isinstance(audio, bytes):
        return [hashlib.sha256(audio).hexdigest()]
    if not audio.is_file():
        raise UserError(f"{audio}: no such audio file")
    stat = audio.stat()
    return [str(audio.absolute()), stat.st_size, stat.st_mtime_ns]


def tidy_turns(turns: Iterable[Turn], duration_s: float, changes: Counter[str]) -> list[Turn]:
    """Turns inside the audio, a speaker's overlapping ones merged (touching ones not), sorted; each change counted."""
    latest: dict[str, Turn] = {}
    tidy: list[Turn] = []
    for start_s, end_s, name in sorted(turns):
        speaker = tidy_name(name)
        changes["speaker names mended (spaces, Unicode form), turns"] += speaker != name
        start_s, cut_s = round(max(0.0, start_s), 6), round(min(end_s, duration_s), 6)
        if cut_s <= start_s:
            kind = "turns dropped: outside the audio" if start_s >= duration_s else "turns dropped: no length"
            changes[kind] += 1
            continue
        changes["turns cut at the end of the audio"] += 1 / SAMPLE_RATE < end_s - cut_s < math.inf
        turn = Turn(start_s, cut_s, speaker)
        before = latest.get(speaker)
        if before and turn.start_s < before.end_s:
            changes["turns merged into another of their speaker"] += 1
            latest[speaker] = before._replace(end_s=max(before.end_s, turn.end_s))
        else:
            tidy += [before] if before else []
            latest[speaker] = turn
    return sorted([*tidy, *latest.values()])


def tidy_regions(regions: Iterable[Region] | None, duration_s: float, changes: Counter[str]) -> list[Region]:
    """Regions inside the audio, overlapping ones merged, sorted; all of it where there are none given."""
    if regions is None:
        return [Region(0.0, duration_s)]
    tidy: list[Region] = []
    for start_s, end_s in sorted(regions):
        start_s, cut_s = round(max(0.0, start_s), 6), round(min(end_s, duration_s), 6)
        if cut_s <= start_s:
            changes["UEM regions dropped: outside the audio"] += 1
            continue
        changes["UEM regions cut at the end of the audio"] += 1 / SAMPLE_RATE < end_s - cut_s < math.inf
        if tidy and start_s < tidy[-1].end_s:
            changes["UEM regions merged"] += 1
            tidy[-1] = Region(tidy[-1].start_s, max(tidy[-1].end_s, cut_s))
        else:
            tidy.append(Region(start_s, cut_s))
    return tidy
