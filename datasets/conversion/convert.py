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
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from diarbench.datasets.conversion.converted import FILE_KINDS, ConvertedRecording, fingerprint
from diarbench.datasets.conversion.corpus import Corpus, SourceRecording
from diarbench.datasets.conversion.normalize import normalize_name, normalize_regions, normalize_turns
from diarbench.datasets.conversion.parallel import in_parallel
from diarbench.datasets.conversion.split import Split, draw
from diarbench.datasets.dataset import SUBSETS, Dataset, DatasetInfo, Subset
from diarbench.datasets.io.audio import SAMPLE_RATE, write_audio
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import digest, sha256_of, write_atomic
from diarbench.datasets.io.records import read_record, write_record
from diarbench.datasets.io.rttm import rttm_text, uem_text
from diarbench.datasets.statistics import measure, summarise

log = logging.getLogger(__name__)


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
        for kind in (*FILE_KINDS, "done"):
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


def _lay_out(partial: Path, name: str, corpus: Corpus, done: list[ConvertedRecording], split: Split | None) -> None:
    """From converted recordings to a dataset: subsets drawn where there is a ``split``, files moved, lists written."""
    subsets = draw(done, split) if split else {recording.uri: _own_subset(recording) for recording in done}
    for subset in SUBSETS:
        shutil.rmtree(partial / subset, ignore_errors=True)
        listed = [recording.uri for recording in done if subsets[recording.uri] == subset]
        write_atomic(partial / f"{subset}.txt", "".join(f"{uri}\n" for uri in listed))
        for kind in FILE_KINDS:
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


def _own_subset(recording: ConvertedRecording) -> Subset:
    if recording.subset is None:
        raise UserError(f"{recording.uri}: in no subset, where others are; give it one, or draw all with --split")
    return recording.subset


def _convert_all(
    corpus: Corpus, convert_one: _Convert, workers: int, progress: Callable[[int], None]
) -> list[ConvertedRecording]:
    """Every recording converted, by uri. Failures are logged, and raised together at the end."""
    done: list[ConvertedRecording] = []
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


def _distinct(corpus: Corpus) -> Iterator[SourceRecording]:
    """Recordings with names fit for a file and a list. Raises UserError where two would share one."""
    seen: dict[str, str] = {}
    for recording in corpus.recordings:
        uri = normalize_name(recording.uri)
        if uri.casefold() in seen:
            other = seen[uri.casefold()]
            raise UserError(f"{recording.uri}: two recordings of this name (the other: {other}); rename one")
        seen[uri.casefold()] = recording.uri
        if uri != recording.uri:
            log.warning("%r: renamed %s", recording.uri, uri)
            corpus.changes["recordings renamed (spaces, Unicode form)"] += 1
        yield replace(recording, uri=uri)


@dataclass(frozen=True)
class _Convert:
    """Convert one recording into a work folder, or reuse an earlier conversion of the same input."""

    work: Path
    channel: int | None

    def __call__(self, found: SourceRecording) -> ConvertedRecording:
        note = self.work / "done" / f"{found.uri}.json"
        made_from = self._made_from(found)
        with contextlib.suppress(UserError):  # no note, or one that a crash left half written
            earlier = read_record(note, ConvertedRecording)
            if earlier.made_from == made_from and earlier.sha256 == self._hashes(found.uri):
                return earlier
        changes: Counter[str] = Counter()
        frames, audio_changes = write_audio(found.clips, self._path("wav", found.uri), self.channel)
        changes += audio_changes
        duration_s = math.floor(frames * 1e6 / SAMPLE_RATE) / 1e6
        turns = normalize_turns(found.turns, duration_s, changes)
        regions = normalize_regions(found.regions, duration_s, changes)
        if not regions:
            raise UserError(f"{found.uri}: its UEM holds nothing inside the audio; mend it or leave the recording out")
        self._path("rttm", found.uri).write_text(rttm_text(found.uri, turns), encoding="utf-8")
        self._path("uem", found.uri).write_text(uem_text({found.uri: regions}), encoding="utf-8")
        done = ConvertedRecording(
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
        paths = {kind: self._path(kind, uri) for kind in FILE_KINDS}
        return {kind: sha256_of(path) for kind, path in paths.items() if path.is_file()}

    def _made_from(self, found: SourceRecording) -> str:
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
