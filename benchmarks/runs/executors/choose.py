"""The executors by name."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil

from diarbench.backends.threads import usable_cores
from diarbench.benchmarks.runs.executors.base import Executor
from diarbench.benchmarks.runs.executors.local import LocalExecutor
from diarbench.datasets.io.errors import UserError, check_choice

EXECUTORS = ("local", "ray", "slurm")

CORES, MINUTES = 4, 720
"""What a run on a cluster gets where nothing is asked."""

MEMORY_GB = 4
"""Memory that a run on a CPU may need."""

GPU_DRIVERS = ("/dev/nvidiactl", "/dev/kfd")
"""Files of the drivers of NVIDIA's and AMD's GPUs."""

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


def check_executor(name: str, jobs: int | None, cluster: Cluster) -> None:
    """Raises UserError where there is no such executor, or where an option is another one's."""
    check_choice("executor", name, EXECUTORS)
    if name != "local" and jobs is not None:
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


def default_jobs(device: str, processes: int) -> int:
    """How many runs of so many processes this machine works side by side where nothing is asked.

    Two on a CPU with cores and memory for them: with a thread each they took two thirds of the time of two runs one
    after another with two threads. One on a GPU, whose memory is not known beforehand to bear two.
    """
    has_gpu = shutil.which("nvidia-smi") or any(Path(file).exists() for file in GPU_DRIVERS)
    on_gpu = device.startswith("cuda") or (device == "auto" and has_gpu)
    has_room = len(usable_cores()) >= 2 * processes and psutil.virtual_memory().available >= 2 * MEMORY_GB * 1e9
    return 2 if has_room and not on_gpu else 1


def make_executor(
    name: str, jobs: int | None, cluster: Cluster, out: Path, device: str = "auto", processes: int = 1
) -> Executor:
    """The executor of this name. Raises UserError where its cluster does not answer."""
    check_executor(name, jobs, cluster)
    cores, gpus = cluster.cores or CORES, cluster.gpus or 0
    if name == "ray":
        from diarbench.benchmarks.runs.executors.ray import RayExecutor

        return RayExecutor(cluster.ray_address or "auto", cores, gpus, cluster.memory_gb)
    if name == "slurm":
        from diarbench.benchmarks.runs.executors.slurm import SlurmExecutor

        limit = cluster.partition, cluster.minutes or MINUTES
        return SlurmExecutor(out, cores, int(gpus), cluster.memory_gb, *limit)
    return LocalExecutor(jobs or default_jobs(device, processes))


def _options(cluster: Cluster) -> str:
    given = [name for name, value in vars(cluster).items() if value is not None]
    return ", ".join(f"--{name.replace('_', '-')}" for name in given)
