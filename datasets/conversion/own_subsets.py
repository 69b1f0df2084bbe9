"""The subsets that the source assigns, and whether the names that they were read from are clear."""

from __future__ import annotations

import re
from collections.abc import Sequence

from diarbench.datasets.conversion.converted import ConvertedRecording
from diarbench.datasets.dataset import Subset
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.names import first_names


def own_subsets(recordings: Sequence[ConvertedRecording]) -> dict[str, Subset]:
    """The subset of each recording (uri).

    Names are clear if they name several subsets (``Train_Ali``, ``Test_Ali``), or if a folder has no other name than
    that of a subset. Raises UserError if they are not, and if a recording is in no subset.
    """
    cure = "put recordings into folders named train, dev and test, or draw subsets with --split"
    matched = _matched(recordings)
    for recording in recordings:
        if recording.subset is None:
            others = f" ({matched})" if matched else ""
            raise UserError(f"{recording.uri}: in no subset, although others are{others}; {cure}")
    subsets = {recording.subset for recording in recordings}
    unclear = [r.subset_name for r in recordings if r.subset_name and not _is_clear(r)]
    if len(subsets) == 1 and unclear:
        raise UserError(f"{matched}: this may be the name of a subset, or not; {cure}")
    return {recording.uri: recording.subset for recording in recordings if recording.subset}


def by_names(recordings: Sequence[ConvertedRecording]) -> str:
    """Says, for the rule of the split, which names the subsets were read from; empty if from none."""
    matched = _matched(recordings)
    return f", {matched}" if matched else ""


def _matched(recordings: Sequence[ConvertedRecording]) -> str:
    names = sorted({f"{r.subset_name!r} was read as {r.subset}" for r in recordings if r.subset_name and r.subset})
    return first_names(names)


def _is_clear(recording: ConvertedRecording) -> bool:
    """Whether the name is one word, as in ``train-00000-of-00002.parquet`` too, and not the recording's own."""
    words = set(re.findall(r"[^\W_\d]+", recording.subset_name)) - {"of", "parquet"}
    return len(words) == 1 and recording.subset_name != recording.uri
