"""Checks of references that are valid files and still ruin training.

Each check is made on each recording alone, and where that finds nothing in a subset, on all of its recordings together:
short recordings have too few turns for a finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from diarbench.datasets.checking.audio_checks import FRAME_S
from diarbench.datasets.checking.findings import CheckResult
from diarbench.datasets.dataset import SUBSETS, Recording
from diarbench.datasets.formats.tiers import annotation_levels
from diarbench.datasets.io.names import first_names
from diarbench.datasets.io.rttm import Region, Turn

if TYPE_CHECKING:
    import numpy as np

CHANGES, PAUSE_S = 20, 1.0
"""A conversation with this many changes of speaker, each within this pause, has overlap: about four changes in ten
overlap (Heldner and Edlund, "Pauses, gaps and overlaps in conversations", 2010)."""

ENDS, WHOLE = 10, 0.95
"""With so many turns, this share does not end on whole seconds by chance (one in a hundred does, at 10 ms)."""

LAG_S = 10.0
"""The largest offset between labels and speech that is looked for; never more than a quarter of the recording."""

OFFSET_S, CORRELATION, GAIN = 0.25, 0.3, 1.1
"""An offset is reported from this size, where labels moved by it have this correlation with the level of the audio, and
this many times the correlation of the labels as they are. On ami-mini an offset of 0.3 s is found; none of its own
recordings is offset by more than 0.16 s."""

ENOUGH_S = 3.0
"""The least speech, and the least silence, from which an offset can be measured."""


@dataclass(frozen=True)
class Labelled:
    """A recording with its turns and their places (``file:line``), its regions, and the level of its audio."""

    recording: Recording
    lines: Sequence[tuple[str, Turn]]
    regions: Sequence[Region]
    rms: np.ndarray | None

    @property
    def turns(self) -> list[Turn]:
        return sorted(turn for _, turn in self.lines)


def check_labels(result: CheckResult, labelled: Iterable[Labelled]) -> None:
    """Add warnings about references that look as if they were made by a machine, rounded, shifted or misread."""
    everything = [each for each in labelled if each.lines]
    for subset in SUBSETS:
        group = [each for each in everything if each.recording.subset == subset]
        for kind, find in CHECKS.items():
            alone = [(each.recording.rttm, text) for each in group if (text := find([each]))]
            for where, text in alone:
                result.warn(kind, where, text)
            if not alone and (text := find(group)):
                together = f"{len(group)} recordings of {subset} together"
                result.warn(kind, result.root / f"{subset}.txt", f"{together}: {text}")
    for each in everything:
        by_name: dict[str, list[Turn]] = {}
        for turn in each.turns:
            by_name.setdefault(turn.speaker, []).append(turn)
        if names := annotation_levels(by_name):
            lengths = [turn.end_s - turn.start_s for name in names for turn in by_name[name]]
            text = (
                f"{first_names(names)} may be words, phones or the like and not speakers ({len(lengths)} turns, median "
                f"{median(lengths):.2f} s); keep only the tiers of speakers"
            )
            result.warn("tiers as speakers", each.recording.rttm, text)


def _no_overlap(group: Sequence[Labelled]) -> str | None:
    """Whether a conversation has no overlap, as in the output of systems that know one speaker at a time."""
    changes, overlap_s = 0, 0.0
    for each in group:
        for before, after in pairwise(each.turns):
            overlap_s += max(0.0, min(before.end_s, after.end_s) - after.start_s)
            changes += before.speaker != after.speaker and after.start_s - before.end_s < PAUSE_S
    if changes < CHANGES or overlap_s > 0:
        return None
    return (
        f"no overlap in {changes} changes of speaker less than {PAUSE_S:g} s apart; people overlap in about four of "
        "ten, so a machine may have made these labels, and training on them unlearns overlap"
    )


def _whole_seconds(group: Sequence[Labelled]) -> str | None:
    ends = [
        turn.end_s
        for each in group
        for turn in each.turns
        if not any(abs(turn.end_s - region.end_s) < 0.01 for region in each.regions)
    ]
    whole = sum(end == round(end) for end in ends)
    if len(ends) < ENDS or whole < WHOLE * len(ends):
        return None
    return f"{whole} of {len(ends)} turns end on whole seconds; networks are trained on frames of about 20 ms"


def _offset(group: Sequence[Labelled]) -> str | None:
    """Whether the level of the audio fits the labels better when all of them are moved by the same time."""
    import numpy as np

    correlations = [found for each in group if (found := _correlations(each)) is not None]
    if not correlations:
        return None
    most = min(len(found) for found in correlations) // 2
    pooled = np.mean([found[len(found) // 2 - most : len(found) // 2 + most + 1] for found in correlations], axis=0)
    lag = int(pooled.argmax()) - most
    best, as_is = float(pooled.max()), float(pooled[most])
    is_at_the_edge = abs(lag) == most
    if is_at_the_edge or abs(lag) * FRAME_S < OFFSET_S or best < CORRELATION or best < GAIN * as_is:
        return None
    late = "later" if lag < 0 else "earlier"
    return (
        f"labels are about {abs(lag) * FRAME_S:.1f} s {late} than the speech: their correlation with the audio's level "
        f"is {as_is:.2f}, and {best:.2f} when they are moved by that; listen, then shift the labels"
    )


def _correlations(each: Labelled) -> np.ndarray | None:
    """The correlation of speech and level (dB) for labels moved by each lag, in frames; the middle one is lag 0.

    None where there is no audio, or hardly any speech or silence.
    """
    import numpy as np
    from scipy.signal import correlate

    if each.rms is None or len(each.rms) < 2:
        return None
    frames = len(each.rms)
    speech, inside = (np.zeros(frames) for _ in range(2))
    for array, spans in ((speech, each.turns), (inside, each.regions)):
        for start_s, end_s, *_ in spans:
            array[round(start_s / FRAME_S) : round(end_s / FRAME_S)] = 1
    annotated = inside > 0
    speech_s = speech[annotated].sum() * FRAME_S
    if min(speech_s, annotated.sum() * FRAME_S - speech_s) < ENOUGH_S:
        return None
    level = np.log(each.rms + 1e-4)
    for array in (level, speech):
        array -= array[annotated].mean()
        array[~annotated] = 0
    scale = np.sqrt((level**2).sum() * (speech**2).sum())
    most = min(round(LAG_S / FRAME_S), frames // 4)
    found = correlate(level, speech, method="fft")[frames - 1 - most : frames + most]
    return np.asarray(found / scale) if scale else None


CHECKS: dict[str, Callable[[Sequence[Labelled]], str | None]] = {
    "no overlap": _no_overlap,
    "whole seconds": _whole_seconds,
    "labels offset": _offset,
}
"""Each finds a fault in recordings taken together and returns the evidence, or None."""
