"""The four root folders are subpackages of diarbench, and shadow nobody."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_the_root_folders_have_no_init() -> None:
    for folder in ("backends", "benchmarks", "datasets", "reports"):
        assert (ROOT / folder).is_dir()
        assert not (ROOT / folder / "__init__.py").exists(), f"{folder}/__init__.py would shadow other packages"


def test_hugging_face_s_datasets_is_still_its_own() -> None:
    """NeMo imports it, and users stand in the checkout."""
    pytest.importorskip("datasets")
    found = subprocess.run(
        [sys.executable, "-c", "import datasets; print(datasets.__file__)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "site-packages" in found
