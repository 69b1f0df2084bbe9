"""Runs on a Ray cluster: one task a run, which starts its worker and waits for it."""

from __future__ import annotations

import logging
import math
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from diarbench.backends.packages import importable
from diarbench.benchmarks.runs.executors.away import Home, work_away
from diarbench.benchmarks.runs.executors.base import Ended, Event
from diarbench.benchmarks.runs.executors.local import last_line
from diarbench.benchmarks.runs.executors.node import NodeTask, node_task, work_on_node
from diarbench.benchmarks.runs.executors.watch import Watch
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.names import plural
from diarbench.reports.results.job import Job
from diarbench.reports.results.run_folder import RunFolder

POLL_S = 1.0

RETRIES = 3
"""How often a task whose node was lost, or whose process was killed, is started again."""

CONNECT_S = 10.0

WAIT_S = 60.0
"""The user is told when no node has been large enough for this long."""


class RayExecutor:
    """Hands all runs to a Ray cluster, which starts them as its nodes have room. They end with the driver."""

    slots = 1_000_000
    queues = True

    def __init__(self, address: str, cores: int, gpus: float = 0, memory_gb: float | None = None) -> None:
        if not importable("ray"):
            raise UserError("--executor ray: needs ray: pip install 'diarbench[ray]'")
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self.threads: int | None = cores
        self.cores, self.gpus, self.memory_gb = cores, gpus, memory_gb
        self._runs: dict[Any, tuple[str, Watch]] = {}
        """The name and the watch of each submitted run, by its task."""
        self._since = time.monotonic()
        try:
            if address != "auto":
                _knock(address)
            with _own_signals():
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, ValueError, RuntimeError) as error:
            if address == "auto" and isinstance(error, ConnectionError):
                raise UserError(
                    "--executor ray: no Ray cluster on this machine; start one with 'ray start --head', or give the "
                    "address of another with --ray-address"
                ) from error
            raise UserError(
                f"--ray-address {address}: no Ray cluster answers there ({last_line(str(error))}); start one with 'ray "
                "start --head', or give the address that it printed"
            ) from error
        node = ray.get_runtime_context().get_node_id()
        (self._raylet,) = (known["RayletSocketName"] for known in ray.nodes() if known["NodeID"] == node)
        here = NodeAffinitySchedulingStrategy(node, soft=False)
        self._home = ray.remote(Home).options(num_cpus=0, scheduling_strategy=here).remote()

    def submit(self, folder: RunFolder, job: Job) -> None:
        """See Executor."""
        import ray

        task = ray.remote(_work).options(
            name=job.name,
            num_cpus=self.cores,
            num_gpus=self.gpus or None,  # 0 would hide the GPUs from the run
            memory=None if self.memory_gb is None else int(self.memory_gb * 1e9),
            max_retries=RETRIES,
        )
        reference = task.remote(node_task(folder, job), self._home)
        self._runs[reference] = job.name, Watch(folder, job.recipe["epochs"])

    def poll(self) -> Iterator[Event | Ended]:
        """See Executor. Raises UserError where this machine's node of the cluster is gone, and with it all runs."""
        import ray

        self._check_here()
        ended, _ = ray.wait(list(self._runs), num_returns=len(self._runs), timeout=POLL_S)
        for reference, (name, watch) in self._runs.items():
            yield from (Event(name, event) for event in watch.events())
            if watch.folder.cancelled.exists():  # a task that waits for a node does not see it
                ray.cancel(reference)
        for reference in ended:
            name, _ = self._runs.pop(reference)
            self._since = time.monotonic()
            try:
                yield Ended(name, *ray.get(reference))
            except ray.exceptions.RayError as error:
                self._check_here()
                yield Ended(name, 1, f"Ray: {last_line(str(error))}")
        if not ended and time.monotonic() - self._since > WAIT_S:
            yield from self._too_large()

    def _check_here(self) -> None:
        try:
            with socket.socket(socket.AF_UNIX) as knocking:
                knocking.connect(self._raylet)
        except OSError as error:
            raise UserError(
                "--executor ray: this machine's node of the Ray cluster has ended; start it, and run the same command "
                "again: every run goes on from its last epoch"
            ) from error

    def _too_large(self) -> Iterator[Event]:
        """Tell the user where no node is large enough for any run."""
        import ray

        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        wanted = {"CPU": self.cores, "GPU": self.gpus, "memory": (self.memory_gb or 0) * 1e9}
        if any(all(node.get(kind, 0) >= amount for kind, amount in wanted.items()) for node in nodes):
            self._since = time.monotonic()
            return
        self._since = math.inf  # no second note until a run ends
        asked = [plural(self.cores, "core")]
        asked += [f"{self.gpus:g} GPU{'s' if self.gpus > 1 else ''}"] if self.gpus else []
        asked += [f"{self.memory_gb:g} GB"] if self.memory_gb else []
        largest = max((node.get("CPU", 0) for node in nodes), default=0)
        note = (
            f"waits: no node of the cluster has {', '.join(asked)} for a run ({plural(len(nodes), 'node')}, of at most "
            f"{plural(int(largest), 'core')}); add one, or stop and ask for less"
        )
        yield from (Event(name, {"note": note}) for name, _ in list(self._runs.values())[:1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Leave the cluster, which ends the runs that are left."""
        import ray

        for reference in self._runs:
            with suppress(ray.exceptions.RayError):
                ray.cancel(reference, force=True)
        ray.shutdown()


def _work(task: NodeTask, home: Any) -> tuple[int, str]:
    """Work a run on a node, whether or not it shares the driver's disk."""
    shares = RunFolder(Path(task.folder)).job.is_file()
    return work_on_node(task) if shares else work_away(task, home)


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep this process's handler of SIGTERM, which Ray replaces by one that prints a trace."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


def _knock(address: str) -> None:
    """Raises OSError or ValueError where nothing listens at an address: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError("expected HOST:PORT")
    socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
