from __future__ import annotations

from typing import Any

import pytest

from diarbench.benchmarks.runs.executors import choose
from diarbench.benchmarks.runs.executors.choose import Cluster, check_executor, default_jobs
from diarbench.datasets.io.errors import UserError


@pytest.mark.parametrize(
    ("name", "jobs", "asked", "message"),
    [
        ("slurn", None, {}, "did you mean slurm?"),
        ("ray", 3, {}, "--jobs 3: is for this machine"),
        ("local", None, {"memory_gb": 8.0, "cores": 2}, "--cores, --memory-gb: only a cluster is asked for that"),
        ("ray", None, {"minutes": 10}, "--partition, --minutes: are for --executor slurm"),
        ("slurm", None, {"minutes": 2}, "--minutes 2: too few for an epoch; give at least 5"),
        ("slurm", None, {"ray_address": "head:6379"}, "--ray-address: is for --executor ray"),
        ("slurm", None, {"gpus": 0.5}, "--gpus 0.5: Slurm gives whole GPUs"),
    ],
)
def test_an_option_of_another_executor_is_refused(
    name: str, jobs: int | None, asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as refused:
        check_executor(name, jobs, Cluster(**asked))
    assert message in str(refused.value)


def test_what_each_executor_takes_is_accepted() -> None:
    check_executor("local", 8, Cluster())
    check_executor("ray", None, Cluster(ray_address="head:6379", cores=2, gpus=0.5, memory_gb=8))
    check_executor("slurm", None, Cluster(partition="gpu", cores=8, gpus=1, minutes=60))


def test_two_runs_side_by_side_where_a_cpu_has_room(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = type("Memory", (), {"available": 9e9})
    monkeypatch.setattr(choose.psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(choose, "usable_cores", lambda: [0, 1])
    assert default_jobs("cpu", 1) == 2
    assert default_jobs("cpu", 2) == default_jobs("cuda:1", 1) == 1
    memory.available = 7e9  # type: ignore[attr-defined]
    assert default_jobs("cpu", 1) == 1
