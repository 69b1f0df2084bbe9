"""Runs on a real Ray cluster of several nodes on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from places import TESTS
from run_helpers import cancelled_where_told, plan_of, run, wait_for

from diarbench.benchmarks.runs.executors import ray as executor_module
from diarbench.benchmarks.runs.executors.local import LocalExecutor
from diarbench.benchmarks.runs.executors.ray import RayExecutor
from diarbench.benchmarks.runs.status import status
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.errors import UserError

RUNS = int(os.environ.get("DIARBENCH_TEST_RUNS", "4"))
"""Runs of the test that loses a node; more by hand."""

MEMORY: dict[str, Any] = {"object_store_memory": 80 * 2**20}

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

    plans = [plan_of(ami_mini, "scratch", seed) for seed in range(1, RUNS + 1)]
    run(tmp_path / "here", *plans, executor=LocalExecutor(3))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, **MEMORY})
    try:
        nodes = [cluster.add_node(num_cpus=1, **MEMORY) for _ in range(2)]
        first = start_driver(tmp_path / "there", cluster.address)
        wait_for(lambda: "done" in states(tmp_path / "there"))
        first.kill()
        first.wait()
        second = start_driver(tmp_path / "there", cluster.address)
        wait_for(lambda: bool({"training", "diarizing"} & set(states(tmp_path / "there"))))
        cluster.remove_node(nodes[0], allow_graceful=False)
        shown, _ = second.communicate(timeout=150 * RUNS)
    finally:
        cluster.shutdown()
    assert second.returncode == 0, shown
    assert shown.count("done before") >= 1
    assert shown.count(": done") == RUNS, "each run is done exactly once"
    assert_same_bytes(tmp_path / "here", tmp_path / "there")


@pytest.mark.slow
def test_a_run_on_nodes_without_the_driver_s_disk_goes_on_where_its_node_is_lost(
    dummy: None, ami_mini: Dataset, tmp_path: Path
) -> None:
    """The nodes have another, empty disk at the comparison's folder."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("mount namespaces cannot be made here")
    plan = plan_of(ami_mini, "scratch")
    run(tmp_path / "here", plan)
    there = tmp_path / "there"
    there.mkdir()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **MEMORY})
    nodes = [start_node(there, cluster.address)]
    try:
        driver = start_driver(there, cluster.address, runs=1)
        wait_for((there / plan.job.name / "checkpoints" / "last.ckpt").is_file)
        assert status(there)[0].state in ("training", "diarizing", "interrupted")
        end(nodes[0])
        nodes.append(start_node(there, cluster.address))
        shown, _ = driver.communicate(timeout=600)
    finally:
        for node in nodes:
            end(node)
        cluster.shutdown()
    assert driver.returncode == 0, shown
    assert_same_bytes(tmp_path / "here", there)
    assert "resum" in (there / plan.job.name / "log.txt").read_text()


@pytest.mark.slow
def test_too_few_resources_are_told_and_a_run_that_waits_can_be_cancelled(
    dummy: None, ami_mini: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setattr(executor_module, "WAIT_S", 1)
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "memory": 2e9, "include_dashboard": False, **MEMORY}
    )
    try:
        executor = RayExecutor(cluster.address, cores=64, gpus=0.5, memory_gb=8)
        shown = cancelled_where_told(tmp_path, plan_of(ami_mini, "scratch"), executor)
    finally:
        cluster.shutdown()
    told = "waits: no node of the cluster has 64 cores, 0.5 GPU, 8 GB for a run (1 node, of at most 1 core)"
    assert shown.count(told) == 1


@pytest.mark.slow
def test_the_loss_of_the_driver_s_own_node_interrupts_its_runs(dummy: None, ami_mini: Dataset, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, **MEMORY})
    try:
        driver = start_driver(tmp_path, cluster.address, runs=2)
        wait_for(lambda: "training" in states(tmp_path))
        cluster.head_node.kill_raylet(check_alive=False)
        shown, _ = driver.communicate(timeout=300)
    finally:
        cluster.shutdown()
    assert driver.returncode == 1
    assert "this machine's node of the Ray cluster has ended; start it, and run the same command again" in shown
    assert {run.state for run in status(tmp_path)} <= {"queued", "interrupted"}


@pytest.mark.parametrize(("address", "reason"), [("127.0.0.1:9", "Connection refused"), ("head", "expected HOST:PORT")])
def test_no_cluster_at_the_address_is_told(address: str, reason: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(UserError, match=rf"--ray-address {address}: no Ray cluster answers there \(.*{reason}\)"):
        RayExecutor(address, cores=1)


def assert_same_bytes(a: Path, b: Path) -> None:
    files = [path.relative_to(a) for pattern in ("**/*.rttm", "*/epochs.csv") for path in a.glob(pattern)]
    assert len(files) > 8
    for file in files:
        assert (a / file).read_bytes() == (b / file).read_bytes(), file


def start_node(hidden: Path, address: str) -> subprocess.Popen[bytes]:
    """A node of one core, which sees an empty disk instead of a folder."""
    ray = Path(sys.executable).with_name("ray")
    store = MEMORY["object_store_memory"]
    start = f"{ray} start --address {address} --num-cpus 1 --object-store-memory {store} --block"
    command = f"mount -t tmpfs none {hidden} && exec {start}"
    return subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", command], start_new_session=True, stdout=subprocess.DEVNULL
    )


def end(node: subprocess.Popen[bytes]) -> None:
    """Kill a node and all that it started."""
    with suppress(psutil.NoSuchProcess):
        for process in [*psutil.Process(node.pid).children(recursive=True), psutil.Process(node.pid)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
    node.wait()


def start_driver(out: Path, address: str, runs: int = RUNS) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(TESTS / "helpers"), os.environ["PYTHONPATH"]])
    command = [sys.executable, "-c", DRIVER, str(out), address, str(runs)]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, **pipes)


def states(out: Path) -> list[str]:
    return [run.state for run in status(out)] if list(out.glob("*/run.json")) else []
