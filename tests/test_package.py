"""The four root folders are subpackages of diarbench, and shadow nobody."""

import subprocess
import sys

import pytest
from places import ROOT


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
