"""Group items that must stay together, such as recordings of the same speakers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def connected(items: Iterable[T], keys_of: Callable[[T], Iterable[str]]) -> list[list[T]]:
    """Groups of items that have a key in common, directly or through other items."""
    groups: list[tuple[set[str], list[T]]] = []
    for item in items:
        keys = set(keys_of(item))
        joined = [group for group in groups if not group[0].isdisjoint(keys)]
        groups = [group for group in groups if group[0].isdisjoint(keys)]
        members = [member for group in joined for member in group[1]]
        groups.append((keys.union(*(group[0] for group in joined)), [*members, item]))
    return [members for _, members in groups]
