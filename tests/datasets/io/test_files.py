"""Searches below a folder: links are followed, loops are refused, and what cannot be read is logged."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one file of its own and a link to a folder with two."""
    for path in ("own/a.rttm", "elsewhere/deep/b.RTTM", "elsewhere/.hidden.rttm", "elsewhere/c.wav"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / "own" / "more").symlink_to(tmp_path / "elsewhere")
    return tmp_path / "own"


def test_links_to_folders_are_followed(folder: Path) -> None:
    assert files(folder, {".rttm"}) == [folder / "a.rttm", folder / "more" / "deep" / "b.RTTM"]


@pytest.mark.parametrize(("place", "target"), [(".", "."), (".", ".."), ("more/deep", "more/deep"), ("more", ".")])
def test_a_loop_is_refused(folder: Path, place: str, target: str) -> None:
    """A link to its own folder, to one above, and, in a linked folder, to its own and to where the link is."""
    (folder / place / "again").symlink_to(folder / target)
    with pytest.raises(UserError, match=r"again: a link to a folder that contains it; remove the link"):
        files(folder, {".rttm"})


def test_a_link_to_nothing_is_logged(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "gone.rttm").symlink_to(folder / "nowhere.rttm")
    with caplog.at_level(logging.WARNING):
        assert len(files(folder, {".rttm"})) == 2
    assert f"{folder / 'gone.rttm'}: a link to a file that does not exist" in caplog.text
