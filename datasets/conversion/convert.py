"""Convert a corpus from any source into the dataset layout, and count every change.

The dataset is built in a hidden folder beside its destination and renamed at the end, so an interrupted conversion
never looks complete. Running it again reuses converted recordings whose sources have not changed. The hidden folder is
held by one process at a time.
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
from diarbench.datasets.conversion.normalize import (
    check_times,
    normalize_name,
    normalize_regions,
    normalize_turns,
    same_when_normalized,
)
from diarbench.datasets.conversion.own_subsets import by_names, own_subsets
from diarbench.datasets.conversion.parallel import in_parallel
from diarbench.datasets.conversion.split import Split, draw
from diarbench.datasets.dataset import SUBSETS, Dataset, DatasetInfo
from diarbench.datasets.io.audio import SAMPLE_RATE, write_audio
from diarbench.datasets.io.errors import UserError, os_error_text
from diarbench.datasets.io.files import check_file, digest, make_folder, remove_partial, sha256_of, write_atomic
from diarbench.datasets.io.lock import hold
from diarbench.datasets.io.names import require_name
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
    workers: int = 1,
    progress: Callable[[int], None] = lambda done: None,
) -> Dataset:
    """Convert a corpus into a dataset at ``target``, which must not exist; the dataset is named after the folder.

    The source's own subsets are kept. If it has none, or with ``redraw``, they are drawn according to ``split``.
    ``progress`` is called with the number of converted recordings.
    Raises UserError if recordings cannot be converted (each is logged) or have most of their turns outside the audio,
    two have the same uri, there are none, or it is not clear which subsets their names mean; HeldError while another
    process converts into the same destination.
    """
    _check_absent(target)
    require_name(target.name, "choose another")
    make_folder(target.parent)
    partial = target.with_name(f".{target.name}.converting")
    try:
        with hold(partial):
            _check_absent(target)  # another process may have finished just now
            remove_partial(partial)
            for kind in (*FILE_KINDS, "done"):
                (partial / "all" / kind).mkdir(parents=True, exist_ok=True)
            done = _convert_all(corpus, _RecordingConverter(partial / "all"), workers, progress)
            if not done:
                raise UserError(f"{corpus.source or corpus.name}: no recordings found")
            corpus.check()
            drawn = redraw or all(recording.subset is None for recording in done)
            drawn_by = (split or Split()) if drawn else None
            _write_dataset(partial / "all", partial / "dataset", target.name, corpus, done, drawn_by)
            os.sync()
            (partial / "dataset").replace(target)
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise UserError(f"{os_error_text(error, target)}; fix this and run the same command again") from error
    return Dataset.open(target)


def _check_absent(target: Path) -> None:
    if target.exists():
        raise UserError(f"{target}: already exists; remove it or choose another destination")


def _write_dataset(
    work: Path, root: Path, name: str, corpus: Corpus, done: list[ConvertedRecording], split: Split | None
) -> None:
    """Move the files of converted recordings into subsets, drawn if ``split`` is given, and write lists and record."""
    subsets = draw(done, split) if split else own_subsets(done)
    shutil.rmtree(root, ignore_errors=True)
    for subset in SUBSETS:
        listed = [recording.uri for recording in done if subsets[recording.uri] == subset]
        write_atomic(root / f"{subset}.txt", "".join(f"{uri}\n" for uri in listed))
        for kind in FILE_KINDS:
            folder = root / subset / kind
            folder.mkdir(parents=True)
            for uri in listed:
                (work / kind / f"{uri}.{kind}").replace(folder / f"{uri}.{kind}")
    changes = sum((Counter(recording.changes) for recording in done), corpus.changes)
    info = DatasetInfo(
        name=name,
        corpus=corpus.name or name,
        source=corpus.source,
        licence=corpus.licence,
        split_rule=str(split) if split else f"{corpus.split_rule}{by_names(done)}",
        fingerprint=fingerprint({r.uri: (subsets[r.uri], r.sha256) for r in done}),
        subsets={s: summarise([r for r in done if subsets[r.uri] == s]) for s in SUBSETS},
        changes={kind: count for kind, count in sorted(changes.items()) if count},
        merged=corpus.merged,
    )
    write_record(root / "dataset.json", info)


def _convert_all(
    corpus: Corpus, convert_one: _RecordingConverter, workers: int, progress: Callable[[int], None]
) -> list[ConvertedRecording]:
    """Convert every recording; returns them sorted by uri. Failures are logged, and raised together at the end."""
    done: list[ConvertedRecording] = []
    failures: list[str] = []
    for outcome in in_parallel(convert_one, _with_valid_names(corpus), workers):
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


def _with_valid_names(corpus: Corpus) -> Iterator[SourceRecording]:
    """The recordings, renamed to valid file names.

    Raises UserError if a name is too long or two are the same, and for two speakers who would get the same name.
    """
    seen: dict[str, str] = {}
    speakers: dict[str, str] = {}
    for recording in corpus.recordings:
        if two := same_when_normalized(dict.fromkeys(turn.speaker for turn in recording.turns), speakers):
            both = f"speakers {two[0]!r} and {two[1]!r} would both be named {normalize_name(two[0])}"
            raise UserError(f"{recording.clips[0]}: {both}; if they are two, rename one, else give both the same name")
        uri = normalize_name(recording.uri)
        require_name(uri, "choose another")
        if uri.casefold() in seen:
            other = seen[uri.casefold()]
            if other == str(recording.clips[0]):
                raise UserError(f"{other}: is listed twice; remove one")
            raise UserError(f"{recording.clips[0]}: has the same name, {uri}, as {other}; rename one")
        seen[uri.casefold()] = str(recording.clips[0])
        if uri != recording.uri:
            log.warning("%r: renamed to %s", recording.uri, uri)
            corpus.changes["recordings renamed (spaces, Unicode form)"] += 1
        yield replace(recording, uri=uri)


@dataclass(frozen=True)
class _RecordingConverter:
    """Converts one recording into a work folder, or reuses an earlier conversion of the same input."""

    work: Path

    def __call__(self, source: SourceRecording) -> ConvertedRecording:
        uri = source.uri
        record = self.work / "done" / f"{uri}.json"
        made_from = self._made_from(source)
        with contextlib.suppress(UserError):  # the record is missing, or incomplete after a crash
            earlier = read_record(record, ConvertedRecording)
            if earlier.made_from == made_from and earlier.sha256 == self._hashes(uri):
                return earlier
        changes: Counter[str] = Counter()
        frames, audio_changes = write_audio(source.clips, self._path("wav", uri), source.channel)
        changes += audio_changes
        duration_s = math.floor(frames * 1e6 / SAMPLE_RATE) / 1e6
        check_times(source.turns, duration_s, source.reference or f"{uri} ({source.clips[0]})")
        turns = normalize_turns(source.turns, duration_s, changes)
        regions = normalize_regions(source.regions, duration_s, changes)
        if not regions:
            raise UserError(f"{uri}: its UEM has no region inside the audio; correct it or leave the recording out")
        self._path("rttm", uri).write_text(rttm_text(uri, turns), encoding="utf-8")
        self._path("uem", uri).write_text(uem_text({uri: regions}), encoding="utf-8")
        converted = ConvertedRecording(
            **measure(turns, regions, duration_s).model_dump(),
            uri=uri,
            made_from=made_from,
            subset=source.subset,
            subset_name=source.subset_name,
            sha256=self._hashes(uri),
            changes=dict(changes),
        )
        record.write_text(converted.model_dump_json(), encoding="utf-8")
        return converted

    def _path(self, kind: str, uri: str) -> Path:
        return self.work / kind / f"{uri}.{kind}"

    def _hashes(self, uri: str) -> dict[str, str]:
        paths = {kind: self._path(kind, uri) for kind in FILE_KINDS}
        return {kind: sha256_of(path) for kind, path in paths.items() if path.is_file()}

    def _made_from(self, source: SourceRecording) -> str:
        """A digest of everything that the result depends on; audio files by path, size and modification time."""
        clips = [(_identity(clip.audio), clip.at_s, clip.start_s, clip.duration_s) for clip in source.clips]
        regions = source.regions and list(source.regions)
        return digest([clips, list(source.turns), regions, source.subset, source.channel])


def _identity(audio: Path | bytes) -> list[str | int]:
    if isinstance(audio, bytes):
        return [hashlib.sha256(audio).hexdigest()]
    check_file(audio)
    stat = audio.stat()
    return [str(audio.absolute()), stat.st_size, stat.st_mtime_ns]
