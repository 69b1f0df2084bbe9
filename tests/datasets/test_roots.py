from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from diarbench.datasets.corpora.catalog import open_dataset
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.roots import ROOTS, add_dataset_roots, find_dataset


@pytest.fixture
def roots(ami_mini: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of datasets that holds a renamed ami-mini and a damaged one; the cache has none."""
    monkeypatch.setenv("DIARBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(ROOTS, "")
    (tmp_path / "data" / "damaged").mkdir(parents=True)
    (tmp_path / "data" / "damaged" / "dataset.json").write_text("{")
    (tmp_path / "data" / "renamed").symlink_to(ami_mini.root)
    return tmp_path / "data"


def test_a_dataset_is_found_by_its_fingerprint_in_the_known_folders(ami_mini: Dataset, roots: Path) -> None:
    wanted = ami_mini.info.name, Path("/not/here"), ami_mini.info.fingerprint
    message = rf"/not/here: dataset ami-mini .* is not on {socket.gethostname()}, here or in .*cache/datasets; copy it"
    with pytest.raises(UserError, match=message):
        find_dataset(*wanted)
    add_dataset_roots([roots])
    assert find_dataset(*wanted).root == roots / "renamed"
    assert open_dataset("renamed").root == roots / "renamed"
    assert os.environ[ROOTS] == str(roots)


def test_a_dataset_that_is_where_it_was_is_used_and_another_in_its_place_is_refused(
    ami_mini: Dataset, roots: Path
) -> None:
    assert find_dataset("ami-mini", ami_mini.root, ami_mini.info.fingerprint).root == ami_mini.root
    with pytest.raises(UserError, match=r"changed since this run was planned; choose another --out"):
        find_dataset("ami-mini", ami_mini.root, "another")


def test_a_folder_of_datasets_that_is_none_is_refused(roots: Path) -> None:
    with pytest.raises(UserError, match=r"--dataset-root .*/none: no such folder; give the folder that your datasets"):
        add_dataset_roots([roots / "none"])
    assert not os.environ[ROOTS]
