"""The converted dataset, the only input of backends and the runner.

    DATASET/
      dataset.json                                    what it is: source, licence, split rule, fingerprint, hours
      train.txt  dev.txt  test.txt                    one uri a line
      {train,dev,test}/{wav,rttm,uem}/{uri}.{wav,rttm,uem}
      references/DATASET-NAME/                        the test recordings with another reference, laid out like DATASET

Audio is 16 kHz mono. Turns lie inside the audio; a speaker's overlapping turns are merged, touching ones are not.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import Field, model_validator

from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import refuse_outside
from diarbench.datasets.io.names import Name, require_name
from diarbench.datasets.io.records import Record, read_record
from diarbench.datasets.io.rttm import Region, Turn, read_lines, read_rttm, read_uem
from diarbench.datasets.io.watch import Watch

if TYPE_CHECKING:
    from pyannote.core import Annotation, Timeline

T = TypeVar("T")


class SubsetInfo(Record):
    """Statistics of a subset; times in seconds."""

    recordings: int
    audio_s: float
    scored_s: float
    """Inside the UEM."""
    speaker_s: float
    """Speaker time inside the UEM: overlapped speech counts once a speaker."""
    speech_s: float
    """Time inside the UEM in which anybody speaks."""
    overlap_s: float
    """Time inside the UEM in which two or more speak; its share is that of ``speech_s``."""
    speakers: int
    turns: int

    @model_validator(mode="before")
    @classmethod
    def _read_old_names(cls, data: Any) -> Any:
        """Until version 0.1 ``speech_s`` was called ``voiced_s``, and ``speaker_s`` was called ``speech_s``."""
        if isinstance(data, dict) and "voiced_s" in data:
            data = {**data, "speaker_s": data.get("speech_s"), "speech_s": data["voiced_s"]}
            del data["voiced_s"]
        return data


class MergedDataset(Record):
    """A dataset that was merged into another, as it was then."""

    name: Name
    corpus: str
    licence: str
    fingerprint: str


class DatasetInfo(Record):
    """``dataset.json``."""

    schema_version: int = 1
    name: Name
    corpus: str
    """The corpus of the recordings (``AMI``; several: see `corpora_of`), which pretrained weights may have seen."""
    source: str
    licence: str
    split_rule: str
    fingerprint: str
    """SHA-256 over audio, reference and UEM of every recording."""
    subsets: dict[Subset, SubsetInfo]
    changes: dict[str, int] = Field(default_factory=dict)
    """What conversion merged, clipped or dropped, by kind; empty where it changed nothing."""
    merged: tuple[MergedDataset, ...] = ()
    """The datasets that it was merged from, if any."""


@dataclass(frozen=True)
class Recording:
    """One recording with its reference and its scored regions."""

    uri: str
    subset: Subset
    audio: Path
    rttm: Path
    uem: Path
    only: tuple[Region, ...] | None = None
    """Regions that replace those of the UEM."""
    watch: Watch | None = field(default=None, compare=False, repr=False)
    """Where the files have a recorded content, as in a run; see `verification.watched`."""

    def unchanged(self, path: Path, read: Callable[[], T]) -> T:
        """What ``read`` makes from one of the files.

        With a watch it was made from the recorded content: see `Watch.read`.
        """
        return read() if self.watch is None else self.watch.read([path], read)

    @cached_property
    def duration_s(self) -> float:
        return self.unchanged(self.audio, self._length_s)

    def _length_s(self) -> float:
        import soundfile

        try:
            with soundfile.SoundFile(str(self.audio)) as file:  # soundfile.info describes the format too, which is slow
                return float(file.frames / file.samplerate)
        except (OSError, RuntimeError) as error:
            raise UserError(f"{self.audio}: not readable audio ({error})") from error

    @cached_property
    def turns(self) -> list[Turn]:
        """The reference, in file order."""
        return self.unchanged(self.rttm, lambda: read_rttm(self.rttm).get(self.uri, []))

    def turns_between(self, start_s: float, end_s: float) -> list[Turn]:
        """The turns that overlap an interval, in file order, by bisection: training asks for every window."""
        by_start, starts, latest_ends = self._turns_by_start
        nearby = by_start[bisect_right(latest_ends, start_s) : bisect_left(starts, end_s)]
        return [turn for turn in map(self.turns.__getitem__, sorted(nearby)) if turn.end_s > start_s]

    @cached_property
    def _turns_by_start(self) -> tuple[list[int], list[float], list[float]]:
        """Positions of the turns by start, their starts, and the latest end up to each of them."""
        by_start = sorted(range(len(self.turns)), key=lambda position: self.turns[position].start_s)
        latest_ends = accumulate((self.turns[position].end_s for position in by_start), max)
        return by_start, [self.turns[position].start_s for position in by_start], list(latest_ends)

    @cached_property
    def regions(self) -> list[Region]:
        """What is annotated, trained on and scored."""
        if self.only is not None:
            return list(self.only)
        return self.unchanged(self.uem, lambda: read_uem(self.uem).get(self.uri, []))

    @property
    def files(self) -> tuple[Path, Path, Path]:
        """Audio, reference and UEM."""
        return self.audio, self.rttm, self.uem

    @property
    def reference(self) -> Annotation:
        return to_annotation(self.uri, self.turns)

    @property
    def scored(self) -> Timeline:
        from pyannote.core import Segment, Timeline

        return Timeline([Segment(*region) for region in self.regions], uri=self.uri)


def to_annotation(uri: str, turns: list[Turn]) -> Annotation:
    """A pyannote Annotation with one track per turn, so that equal segments of two speakers are both kept."""
    from pyannote.core import Annotation, Segment

    return Annotation.from_records(
        ((Segment(turn.start_s, turn.end_s), track, turn.speaker) for track, turn in enumerate(turns)), uri=uri
    )


def from_annotation(annotation: Annotation) -> list[Turn]:
    """An Annotation's turns, sorted, without those under a microsecond, which RTTM cannot express."""
    turns = (Turn(s.start, s.end, str(label)) for s, _, label in annotation.itertracks(yield_label=True))
    return sorted(turn for turn in turns if round(turn.end_s, 6) > round(turn.start_s, 6))


@dataclass(frozen=True)
class MixedRecordings:
    """Train recordings of another dataset."""

    name: str
    recordings: tuple[Recording, ...]
    share: float
    """Share of the windows of each epoch."""


@dataclass(frozen=True)
class Dataset:
    """A converted dataset on disk; see the module."""

    root: Path
    info: DatasetInfo
    recordings: dict[Subset, tuple[Recording, ...]]
    mixed_in: tuple[MixedRecordings, ...] = ()
    """Recordings of other datasets that are trained on too."""

    @classmethod
    def open(cls, root: Path) -> Dataset:
        """Raises UserError where the folder is not a dataset, or a listed file is gone or outside the folder."""
        if not (root / "dataset.json").is_file():
            raise UserError(f"{root}: not a converted dataset (no dataset.json); make one with 'bench data convert'")
        info = read_record(root / "dataset.json", DatasetInfo)
        recordings: dict[Subset, tuple[Recording, ...]] = {}
        for subset in SUBSETS:
            if (root / f"{subset}.txt").is_file():
                recordings[subset] = tuple(_listed(root, subset))
        for listed in recordings.values():
            for recording in listed:
                for path in recording.files:
                    if not path.is_file():
                        raise UserError(
                            f"{path}: listed in {root / recording.subset}.txt but gone; convert the dataset again"
                        )
        return cls(root, info, recordings)

    @property
    def other_references(self) -> tuple[Dataset, ...]:
        """The test recordings with each further reference, by name; see `conversion.second_reference`."""
        return tuple(
            Dataset.open(record.parent) for record in sorted(self.root.glob(f"{REFERENCES}/[!.]*/dataset.json"))
        )

    def subset(self, subset: Subset) -> tuple[Recording, ...]:
        """Raises UserError where the dataset has no such subset, or an empty one."""
        listed = self.recordings.get(subset, ())
        if not listed:
            raise UserError(f"{self.root}: no recordings in {subset}.txt; a run needs train, dev and test")
        return listed


def annotated_s(recordings: Iterable[Recording]) -> float:
    """The total length of the recordings' regions in seconds."""
    return sum(end_s - start_s for recording in recordings for start_s, end_s in recording.regions)


def has_speech(recordings: Iterable[Recording]) -> bool:
    """Whether anybody speaks in the recordings' regions."""
    return any(
        recording.turns_between(start_s, end_s) for recording in recordings for start_s, end_s in recording.regions
    )


def list_lines(root: Path, subset: Subset) -> Iterable[tuple[str, str]]:
    """The lines of a dataset's list, each with its ``file:line``.

    Raises UserError where it cannot be read, or is a file elsewhere: messages about a dataset quote its names.
    """
    path = root / f"{subset}.txt"
    refuse_outside(path, root)
    return read_lines(path)


def _listed(root: Path, subset: Subset) -> Iterator[Recording]:
    for where, line in list_lines(root, subset):
        if uri := line.strip():
            require_name(uri, "'bench data check' lists what is wrong with a dataset", f"{where}: ")
            yield recording_in(root, subset, uri)


def recording_in(root: Path, subset: Subset, uri: str) -> Recording:
    """A recording of a dataset, with the paths of its files."""
    # One call each: a join a folder would take most of the time that it takes to open thousands of recordings.
    audio, rttm, uem = (Path(f"{root}/{subset}/{kind}/{uri}.{kind}") for kind in ("wav", "rttm", "uem"))
    return Recording(uri, subset, audio, rttm, uem)


def corpora_of(corpus: str) -> list[str]:
    """The corpora in `DatasetInfo.corpus`, of which a merged dataset has several (``AMI + Calls``)."""
    return corpus.split(CORPUS_SEPARATOR)


CORPUS_SEPARATOR = " + "

REFERENCES = "references"
"""The folder of a dataset that has its further references."""

Subset = Literal["train", "dev", "test"]

SUBSETS: tuple[Subset, ...] = ("train", "dev", "test")
