"""A wheel works as the checkout does, and without a toolkit says what to install."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pytest
from places import ROOT


@pytest.mark.slow
def test_a_wheel_in_an_environment_of_its_own(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, ROOT], check=True, capture_output=True
    )
    (wheel,) = tmp_path.glob("diarbench-*.whl")
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", wheel], check=True)
    bench = tmp_path / "venv" / "bin" / "bench"

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([bench, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert run("--help").returncode == 0
    assert "quick" in run("recipes").stdout
    listed = run("backends").stdout
    assert "pip install" in listed and "diarbench[nemo]" in listed
    assert run("data", "show", "ami-mini").returncode == 0, "the light core reads and describes a dataset"

    done = run("run", "--backend", "pyannote", "--backend", "nemo", "--out", "out")
    assert done.returncode == 1
    assert "not installed: pip install 'diarbench[pyannote,weights]'" in done.stdout
    assert "not installed: pip install 'diarbench[nemo]'" in done.stdout
    assert "one-speaker" in (tmp_path / "out" / "report.md").read_text(), "what needs no toolkit is still told"
    assert run("run", "--backend", "nemo", "--out", "out").returncode == 1
