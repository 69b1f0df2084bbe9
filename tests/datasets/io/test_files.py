"""Searches below a folder, which follow links, refuse loops and log what cannot be read; what killed writes leave."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import files, remove_partial, temporary_folder, write_atomic


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


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    """The process is killed in the middle of a write, while it holds a temporary folder."""
    code = (
        "import os; from pathlib import Path; from diarbench.datasets.io import files\n"
        "os.fsync = lambda _: os.kill(os.getpid(), 9)\n"
        "with files.temporary_folder(Path('corpus')): files.write_atomic(Path('run/results.json'), 'x')\n"
    )
    killed = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False)
    assert killed.returncode == -signal.SIGKILL
    left = list(tmp_path.rglob(".*.partial"))
    assert sorted(path.is_dir() for path in left) == [False, True]
    remove_partial(tmp_path, older_than_s=3600)
    assert all(path.exists() for path in left), "another process may be writing"
    remove_partial(tmp_path)
    with temporary_folder(tmp_path / "corpus") as first, temporary_folder(tmp_path / "corpus") as second:
        assert first.is_dir() and second.is_dir(), "the folder of a process that lives is kept"
        assert not any(path.exists() for path in left)
    assert list(tmp_path.iterdir()) == [tmp_path / "run"]
    assert not any((tmp_path / "run").iterdir())


LONG_LETTER = "회"
"""Takes three bytes in UTF-8."""


def test_a_name_at_the_file_system_s_limit_is_written(tmp_path: Path) -> None:
    path = tmp_path / f"{LONG_LETTER * 83}.rttm"
    assert len(path.name.encode()) == 254
    write_atomic(path, "content")
    assert path.read_text() == "content"
