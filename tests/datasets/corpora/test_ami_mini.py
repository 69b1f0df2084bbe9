"""ami-mini and the catalog: the real download, its figures counted from the files by hand, and what fails."""

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


def test_what_it_holds(ami_mini: Dataset) -> None:
    held = ami_mini.info.subsets
    # `wc -l` on the package's RTTM files; 30 s a file
    assert {subset: (info.recordings, info.turns) for subset, info in held.items()} == {
        "train": (10, 77),
        "dev": (2, 17),
        "test": (2, 27),
    }
    assert held["train"].scored_s == 300
    # the sum of the duration column of debug.test.rttm, whose speakers never overlap themselves
    assert held["test"].speaker_s == pytest.approx(67.432)
    assert ami_mini.info.corpus == "AMI"
    assert "CC BY 4.0" in ami_mini.info.licence


def test_the_accented_name_keeps_its_reference(ami_mini: Dataset) -> None:
    first = ami_mini.subset("train")[0]
    assert first.uri == "trn00"
    assert len(first.turns) == 14
    assert soundfile.info(str(first.audio)).samplerate == 16_000
    assert first.duration_s == pytest.approx(30, abs=1e-3)


def test_same_bytes_same_fingerprint(ami_mini: Dataset, tmp_path: Path) -> None:
    source.fetch(tmp_path / "again", cache_dir() / "downloads")
    again = Dataset.open(tmp_path / "again")
    assert again.info == ami_mini.info.model_copy(update={"name": "again"})


def test_by_hand_and_by_hash(ami_mini: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = cache_dir() / "downloads" / source.ARCHIVE
    monkeypatch.setenv("DIARBENCH_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    downloads = tmp_path / "downloads"
    with pytest.raises(UserError, match=rf"{source.ARCHIVE}.*into {downloads} by hand"):
        catalog.open_dataset("ami-mini")
    (downloads / source.ARCHIVE).write_bytes(b"something else")
    with pytest.raises(UserError, match="not the file expected"):
        catalog.open_dataset("ami-mini")
    assert not list((tmp_path / "datasets").iterdir())  # nothing that looks like a dataset
    shutil.copy(archive, downloads)
    assert catalog.open_dataset("ami-mini").info == ami_mini.info
    assert catalog.open_dataset(str(tmp_path / "datasets" / "ami-mini")).info == ami_mini.info


def test_the_command(ami_mini: Dataset) -> None:
    bench = [sys.executable, "-c", "from diarbench.benchmarks.cli.__main__ import main; main()"]
    shown = subprocess.run([*bench, "data", "show", "ami-mini"], capture_output=True, text=True, check=True).stdout
    assert "22.7%" in shown  # 40.304 s of overlap in 177.508 s of speech
    wrong = subprocess.run([*bench, "data", "show", "ami-mni"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 1
    assert wrong.stderr.count("\n") == 1
    assert "did you mean ami-mini?" in wrong.stderr
