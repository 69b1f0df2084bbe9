"""The README's commands, in order, with real recordings and toolkits; the main job is one of them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.records import read_record
from diarbench.reports.results.comparison import Comparison

pytestmark = pytest.mark.slow
MAIN_JOB = "bench run --backend pyannote --backend nemo"
COMMAND = (sys.executable, "-m", "diarbench.benchmarks.cli", *MAIN_JOB.split()[1:])


def without_network() -> tuple[str, ...]:
    """The beginning of a command that has no network, not even to this machine; empty where there are no namespaces."""
    unshare = ("unshare", "--map-root-user", "--net")
    is_possible = shutil.which(unshare[0]) and not subprocess.run([*unshare, "true"], capture_output=True).returncode
    return unshare if is_possible else ()


@pytest.fixture(scope="module")
def out(ami_mini: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The main job's comparison, after every ``sh`` block of the README was run.

    The main job has no network where that is possible. test_deploy.py holds that two runs give the same bytes.
    """
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines()]
    assert MAIN_JOB in commands
    folder = tmp_path_factory.mktemp("readme")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for command in commands:
        prefix = without_network() if command == MAIN_JOB else ()
        shell = [*prefix, "sh", "-c", command]
        done = subprocess.run(shell, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        if command == MAIN_JOB:
            assert "pretrained" in done.stdout and "Report  " in done.stdout
    (comparison,) = folder.glob("runs/*/results.json")
    return comparison.parent


def test_both_toolkits_are_fine_tuned_on_the_same_audio_and_scored(out: Path) -> None:
    comparison = read_record(out / "results.json", Comparison)
    assert [(run.backend, run.state) for run in comparison.runs] == [("pyannote", "done"), ("nemo", "done")]
    pyannote, nemo = comparison.runs
    assert pyannote.trained_audio_s == nemo.trained_audio_s == 5 * 300
    assert pyannote.weights is not None and pyannote.weights.pretrained and "AMI" in pyannote.weights.training_corpora
    assert nemo.weights is not None and nemo.weights.pretrained and "AMI" in nemo.weights.training_corpora
    rows = {(row.backend, row.stage, row.subset, row.condition): row for row in comparison.rows}
    stages = [
        *[("pyannote", stage) for stage in ("oracle-segmentation", "oracle-clustering")],
        *[(backend, "oracle-speaker-count") for backend in ("pyannote", "nemo")],
        *[(backend, stage) for backend in ("pyannote", "nemo") for stage in ("pretrained", "finetuned", "tuned")],
        *[("reference", stage) for stage in ("silence", "one-speaker")],
    ]
    for backend, stage in stages:
        for condition in ("full", "fair", "forgiving"):
            row = rows[backend, stage, "test", condition]
            assert row.total == rows["reference", "silence", "test", condition].total > 0
            assert sum(file.total for file in row.files) == pytest.approx(row.total)
    assert len({(row.condition, row.protocol) for row in comparison.rows}) == 3, "each row has its protocol's hash"
    assert rows["reference", "silence", "test", "full"].der == 1
    assert rows["pyannote", "oracle-segmentation", "test", "full"].miss < 1
    assert 0.2 < (rows["pyannote", "pretrained", "test", "full"].der or 0) < 0.7
    epochs = (out / pyannote.name / "epochs.csv").read_text().splitlines()
    assert epochs[0].startswith("Epoch,loss/val/segmentation,loss/val/vad,loss/val,DiarizationErrorRate,Confusion,")
    assert len(epochs) == 1 + 6, "epoch 0 is before the first step"


def test_no_network_is_needed(out: Path) -> None:
    if not (prefix := without_network()):
        pytest.skip("no network namespaces here")
    connect = "import socket; socket.create_connection(('127.0.0.1', 9), 5)"
    refused = subprocess.run([*prefix, sys.executable, "-c", connect], capture_output=True, text=True, check=False)
    assert "Network is unreachable" in refused.stderr
    runs = read_record(out / "results.json", Comparison).runs
    assert [run.state for run in runs] == ["done", "done"]


def test_the_same_command_again_repeats_nothing(out: Path) -> None:
    done = subprocess.run([*COMMAND, "--out", out], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.count("done before") == 2


def test_other_settings_are_rejected(out: Path) -> None:
    before = (out / "results.json").read_bytes()
    done = subprocess.run([*COMMAND, "--epochs", "2", "--out", out], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "was run with recipe epochs 5, not 2; choose another --out" in done.stderr
    assert (out / "results.json").read_bytes() == before


def test_reports_are_reproduced_from_the_records(out: Path) -> None:
    before = (out / "report.md").read_text()
    (out / "report.md").unlink()
    subprocess.run([*COMMAND[:3], "report", out], check=True, capture_output=True)
    assert (out / "report.md").read_text() == before


def test_two_processes_train_and_one_diarizes(ami_mini: Dataset, tmp_path: Path) -> None:
    """With one toolkit: test_distributed.py trains both in two processes."""
    out = tmp_path / "out"
    options = ("--epochs", "1", "--device", "cpu", "--devices", "2", "--no-tune", "--out", out)
    done = subprocess.run([*COMMAND[:4], "--backend", "nemo", *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = read_record(out / "results.json", Comparison).runs
    assert (run.backend, run.state, run.trained_audio_s) == ("nemo", "done", 300)
