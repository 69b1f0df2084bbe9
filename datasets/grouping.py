"""Group items that must stay together, such as recordings of the same speakers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def connected(items: Iterable[T], keys_of: Callable[[T], Iterable[str]]) -> list[list[T]]:
    """Groups of items that have a key in common, directly or through other items."""
    groups: dict[int, tuple[set[str], list[T]]] = {}
    number_of: dict[str, int] = {}
    for number, item in enumerate(items):
        keys = set(keys_of(item))
        joined = [groups.pop(other) for other in sorted({number_of[key] for key in keys if key in number_of})]
        members = [member for _, earlier in joined for member in earlier]
        groups[number] = (keys.union(*(earlier for earlier, _ in joined)), [*members, item])
        number_of |= dict.fromkeys(groups[number][0], number)
    return [members for _, members in groups.values()]
