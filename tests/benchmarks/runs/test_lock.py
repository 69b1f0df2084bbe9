from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from diarbench.benchmarks.runs.lock import STALE_S, hold
from diarbench.datasets.io.errors import UserError


def write_holder(folder: Path, host: str, age_s: float) -> Path:
    path = folder / ".lock"
    path.write_text(json.dumps({"host": host, "pid": 1, "since": "2026-01-01 00:00:00"}))
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def test_a_second_command_in_a_folder_is_refused_and_a_third_after_it_is_not(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from diarbench.benchmarks.runs.lock import hold\n"
        f"with hold(Path({str(tmp_path)!r})): print('held', flush=True); input()"
    )
    first = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None and first.stdout.readline() == "held\n"
    message = rf"{tmp_path}: a command is running here since .* by process {first.pid} on {socket.gethostname()}"
    with pytest.raises(UserError, match=message), hold(tmp_path):
        pass
    first.kill()
    first.wait()
    with hold(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
    assert not (tmp_path / ".lock").exists()


def test_a_lock_of_another_machine_counts_as_long_as_it_is_touched(tmp_path: Path) -> None:
    path = write_holder(tmp_path, "elsewhere", STALE_S / 2)
    message = f"process 1 on elsewhere; if that machine is gone, remove {path}"
    with pytest.raises(UserError, match=message), hold(tmp_path):
        pass
    write_holder(tmp_path, "elsewhere", 2 * STALE_S)
    with hold(tmp_path):
        pass


@pytest.mark.parametrize("content", ("", "not JSON", "{}"))
def test_a_damaged_lock_is_no_lock(content: str, tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text(content)
    with hold(tmp_path):
        pass


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="cannot be written"), hold(tmp_path / "out"):
        pass
    assert not (tmp_path / "elsewhere").exists()
