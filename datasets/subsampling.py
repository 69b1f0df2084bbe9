"""Reduce a dataset's train subset, to measure the effect of the amount of training data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from diarbench.datasets.dataset import Dataset, annotated_s
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
