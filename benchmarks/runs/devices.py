"""The devices that runs ask for, here: ``python -m diarbench.benchmarks.runs.devices`` reads a Demand.

The process that starts runs does not import torch, which takes seconds, and holds no memory of a GPU. So another
process is asked, in the environment that works the runs: each has its own torch, for drivers of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from diarbench.backends.recipes.schema import Recipe
from diarbench.backends.training.precision import check_precision
from diarbench.benchmarks.runs.environment import resolve_device
from diarbench.benchmarks.runs.executors.local import last_line
from diarbench.benchmarks.runs.interpreters import ISOLATED, run_interpreter
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.names import plural
from diarbench.datasets.io.records import Record
from diarbench.reports.results.job import Job


class Demand(Record):
    """What a run asks of a machine."""

    device: str
    devices: int
    """That train together."""
    precision: str

    @classmethod
    def of(cls, job: Job) -> Demand:
        """That of a job, which may train nothing."""
        precision = Recipe(**job.recipe).precision if job.train else "32-true"
        return cls(device=job.device, devices=job.devices if job.train else 1, precision=precision)

    def check(self) -> None:
        """Raises UserError where this machine and this environment's torch do not have it."""
        device = resolve_device(self.device)
        check_precision(device, self.precision)
        if device.startswith("cuda"):
            import torch

            if self.devices > (there := torch.cuda.device_count()):
                raise UserError(f"--devices {self.devices}: this machine has {plural(there, 'CUDA device')}")


def check_devices(jobs: Iterable[Job]) -> None:
    """Raises UserError where this machine does not have the devices that jobs ask for, or not in their precision.

    With ``auto`` a run takes what there is, so nothing is asked.
    """
    for python, demand in dict.fromkeys((job.python, Demand.of(job)) for job in jobs):
        if demand.device == "cpu":
            check_precision(demand.device, demand.precision)
        elif demand.device != "auto":
            _ask(python, demand)


def _ask(python: str | None, demand: Demand) -> None:
    where = f"--device {demand.device}"
    arguments = [*(ISOLATED if python else ()), "-m", "diarbench.benchmarks.runs.devices"]
    done = run_interpreter(python or sys.executable, where, arguments, demand.model_dump_json())
    if refusal := done.stdout.strip():
        raise UserError(refusal)
    if done.returncode:  # torch cannot be imported there
        raise UserError(f"{where}: {last_line(done.stderr) or f'exit {done.returncode}'}; see 'bench doctor'")


def main() -> None:
    """Print why the demand cannot be met, or nothing where it can."""
    try:
        Demand.model_validate_json(sys.stdin.read()).check()
    except UserError as error:
        sys.stdout.write(f"{error}\n")


if __name__ == "__main__":
    main()
