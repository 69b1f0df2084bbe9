"""Profile each phase of a run with py-spy, as a flame graph that any browser opens."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from diarbench.datasets.io.errors import UserError

ALLOW_TRACER = 0x59616D61
"""Linux's PR_SET_PTRACER: allows a child process to trace its parent where the kernel restricts tracing."""

STOPPING_S = 120


def py_spy() -> str:
    """Path of the program. Raises UserError where it is not installed."""
    in_environment = Path(sys.executable).with_name("py-spy")
    program = str(in_environment) if in_environment.is_file() else shutil.which("py-spy")
    if program is None:
        raise UserError("--profile needs py-spy: pip install 'diarbench[throughput]'")
    return program


class Profiler:
    """Samples this process during a phase and writes ``PHASE.svg`` to the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.program = folder, py_spy()
        self.recording: subprocess.Popen[str] | None = None
        self.first_line = ""
        self.notes: tuple[str, ...] = ()
        """The phases that could not be profiled, and why."""

    def begin(self, phase: str) -> None:
        """End the profile of the previous phase and start that of ``phase``."""
        self.end()
        self.folder.mkdir(parents=True, exist_ok=True)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(ALLOW_TRACER, ctypes.c_ulong(2**64 - 1), 0, 0, 0)
        self.target = self.folder / f"{phase}.svg"
        self.target.unlink(missing_ok=True)
        # py-spy leaves out idle threads by default; --nonblocking samples without pausing the process.
        record = ["record", "--pid", str(os.getpid()), "--output", str(self.target), "--rate", "50", "--nonblocking"]
        self.recording = subprocess.Popen(
            [self.program, *record],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.recording.stdout is not None
        self.first_line = self.recording.stdout.readline()  # printed once sampling has started or failed

    def end(self) -> None:
        """Write the profile of the current phase, if there is one."""
        if self.recording is None:
            return
        self.recording.send_signal(signal.SIGINT)
        try:
            output, _ = self.recording.communicate(timeout=STOPPING_S)
        except subprocess.TimeoutExpired:
            self.recording.kill()
            output, _ = self.recording.communicate()
        self.recording = None
        if not self.target.is_file():
            lines = [line for line in (self.first_line + output).splitlines() if line.strip()]
            reason = lines[-1] if lines else "py-spy gave no reason"
            self.notes = (*self.notes, f"no profile of {self.target.stem}: {reason}")
