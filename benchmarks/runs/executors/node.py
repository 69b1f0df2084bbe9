"""Work a run on a node of a cluster, whose nodes share a disk."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from diarbench.benchmarks.runs.environment import versions, worker_environment
from diarbench.benchmarks.runs.executors.command import worker_command
from diarbench.benchmarks.runs.executors.local import last_line
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.lock import release
from diarbench.datasets.roots import ROOTS
from diarbench.reports.results.job import Job
from diarbench.reports.results.run_folder import RunFolder


@dataclass(frozen=True)
class NodeTask:
    """What a node is told about a run."""

    command: list[str]
    folder: str
    threads: int
    variables: dict[str, str]
    """Environment variables of the driver that hold on every node."""
    versions: dict[str, str]
    """Versions that the node must have; empty where the run has an environment of its own."""


def node_task(folder: RunFolder, job: Job) -> NodeTask:
    """The task of a run's folder. Paths are absolute, since nodes have working folders of their own.

    Raises UserError where the run is to be trained on several nodes together.
    """
    if job.nodes > 1:
        raise UserError(f"--nodes {job.nodes}: an executor works a run on one node; see docs/training.md for several")
    folder = RunFolder(folder.path.resolve())
    variables = {name: os.environ[name] for name in (ROOTS,) if name in os.environ}
    expected = {} if job.python else versions()
    return NodeTask(worker_command(folder, job), str(folder.path), job.threads, variables, expected)


def work_on_node(task: NodeTask) -> tuple[int, str]:
    """Work a run on this node. Returns the worker's exit status and last words.

    The worker ends with this process (`END_WITH_PARENT`), also where the cluster kills it.
    """
    host = socket.gethostname()
    if not RunFolder(Path(task.folder)).job.is_file():
        return 1, f"{task.folder} is not on {host}: choose an --out on a disk that all nodes share"
    for name, version in task.versions.items():
        if (here := versions().get(name)) != version:
            return 1, f"{host} has {name} {here}, this command {version}: install the same versions on all nodes"
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            task.command,
            stdout=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            stderr=errors,
            env=_variables(task),
            start_new_session=True,
        )
        try:
            status = process.wait()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            release(Path(task.folder), process.pid)
        errors.seek(0)
        return status, last_line(errors.read())


def _variables(task: NodeTask) -> dict[str, str]:
    """The worker's environment variables, without Slurm's: by those, Lightning would wait for other nodes."""
    variables = {**worker_environment(task.threads), **task.variables}
    return {name: value for name, value in variables.items() if not name.startswith("SLURM_")}
