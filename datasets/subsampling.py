"""Take part of a dataset's train subset, to measure the effect of more training data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from diarbench.datasets.dataset import Dataset, Recording
from diarbench.datasets.io.rttm import Region

SHORTEST_S = 1e-3
"""Shorter regions are rounding residue and are dropped."""


def with_train(dataset: Dataset, fraction: float, seed: int) -> Dataset:
    """The dataset with a fraction of its annotated train time; with one seed, a smaller fraction lies in a larger one.

    Recordings are taken in an order drawn by the seed, each whole; the last is cut off where the time is full, so that
    a few recordings, or one, divide as well.
    """
    if fraction == 1:
        return dataset
    train = dataset.subset("train")
    left_s = fraction * annotated_s(train)
    kept: dict[str, tuple[Region, ...]] = {}
    for index in np.random.default_rng(seed).permutation(len(train)):
        regions = []
        for start_s, end_s in train[index].regions:
            end_s = min(end_s, start_s + left_s)
            if end_s - start_s > SHORTEST_S:
                regions.append(Region(start_s, end_s))
                left_s -= end_s - start_s
        kept[train[index].uri] = tuple(regions)
    chosen = tuple(replace(recording, only=kept[recording.uri]) for recording in train if kept[recording.uri])
    return replace(dataset, recordings={**dataset.recordings, "train": chosen})


def annotated_s(recordings: tuple[Recording, ...]) -> float:
    """Seconds inside the recordings' regions."""
    return sum(end_s - start_s for recording in recordings for start_s, end_s in recording.regions)
