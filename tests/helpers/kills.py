"""Commands that are killed at random moments and started again.

By hand, with each kind of run in turn: python tests/helpers/kills.py KILLS OUT. The dummy backend is to be installed.
"""

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
from typing import Any, Literal

import psutil
from run_helpers import assert_same_results, plan_of, run

from diarbench.benchmarks.runs.plan import Plan
from diarbench.datasets.corpora.catalog import open_dataset

HELPERS = Path(__file__).parent

Victim = Literal["driver", "worker", "both", "rank"]

VICTIMS: tuple[Victim, ...] = ("driver", "worker", "both")

KINDS: dict[str, tuple[dict[str, Any], tuple[Victim, ...]]] = {
    "plain": ({}, VICTIMS),
    "two processes": ({"devices": 2, "threads": 2}, ("rank", *VICTIMS)),
    "trackers": ({"loggers": ("tensorboard", "mlflow")}, VICTIMS),
    "large checkpoints": ({"init": "large"}, VICTIMS),
}
"""What is changed in the job, and what is killed."""

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


def run_and_kill(job: str, out: Path, kills: int, kinds: tuple[Victim, ...] = VICTIMS, seed: int = 1) -> list[Path]:
    """Run a job, given as JSON, and kill it so many times: the driver, the worker, both, and so on.

    Where it ends by itself it is begun again in another folder below ``out``. Returns the folders of the comparisons,
    each of which was completed by a command that was left alone.
    """
    moments, victims = random.Random(seed), list(islice(cycle(kinds), kills))
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


def _kill(command: subprocess.Popen[bytes], victim: Victim) -> bool:
    """Kill processes of a command and wait for the end of all of them. Returns False where it ended by itself."""
    if command.returncode is not None:
        return False
    driver = psutil.Process(command.pid)
    workers: list[psutil.Process] = []
    while len(workers) < (2 if victim == "rank" else 1) and command.poll() is None:
        time.sleep(0.002)
        with suppress(psutil.NoSuchProcess):
            workers = driver.children(recursive=True)
    if command.poll() is not None:
        return False
    victims = {"driver": [driver], "worker": workers, "both": [driver, *workers], "rank": workers[1:]}
    for process in victims[victim]:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
    command.wait()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive, f"still there after the {victim} was killed: {alive}"
    return True


def files_of(out: Path) -> set[str]:
    """The files of a comparison, without those that trackers name by host and time."""
    names = {path.relative_to(out).as_posix() for path in out.rglob("*")}
    return {name for name in names if "/mlruns/" not in name and "/tensorboard/" not in name}


def logged(out: Path) -> list[tuple[str, int]]:
    """The figures in MLflow's files, with the number of epochs of each."""
    files = out.glob("*/mlruns/*/*/metrics/**/*")
    return sorted((path.name, len(path.read_text().splitlines())) for path in files if path.is_file())


def main(kills: int, out: Path) -> None:
    """Kill each kind of run; the results and files are those of a run that nothing stopped."""
    for kind, (changes, victims) in KINDS.items():
        folder, job = out / kind.replace(" ", "-"), plan_of(open_dataset("ami-mini"), "scratch").job
        job = job.model_copy(update=changes)
        run(folder / "uninterrupted", Plan(job, ""))
        started = time.monotonic()
        resumed = run_and_kill(job.model_dump_json(), folder, kills // len(KINDS), victims)
        for comparison in resumed:
            assert_same_results(folder / "uninterrupted", comparison)
            assert files_of(comparison) == files_of(folder / "uninterrupted")
            assert logged(comparison) == logged(folder / "uninterrupted")
        seconds = time.monotonic() - started
        print(f"{kind}: {kills // len(KINDS)} kills, {len(resumed)} comparisons, {seconds:.0f} s", flush=True)  # noqa: T201


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
