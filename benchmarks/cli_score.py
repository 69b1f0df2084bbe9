"""``bench score`` and ``bench compare``: anybody's RTTM, of any toolkit."""

from __future__ import annotations


def score() -> None:
    """Score hypothesis RTTM against a reference."""


def compare() -> None:
    """Compare two systems on the same recordings."""
