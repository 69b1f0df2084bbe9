"""ami-mini and the catalog: the real download, figures counted by hand, and errors."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from diarbench.datasets.corpora import ami_mini as source
from diarbench.datasets.corpora import catalog
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import cache_dir


def test_statistics_by_hand(ami_mini: Dataset) -> None:
    subsets = ami_mini.info.subsets
    # `wc -l` on the package's RTTM files; 30 s per file
    assert {subset: (info.recordings, info.turns) for subset, info in subsets.items()} == {
        "train": (10, 77),
        "dev": (2, 17),
        "test": (2, 27),
    }
    assert subsets["train"].scored_s == 300
    # the sum of the duration column of debug.test.rttm, whose speakers never overlap themselves
    assert subsets["test"].speaker_s == pytest.approx(67.432)
    assert ami_mini.info.corpus == "AMI"
    assert "CC BY 4.0" in ami_mini.info.licence


def test_the_recording_with_an_accented_name_has_its_reference(ami_mini: Dataset) -> None:
    first = ami_mini.subset("train")[0]
    assert first.uri == "trn00"
    assert len(first.turns) == 14
    assert soundfile.info(str(first.audio)).samplerate == 16_000
    assert first.duration_s == pytest.approx(30, abs=1e-3)


def test_fetching_again_gives_the_same_fingerprint(ami_mini: Dataset, tmp_path: Path) -> None:
    source.fetch(tmp_path / "again", cache_dir() / "downloads")
    again = Dataset.open(tmp_path / "again")
    assert again.info == ami_mini.info.model_copy(update={"name": "again"})


def test_an_archive_placed_by_hand_is_checked_by_hash(
    ami_mini: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = cache_dir() / "downloads" / source.ARCHIVE
    monkeypatch.setenv("DIARBENCH_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    downloads = tmp_path / "downloads"
    with pytest.raises(UserError, match=rf"{source.ARCHIVE}.*into {downloads} by hand"):
        catalog.open_dataset("ami-mini")
    (downloads / source.ARCHIVE).write_bytes(b"something else")
    with pytest.raises(UserError, match="not the expected file"):
        catalog.open_dataset("ami-mini")
    assert not list((tmp_path / "datasets").iterdir())  # no partial dataset
    shutil.copy(archive, downloads)
    assert catalog.open_dataset("ami-mini").info == ami_mini.info
    assert catalog.open_dataset(str(tmp_path / "datasets" / "ami-mini")).info == ami_mini.info


def test_bench_data_show(ami_mini: Dataset) -> None:
    bench = [sys.executable, "-c", "from diarbench.benchmarks.cli.__main__ import main; main()"]
    shown = subprocess.run([*bench, "data", "show", "ami-mini"], capture_output=True, text=True, check=True).stdout
    assert "22.7%" in shown  # 40.304 s of overlap in 177.508 s of speech
    wrong = subprocess.run([*bench, "data", "show", "ami-mni"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 1
    assert wrong.stderr.count("\n") == 1
    assert "did you mean ami-mini?" in wrong.stderr
