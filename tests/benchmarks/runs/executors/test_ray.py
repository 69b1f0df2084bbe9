"""Runs on a real Ray cluster of several nodes on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from places import TESTS
from run_helpers import plan_of, run, wait_for

from diarbench.benchmarks.runs.executors.ray import RayExecutor
from diarbench.benchmarks.runs.status import status
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.errors import UserError

RUNS = 4

DRIVER = """
import sys
from pathlib import Path
from run_helpers import plan_of, run
from diarbench.benchmarks.runs.executors.ray import RayExecutor
from diarbench.datasets.corpora.catalog import open_dataset
plans = [plan_of(open_dataset("ami-mini"), "scratch", seed) for seed in range(1, int(sys.argv[3]) + 1)]
comparison, shown = run(Path(sys.argv[1]), *plans, executor=RayExecutor(sys.argv[2], cores=1))
print(shown)
assert all(run.state == "done" for run in comparison.runs), [run.failure for run in comparison.runs]
"""


@pytest.mark.slow
def test_runs_survive_the_loss_of_a_node_and_of_the_driver(dummy: None, ami_mini: Dataset, tmp_path: Path) -> None:
    """Every run is done once to the end, with the bytes of this machine's own executor."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    run(tmp_path / "here", *(plan_of(ami_mini, "scratch", seed) for seed in range(1, RUNS + 1)))
    memory: dict[str, Any] = {"object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **memory})
    try:
        nodes = [cluster.add_node(num_cpus=1, **memory) for _ in range(2)]
        first = start_driver(tmp_path / "there", cluster.address)
        wait_for(lambda: "done" in states(tmp_path / "there"))
        first.kill()
        first.wait()
        second = start_driver(tmp_path / "there", cluster.address)
        wait_for(lambda: bool({"training", "diarizing"} & set(states(tmp_path / "there"))))
        cluster.remove_node(nodes[0], allow_graceful=False)
        shown, _ = second.communicate(timeout=600)
    finally:
        cluster.shutdown()
    assert second.returncode == 0, shown
    assert shown.count("done before") >= 1
    files = [path.relative_to(tmp_path / "here") for path in (tmp_path / "here").rglob("*.rttm")]
    for file in [*files, *(path.relative_to(tmp_path / "here") for path in (tmp_path / "here").glob("*/epochs.csv"))]:
        assert (tmp_path / "here" / file).read_bytes() == (tmp_path / "there" / file).read_bytes(), file


@pytest.mark.parametrize(("address", "reason"), [("127.0.0.1:9", "Connection refused"), ("head", "expected HOST:PORT")])
def test_no_cluster_at_the_address_is_told(address: str, reason: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(UserError, match=rf"--ray-address {address}: no Ray cluster answers there \(.*{reason}\)"):
        RayExecutor(address, cores=1)


def start_driver(out: Path, address: str) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(TESTS / "helpers"), os.environ["PYTHONPATH"]])
    command = [sys.executable, "-c", DRIVER, str(out), address, str(RUNS)]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True)


def states(out: Path) -> list[str]:
    return [run.state for run in status(out)] if list(out.glob("*/run.json")) else []
