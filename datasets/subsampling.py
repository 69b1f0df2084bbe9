"""Change what is trained on: less of a dataset's train subset, or recordings of other datasets besides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from diarbench.datasets.dataset import Dataset, MixedRecordings, annotated_s
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import sha256_of
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
    kept_out = {sha256_of(r.audio): r for subset in ("dev", "test") for r in dataset.recordings.get(subset, ())}
    for other, _ in others if kept_out else ():
        for recording in other.subset("train"):
            if same := kept_out.get(sha256_of(recording.audio)):
                raise UserError(
                    f"mix: {recording.audio}: is also in {same.subset} of {dataset.info.name}, which nothing may be "
                    "trained on; leave the dataset out of the mix"
                )
    return replace(
        dataset,
        mixed_in=tuple(MixedRecordings(other.info.name, other.subset("train"), share) for other, share in others),
    )
