"""Group items that must stay together, such as recordings of the same speakers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def connected(items: Iterable[T], keys_of: Callable[[T], Iterable[str]]) -> list[list[T]]:
    """Groups of items that have a key in common, directly or through other items; by their last items.

    This is union-find with path halving: its time is nearly in proportion to the number of keys.
    """
    listed = list(items)
    parent: list[int] = []
    first: dict[str, int] = {}

    def last_of(number: int) -> int:
        while parent[number] != number:
            parent[number] = number = parent[parent[number]]
        return number

    for number, item in enumerate(listed):
        parent.append(number)
        for key in keys_of(item):
            parent[last_of(first.setdefault(key, number))] = number
    groups: dict[int, list[T]] = {}
    for number, item in enumerate(listed):
        groups.setdefault(last_of(number), []).append(item)
    return [groups[last] for last in sorted(groups)]
