from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.verification import check_unchanged


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

    monkeypatch.setattr("diarbench.datasets.verification.sha256_of", refuse)
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
    with pytest.raises(UserError, match=f"{path}: changed since the dataset was converted; restore it, or accept"):
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
