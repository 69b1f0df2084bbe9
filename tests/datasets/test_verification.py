from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.watch import MOST_STATES, FileState, Watch
from diarbench.datasets.verification import check_unchanged, watched


@pytest.fixture
def copied(ami_mini: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """A copy of ami-mini, checked for the first time, and a cache of its own."""
    monkeypatch.setenv("DIARBENCH_CACHE", str(tmp_path / "cache"))
    shutil.copytree(ami_mini.root, tmp_path / "set")
    dataset = Dataset.open(tmp_path / "set")
    check_unchanged(dataset)
    return dataset


def test_an_unchanged_dataset_passes_and_is_not_hashed_again(copied: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> str:
        raise AssertionError(f"{path} is hashed again")

    monkeypatch.setattr("diarbench.datasets.io.watch.sha256_of", refuse)
    check_unchanged(copied)


def test_files_that_were_only_touched_or_moved_pass(copied: Dataset) -> None:
    for recording in copied.subset("test"):
        os.utime(recording.audio, (1, 1))
    check_unchanged(copied)
    shutil.move(copied.root, copied.root.with_name("moved"))
    check_unchanged(Dataset.open(copied.root.with_name("moved")))


@pytest.mark.parametrize("kind", ("audio", "rttm", "uem"))
def test_a_changed_file_is_named(kind: str, copied: Dataset) -> None:
    path: Path = getattr(copied.subset("test")[0], kind)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=f"{path}: changed since the dataset was converted; restore it and run"):
        check_unchanged(copied)
    path.write_bytes(content)
    check_unchanged(copied)


def test_without_an_earlier_check_the_dataset_is_named(copied: Dataset, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "cache")
    copied.subset("dev")[0].rttm.write_text("")
    with pytest.raises(UserError, match=f"{copied.root}: its files changed since the dataset was converted"):
        check_unchanged(copied)


def test_a_damaged_cache_and_a_file_that_is_gone(copied: Dataset, tmp_path: Path) -> None:
    for entry in (tmp_path / "cache" / "hashes").iterdir():
        entry.write_text("{")
    check_unchanged(copied)
    gone = copied.subset("train")[0].audio
    gone.unlink()
    with pytest.raises(UserError, match=f"{gone}: cannot be read"):
        check_unchanged(copied)


def test_a_file_with_its_old_size_and_time_is_hashed(copied: Dataset) -> None:
    """As an archive or rsync writes them: only ctime tells that the content may be another one."""
    path = copied.subset("test")[0].audio
    replace_keeping_time(path, path.read_bytes()[::-1])
    with pytest.raises(UserError, match=f"{path}: changed since the dataset was converted"):
        check_unchanged(copied)


@pytest.mark.parametrize(
    ("kind", "use"),
    [
        ("audio", lambda recording: recording.duration_s),
        ("rttm", lambda recording: recording.turns),
        ("uem", lambda recording: recording.regions),
    ],
)
def test_nothing_is_read_from_a_file_that_changed_since_the_check(
    kind: str, use: Callable[[Any], Any], copied: Dataset
) -> None:
    for_later, first, again = (watched(copied).subset("test")[0] for _ in range(3))
    path: Path = getattr(first, kind)
    content, before = path.read_bytes(), use(first)
    replace_keeping_time(path, content[: len(content) // 2])
    with pytest.raises(UserError, match=f"{path}: changed since the dataset was converted; restore it and run"):
        use(again)
    assert use(first) == before, "what was read before the change stays"
    replace_keeping_time(path, content)
    assert use(for_later) == before


def test_what_was_made_while_a_file_was_replaced_and_restored_is_made_again(tmp_path: Path) -> None:
    path, disturbances = tmp_path / "file", ["replaced", "gone", "cut short"]
    path.write_text("right")

    def make() -> str:
        time.sleep(0.02)  # the times of files are coarse
        if not disturbances:
            return path.read_text()
        disturbance = disturbances.pop()
        try:
            if disturbance == "gone":
                path.unlink()
            else:
                path.write_text("wrong")
            if disturbance == "cut short":
                raise EOFError
            return path.read_text()
        finally:
            path.write_text("right")

    assert Watch().read([path], make) == "right" and not disturbances


def test_files_that_do_not_stay_as_they_are_are_told(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("right")
    watch = Watch()

    def write(text: str) -> None:
        time.sleep(0.02)  # the times of files are coarse
        path.write_text(text)

    with pytest.raises(ZeroDivisionError):  # of an undisturbed call
        watch.read([path], lambda: 1 // 0)
    with pytest.raises(UserError, match=f"{path}: written to again and again while used; wait until that ends"):
        watch.read([path], lambda: write("right"))
    with pytest.raises(UserError, match=f"{path}: changed while it was used; restore it, and run the same command"):
        watch.read([path], lambda: write("wrong"))
    path.unlink()
    with pytest.raises(UserError, match=f"{path}: cannot be read .*; restore it"):
        watch.read([path], path.read_text)


def test_a_file_that_was_only_touched_is_hashed_once(copied: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, hashed = watched(copied), count_hashes(monkeypatch)
    first = dataset.subset("test")[0]
    first.audio.chmod(0o600)
    os.utime(first.rttm)
    assert [first.unchanged(path, path.read_bytes) == path.read_bytes() for path in first.files] == [True] * 3
    assert hashed == [first.audio, first.rttm]
    first.unchanged(first.audio, first.audio.read_bytes)
    assert len(hashed) == 2


def test_a_disk_that_makes_up_its_ctimes_costs_a_few_hashes(copied: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    of, numbers = FileState.of, count()
    monkeypatch.setattr(FileState, "of", lambda path: of(path)._replace(status_ns=next(numbers), inode=next(numbers)))
    first, second = watched(copied).subset("test")
    hashed, calls = count_hashes(monkeypatch), count()
    for _ in range(3):
        first.unchanged(first.audio, lambda: next(calls))
    assert len(hashed) <= MOST_STATES and next(calls) <= MOST_STATES + 2
    hashed.clear()
    for _ in range(3):
        second.unchanged(second.audio, lambda: next(calls))
    assert hashed == [second.audio]
    second.audio.write_bytes(second.audio.read_bytes()[::-1])
    with pytest.raises(UserError, match=f"{second.audio}: changed"):
        second.unchanged(second.audio, second.audio.read_bytes)


def replace_keeping_time(path: Path, content: bytes) -> None:
    """As ``cp -p`` restores a file, or puts another in its place."""
    stat = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def count_hashes(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are hashed from now on."""
    from diarbench.datasets.io.files import sha256_of

    hashed: list[Path] = []

    def counted(path: Path) -> str:
        hashed.append(path)
        return sha256_of(path)

    monkeypatch.setattr("diarbench.datasets.io.watch.sha256_of", counted)
    return hashed
