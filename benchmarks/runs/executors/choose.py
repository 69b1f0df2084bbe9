"""The executors by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from diarbench.benchmarks.runs.executors.base import Executor
from diarbench.benchmarks.runs.executors.local import LocalExecutor
from diarbench.datasets.io.errors import UserError, check_choice

EXECUTORS = ("local", "ray", "slurm")

CORES, MINUTES = 4, 720
"""What a run on a cluster gets where nothing is asked."""

FEWEST_MINUTES = 5
"""Slurm warns a job two and a half minutes before its limit at the earliest, from when on it does not go on."""


@dataclass(frozen=True)
class Cluster:
    """What is asked of a cluster; None where nothing is."""

    ray_address: str | None = None
    partition: str | None = None
    cores: int | None = None
    gpus: float | None = None
    memory_gb: float | None = None
    minutes: int | None = None


def check_executor(name: str, jobs: int, cluster: Cluster) -> None:
    """Raises UserError where there is no such executor, or where an option is another one's."""
    check_choice("executor", name, EXECUTORS)
    if name != "local" and jobs != 1:
        raise UserError(f"--jobs {jobs}: is for this machine; a cluster works as many runs as it has room for")
    if name == "local" and cluster != Cluster():
        raise UserError(f"{_options(cluster)}: only a cluster is asked for that; give --executor ray or slurm")
    if name == "ray" and (cluster.partition or cluster.minutes):
        raise UserError("--partition, --minutes: are for --executor slurm; leave them out")
    if name == "slurm" and cluster.ray_address:
        raise UserError("--ray-address: is for --executor ray; leave it out")
    if cluster.minutes and cluster.minutes < FEWEST_MINUTES:
        raise UserError(f"--minutes {cluster.minutes}: too few for an epoch; give at least {FEWEST_MINUTES}")
    if name == "slurm" and cluster.gpus and cluster.gpus % 1:
        raise UserError(f"--gpus {cluster.gpus:g}: Slurm gives whole GPUs; give a whole number")


def make_executor(name: str, jobs: int, cluster: Cluster, out: Path) -> Executor:
    """The executor of this name. Raises UserError where its cluster does not answer."""
    check_executor(name, jobs, cluster)
    cores, gpus = cluster.cores or CORES, cluster.gpus or 0
    if name == "ray":
        from diarbench.benchmarks.runs.executors.ray import RayExecutor

        return RayExecutor(cluster.ray_address or "auto", cores, gpus, cluster.memory_gb)
    if name == "slurm":
        from diarbench.benchmarks.runs.executors.slurm import SlurmExecutor

        limit = cluster.partition, cluster.minutes or MINUTES
        return SlurmExecutor(out / ".slurm", cores, int(gpus), cluster.memory_gb, *limit)
    return LocalExecutor(jobs)


def _options(cluster: Cluster) -> str:
    given = [name for name, value in vars(cluster).items() if value is not None]
    return ", ".join(f"--{name.replace('_', '-')}" for name in given)
