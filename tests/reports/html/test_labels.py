"""The page of a dataset's labels in Chromium: what the check found, on the timeline, with audio."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browser import eventually, in_view, violations
from typer.testing import CliRunner

from diarbench.benchmarks.cli.data import app
from diarbench.datasets.checking.check import check
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.rttm import Turn, write_rttm
from diarbench.reports.html.labels import render_labels

HOSTILE = "</script><img/src=x/onerror=alert(1)>"

WAVEFORM_HEIGHTS = """() => {
    const canvas = document.getElementById('timeline'), left = 151 * devicePixelRatio;
    const { data, width, height } = canvas.getContext('2d').getImageData(
        left, 38 * devicePixelRatio, canvas.width - left, 64 * devicePixelRatio);
    const isDrawn = (x, y) => data[4 * (y * width + x)] === 85 && data[4 * (y * width + x) + 3] > 0;
    const columns = [...Array(width).keys()], rows = [...Array(height).keys()];
    return columns.map((x) => rows.filter((y) => isDrawn(x, y)).length);
}"""
"""The height in pixels of each column of the waveform, which is drawn in #555."""

Open = Callable[..., Any]


@pytest.fixture
def root(ami_mini: Dataset, tmp_path: Path) -> Path:
    """The two dev recordings of ami-mini: one of dev00's turns is outside the audio, dev01's labels are late."""
    folder = tmp_path / "faulty"
    shutil.copytree(ami_mini.root, folder, ignore=shutil.ignore_patterns("train", "test"))
    for subset in ("train", "test"):
        (folder / f"{subset}.txt").write_text("")
    first, second = Dataset.open(folder).recordings["dev"]
    write_rttm(first.rttm, first.uri, [*first.turns, Turn(28.0, 40.0, HOSTILE)])
    late = [Turn(turn.start_s + 1, min(30.0, turn.end_s + 1), turn.speaker) for turn in second.turns]
    write_rttm(second.rttm, second.uri, [turn for turn in late if turn.start_s < 30])
    return folder


def page_of(root: Path, folder: Path) -> str:
    return render_labels([(Dataset.open(root), check(root))], folder)


def test_labels_are_seen_and_heard(root: Path, open_page: Open, tmp_path: Path) -> None:
    tab = open_page(page_of(root, tmp_path))
    assert in_view(tab) == (0, 40000)
    assert tab.title().startswith("Labels of ami-mini: 2 errors and ")
    kinds = tab.locator(".answer li").all_inner_texts()
    assert {"1 error: turn outside the audio", "1 warning: labels offset"} <= set(kinds)
    tab.locator("#findings tr", has_text="turn outside the audio").locator("button").click()
    eventually(tab, "Math.abs(document.getElementById('audio').currentTime - 28) < 2")
    assert in_view(tab) == (25000, 35000)
    assert HOSTILE in tab.locator("#here").inner_text() and tab.locator("img").count() == 0
    tab.locator("#recordings .open", has_text="dev01").click()
    eventually(tab, "document.getElementById('recording').value === '1'")
    assert in_view(tab) == (0, 30000)
    assert "labels are about 1.0 s later than the speech" in tab.inner_text("#here")
    heights = tab.evaluate(WAVEFORM_HEIGHTS)
    assert max(heights) > 40 and sum(height < 12 for height in heights) > 50, "as high as the audio is loud"


def test_a_phone_shows_it_and_a_screen_reader_reads_it(root: Path, open_page: Open, tmp_path: Path) -> None:
    tab = open_page(page_of(root, tmp_path), 390)
    in_view(tab)
    assert tab.evaluate("document.documentElement.scrollWidth") == 390
    assert violations(tab) == []


def test_unreadable_files_are_shown_as_findings(root: Path, open_page: Open, tmp_path: Path) -> None:
    (root / "dev/wav/dev00.wav").write_bytes(b"no audio")
    (root / "dev/rttm/dev01.rttm").write_bytes(b"SPEAKER \xff")
    tab = open_page(page_of(root, tmp_path))
    in_view(tab)
    assert "audio of this recording is missing" in tab.inner_text("#status")
    tab.get_by_role("button", name="Next recording").click()
    eventually(tab, "document.getElementById('recording').value === '1'")
    assert "unreadable RTTM" in tab.inner_text("#here")


def test_a_dataset_without_recordings(root: Path, open_page: Open, tmp_path: Path) -> None:
    (root / "dev.txt").write_text("")
    assert "The dataset has no recordings." in open_page(page_of(root, tmp_path)).inner_text("main")


def test_the_command(ami_mini: Dataset, tmp_path: Path) -> None:
    page = tmp_path / "labels.html"
    ended = CliRunner().invoke(app, ["show", "ami-mini", "--page", str(page)])
    assert ended.exit_code == 0, ended.output
    assert f"page written to {page}" in ended.output.replace("\n", "")
    assert "<title>Labels of ami-mini: 0 errors and 6 warnings</title>" in page.read_text()
    assert page.stat().st_size < 25e6
    with pytest.raises(UserError, match="only for --page"):
        CliRunner().invoke(app, ["show", "ami-mini", "--voices"], catch_exceptions=False)
