"""A profile of each of a run's phases, by py-spy: a flame graph that any browser opens."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from diarbench.reports.records import UserError

ALLOW_TRACER = 0x59616D61
"""Linux's PR_SET_PTRACER: a child may look into its parent, where the kernel would forbid it."""
STOPPING_S = 120


def py_spy() -> str:
    """The program. Raises UserError where it is not installed."""
    beside = Path(sys.executable).with_name("py-spy")
    found = str(beside) if beside.is_file() else shutil.which("py-spy")
    if found is None:
        raise UserError("--profile needs py-spy: pip install 'diarbench[throughput]'")
    return found


class Profiler:
    """Samples this process while a phase lasts, and leaves ``PHASE.svg`` in the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.program = folder, py_spy()
        self.recording: subprocess.Popen[str] | None = None
        self.said = ""
        self.notes: tuple[str, ...] = ()
        """Of which phases no profile could be made, and why."""

    def begin(self, phase: str) -> None:
        """End the phase before, and follow this one."""
        self.end()
        self.folder.mkdir(parents=True, exist_ok=True)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(ALLOW_TRACER, ctypes.c_ulong(2**64 - 1), 0, 0, 0)
        self.target = self.folder / f"{phase}.svg"
        self.target.unlink(missing_ok=True)
        # What is idle is left out; nothing that is sampled waits for the sampler.
        record = ["record", "--pid", str(os.getpid()), "--output", str(self.target), "--rate", "50", "--nonblocking"]
        self.recording = subprocess.Popen(
            [self.program, *record],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.recording.stdout is not None
        self.said = self.recording.stdout.readline()  # which comes once it samples, or can't

    def end(self) -> None:
        """Write the profile of the phase that is followed, if one is."""
        if self.recording is None:
            return
        self.recording.send_signal(signal.SIGINT)
        try:
            said, _ = self.recording.communicate(timeout=STOPPING_S)
        except subprocess.TimeoutExpired:
            self.recording.kill()
            said, _ = self.recording.communicate()
        self.recording = None
        if not self.target.is_file():
            reason = next(
                (line for line in reversed((self.said + said).splitlines()) if line.strip()), "no reason told"
            )
            self.notes = (*self.notes, f"no profile of {self.target.stem}: {reason}")
