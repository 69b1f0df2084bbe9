"""Pages in Chromium, driven by playwright; skipped where either is not installed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--mute-audio",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens a page from disk; at the end it must have logged nothing and sent no network request."""
    troubles: list[str] = []
    tabs = []

    def opened(html: str, width: int = 1280) -> Any:
        (tmp_path / "report.html").write_text(html, encoding="utf-8")
        tab = browser.new_page(viewport={"width": width, "height": 900})
        tabs.append(tab)
        own = (tmp_path.resolve().as_uri(), "blob:", "data:")
        tab.on("console", lambda message: troubles.append(f"{message.type}: {message.text}"))
        tab.on("pageerror", lambda error: troubles.append(str(error)))
        tab.on("dialog", lambda dialog: troubles.append(f"dialog: {dialog.message}"))
        tab.on("request", lambda request: None if request.url.startswith(own) else troubles.append(request.url))
        tab.goto((tmp_path / "report.html").as_uri())
        return tab

    yield opened
    for tab in tabs:
        tab.close()
    assert troubles == []
