"""Change what is trained on: less of a dataset's train subset, or recordings of other datasets besides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from filecmp import cmp

import numpy as np

from diarbench.datasets.dataset import Dataset, MixedRecordings, Recording, Subset, annotated_s
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.rttm import Region

SHORTEST_S = 1e-3
"""Shorter regions are rounding errors and are dropped."""


def with_train(dataset: Dataset, fraction: float, seed: int) -> Dataset:
    """Keep a fraction of the annotated train time; with the same seed a larger fraction contains a smaller one.

    Recordings are added in a random order; only the last is cut, so the fraction is exact even for few recordings.
    """
    if fraction == 1:
        return dataset
    train = dataset.subset("train")
    remaining_s = fraction * annotated_s(train)
    kept: dict[str, tuple[Region, ...]] = {}
    for index in np.random.default_rng(seed).permutation(len(train)):
        regions = []
        for start_s, end_s in train[index].regions:
            end_s = min(end_s, start_s + remaining_s)
            if end_s - start_s > SHORTEST_S:
                regions.append(Region(start_s, end_s))
                remaining_s -= end_s - start_s
        kept[train[index].uri] = tuple(regions)
    chosen = tuple(replace(recording, only=kept[recording.uri]) for recording in train if kept[recording.uri])
    return replace(dataset, recordings={**dataset.recordings, "train": chosen})


def with_mixed_in(dataset: Dataset, others: Sequence[tuple[Dataset, float]]) -> Dataset:
    """Add the train recordings of other datasets, each with its share of the windows of an epoch.

    Raises UserError where a recording of train is one on which the dataset selects or tests systems.
    """
    kept_out: dict[int, list[Recording]] = {}  # by size, so that few files are compared
    subsets: tuple[Subset, ...] = ("dev", "test")
    for subset in subsets:
        for recording in dataset.recordings.get(subset, ()):
            kept_out.setdefault(recording.audio.stat().st_size, []).append(recording)
    for other, _ in others:
        for recording in other.subset("train"):
            alike = kept_out.get(recording.audio.stat().st_size, ())
            if same := next((each for each in alike if cmp(each.audio, recording.audio, shallow=False)), None):
                raise UserError(
                    f"mix: {recording.audio}: is also in {same.subset} of {dataset.info.name}, which nothing may be "
                    "trained on; leave the dataset out of the mix"
                )
    return replace(
        dataset,
        mixed_in=tuple(MixedRecordings(other.info.name, other.subset("train"), share) for other, share in others),
    )
