from __future__ import annotations

import os
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from run_helpers import plan_of

from diarbench.benchmarks.runs.environment import versions
from diarbench.benchmarks.runs.executors.node import node_task, work_on_node
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.records import write_record
from diarbench.datasets.roots import ROOTS
from diarbench.reports.results.run_folder import RunFolder

HOST = socket.gethostname()


def test_what_a_node_lacks_is_told_in_one_line(ami_mini: Dataset, tmp_path: Path) -> None:
    job = plan_of(ami_mini, "scratch").job
    task = node_task(RunFolder(tmp_path), job)
    with pytest.raises(UserError, match="--nodes 2: an executor works a run on one node"):
        node_task(RunFolder(tmp_path), job.model_copy(update={"nodes": 2}))
    shared = f"{tmp_path} is not on {HOST}: choose an --out on a disk that all nodes share"
    assert work_on_node(task) == (1, shared)
    write_record(RunFolder(tmp_path).job, job)
    status, words = work_on_node(replace(task, versions={"numpy": "0.1"}))
    assert status == 1 and words.startswith(
        f"{HOST} has numpy {versions()['numpy']}, this command 0.1: install the same"
    )


def test_a_worker_s_status_and_last_words_are_returned_and_it_sees_no_slurm(
    ami_mini: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ROOTS, "/data")
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.chdir(tmp_path)
    job = plan_of(ami_mini, "scratch").job
    write_record(RunFolder(tmp_path / "run").job, job)
    task = node_task(RunFolder(Path("run")), job)
    assert task.command[-1] == str(tmp_path / "run" / "job.json"), "nodes have working folders of their own"
    monkeypatch.delenv(ROOTS)
    code = f"import os, sys; sys.exit(os.environ[{ROOTS!r}] + ''.join(n for n in os.environ if n.startswith('SLURM_')))"
    assert work_on_node(replace(task, command=[sys.executable, "-c", code])) == (1, "/data")
    assert "SLURM_JOB_ID" in os.environ


def test_a_worker_that_is_killed_leaves_no_lock(ami_mini: Dataset, tmp_path: Path) -> None:
    """Of a process of another machine, nobody else could tell for minutes that it is gone."""
    job = plan_of(ami_mini, "scratch").job
    write_record(RunFolder(tmp_path).job, job)
    code = (
        "import os; from pathlib import Path; from diarbench.datasets.io.lock import hold\n"
        f"with hold(Path({str(tmp_path)!r})): os.kill(os.getpid(), 9)"
    )
    task = replace(node_task(RunFolder(tmp_path), job), command=[sys.executable, "-c", code])
    assert work_on_node(task) == (-9, "")
    assert [path.name for path in tmp_path.iterdir()] == ["job.json"]
