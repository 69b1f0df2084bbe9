from __future__ import annotations

from typing import Any

import pytest

from diarbench.benchmarks.runs.executors.choose import Cluster, check_executor
from diarbench.datasets.io.errors import UserError


@pytest.mark.parametrize(
    ("name", "jobs", "asked", "message"),
    [
        ("slurn", 1, {}, "did you mean slurm?"),
        ("ray", 3, {}, "--jobs 3: is for this machine"),
        ("local", 1, {"memory_gb": 8.0, "cores": 2}, "--cores, --memory-gb: only a cluster is asked for that"),
        ("ray", 1, {"minutes": 10}, "--partition, --minutes: are for --executor slurm"),
        ("slurm", 1, {"minutes": 2}, "--minutes 2: too few for an epoch; give at least 5"),
        ("slurm", 1, {"ray_address": "head:6379"}, "--ray-address: is for --executor ray"),
        ("slurm", 1, {"gpus": 0.5}, "--gpus 0.5: Slurm gives whole GPUs"),
    ],
)
def test_an_option_of_another_executor_is_refused(name: str, jobs: int, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as refused:
        check_executor(name, jobs, Cluster(**asked))
    assert message in str(refused.value)


def test_what_each_executor_takes_is_accepted() -> None:
    check_executor("local", 8, Cluster())
    check_executor("ray", 1, Cluster(ray_address="head:6379", cores=2, gpus=0.5, memory_gb=8))
    check_executor("slurm", 1, Cluster(partition="gpu", cores=8, gpus=1, minutes=60))
