"""What tests ask of a page in Chromium."""

from __future__ import annotations

from typing import Any

import pytest


def eventually(tab: Any, condition: str) -> None:
    """Wait for a JavaScript condition by polling, as the page's policy forbids evaluation inside it."""
    for _ in range(100):
        if tab.evaluate(condition):
            return
        tab.wait_for_timeout(50)
    raise AssertionError(f"never came true: {condition}")


def in_view(tab: Any) -> tuple[int, int]:
    """The visible range of the timeline, in milliseconds."""
    tab.wait_for_selector("#timeline[data-to]")
    data = tab.locator("#timeline").evaluate("canvas => ({ ...canvas.dataset })")
    return int(data["from"]), int(data["to"])


def violations(tab: Any) -> list[tuple[str, str]]:
    """Rules of WCAG AA that axe finds broken, each with the first place."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    results = axe.Axe().run(tab, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]})
    assert results.response["passes"]
    return [(violation["id"], violation["nodes"][0]["html"]) for violation in results.response["violations"]]
