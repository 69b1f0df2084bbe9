"""Commands that are killed at random moments and started again; by hand: python tests/helpers/kills.py KILLS OUT."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from itertools import count, cycle, islice
from pathlib import Path
from typing import Literal

import psutil

HELPERS = Path(__file__).parent

VICTIMS: tuple[Literal["driver", "worker", "both"], ...] = ("driver", "worker", "both")

MOST_CHANGES = 10
"""A command is killed after at most so many changes of its folder since it was started."""

DRIVER = """
import sys
from pathlib import Path
from run_helpers import run
from diarbench.benchmarks.runs.plan import Plan
from diarbench.reports.results.job import Job
run(Path(sys.argv[1]), Plan(Job.model_validate_json(sys.argv[2]), ""))
"""


def run_and_kill(job: str, out: Path, kills: int, seed: int = 1) -> list[Path]:
    """Run a job, given as JSON, and kill it so many times: the driver, the worker, both, and so on.

    Where it ends by itself it is begun again in another folder below ``out``. Returns the folders of the comparisons,
    each of which was completed by a command that was left alone.
    """
    moments, victims = random.Random(seed), list(islice(cycle(VICTIMS), kills))
    folders: list[Path] = []
    for number in count(1):
        folder = out / str(number)
        folders.append(folder)
        while victims:
            command = _start(folder, job)
            _wait_for_changes(command, folder, moments.randint(1, MOST_CHANGES))
            if not _kill(command, victims[-1]):
                break
            victims.pop()
        else:
            assert _start(folder, job).wait() == 0
            return folders
    raise AssertionError


def _start(folder: Path, job: str) -> subprocess.Popen[bytes]:
    path = os.pathsep.join([str(HELPERS), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen([sys.executable, "-c", DRIVER, folder, job], env={**os.environ, "PYTHONPATH": path})


def _wait_for_changes(command: subprocess.Popen[bytes], folder: Path, changes: int) -> None:
    """Wait until files below the folder changed so many times, or the command ended."""
    before = _state(folder)
    while changes and command.poll() is None:
        time.sleep(0.002)
        if (now := _state(folder)) != before:
            before, changes = now, changes - 1


def _state(folder: Path) -> dict[str, int]:
    state = {}
    for path in folder.rglob("*"):
        with suppress(OSError):
            state[str(path)] = path.stat().st_mtime_ns
    return state


def _kill(command: subprocess.Popen[bytes], victim: Literal["driver", "worker", "both"]) -> bool:
    """Kill processes of a command and wait for the end of all of them. Returns False where it ended by itself."""
    driver = psutil.Process(command.pid)
    workers: list[psutil.Process] = []
    while not workers and command.poll() is None:
        time.sleep(0.002)
        with suppress(psutil.NoSuchProcess):
            workers = driver.children(recursive=True)
    if command.poll() is not None:
        return False
    for process in {"driver": [driver], "worker": workers, "both": [driver, *workers]}[victim]:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
    command.wait()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive, f"still there after the {victim} was killed: {alive}"
    return True


if __name__ == "__main__":
    from run_helpers import plan_of

    from diarbench.datasets.corpora.catalog import open_dataset

    job = plan_of(open_dataset("ami-mini"), "scratch").job
    run_and_kill(job.model_dump_json(), Path(sys.argv[2]), int(sys.argv[1]))
