"""What a format reader returns: a corpus and its recordings, before conversion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from diarbench.datasets.dataset import MergedDataset, Subset
from diarbench.datasets.io.audio import Clip
from diarbench.datasets.io.rttm import Region, Turn


@dataclass(frozen=True)
class SourceRecording:
    """A recording as a source describes it; times in seconds from its start."""

    uri: str
    clips: tuple[Clip, ...]
    turns: Sequence[Turn]
    regions: Sequence[Region] | None = None
    """The scored regions; None if the complete recording is annotated."""
    subset: Subset | None = None
    """None if the source assigns no subset."""
    subset_name: str = ""
    """The part of a file's path that the subset was read from; empty if the source assigns it in another way."""
    turn_channels: Sequence[str] = ()
    """The channel of each turn, as the source names it; empty if it names none."""
    region_channels: Sequence[str] = ()
    channel: int | None = None
    """The channel of the audio, from 0; None for the average of all."""
    reference: str = ""
    """The file that has the turns, for messages; empty if the reader does not tell."""


@dataclass
class Corpus:
    """A corpus read from a source: its name and its recordings, read one by one."""

    name: str
    """The origin of the recordings (``AMI``), stored as `DatasetInfo.corpus`."""
    recordings: Iterable[SourceRecording]
    source: str = ""
    licence: str = "unknown: ask whoever gave you the corpus"
    split_rule: str = "the corpus's own"
    changes: Counter[str] = field(default_factory=Counter)
    """Counts of what the reader dropped or corrected, by kind; complete after ``recordings`` has been consumed."""
    format_name: str = ""
    """The format that was read, as ``--from`` names it; empty for a source that has no choice of formats."""
    merged: tuple[MergedDataset, ...] = ()
    """The datasets that were merged, stored as `DatasetInfo.merged`."""
    check: Callable[[], None] = lambda: None
    """Called after all recordings are converted; raises UserError where the source changed meanwhile."""
