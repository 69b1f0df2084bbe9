from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from diarbench.datasets.io.lock import STALE_S, HeldError, hold, holder_of


def write_holder(folder: Path, host: str, age_s: float) -> Path:
    path = folder / ".lock.1"
    path.write_text(json.dumps({"host": host, "pid": 1, "since": "2026-01-01 00:00:00"}))
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def locks(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith(".lock"))


def test_a_second_process_in_a_folder_is_refused_and_a_third_after_it_is_not(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from diarbench.datasets.io.lock import hold\n"
        f"with hold(Path({str(tmp_path)!r})): print('held', flush=True); input()"
    )
    first = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None and first.stdout.readline() == "held\n"
    message = rf"{tmp_path}: a command is running here since .* by process {first.pid} on {socket.gethostname()}"
    with pytest.raises(HeldError, match=message), hold(tmp_path):
        pass
    holder = holder_of(tmp_path)
    assert holder and holder.pid == first.pid
    first.kill()
    first.wait()
    assert holder_of(tmp_path) is None and locks(tmp_path) == [".lock.1"]
    with hold(tmp_path):
        assert json.loads((tmp_path / ".lock.2").read_text())["pid"] == os.getpid()
        assert locks(tmp_path) == [".lock.2"]
    assert not locks(tmp_path)


def test_a_lock_of_another_machine_counts_as_long_as_it_is_touched(tmp_path: Path) -> None:
    write_holder(tmp_path, "elsewhere", STALE_S / 2)
    with pytest.raises(HeldError, match="process 1 on elsewhere; wait for it, or stop it"), hold(tmp_path):
        pass
    for age_s in (2 * STALE_S, -2 * STALE_S):
        write_holder(tmp_path, "elsewhere", age_s)
        with hold(tmp_path):
            assert locks(tmp_path) == [".lock.2"]


def test_of_many_processes_that_find_a_lock_abandoned_one_takes_it(tmp_path: Path) -> None:
    write_holder(tmp_path, "elsewhere", 2 * STALE_S)
    code = (
        "import sys; from pathlib import Path; from diarbench.datasets.io.lock import HeldError, hold\n"
        "print('ready', flush=True); input()\n"
        "try:\n"
        f"    with hold(Path({str(tmp_path)!r})): print('held', flush=True); input()\n"
        "except HeldError: print('refused', flush=True)"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    rivals = [subprocess.Popen([sys.executable, "-c", code], text=True, **pipes) for _ in range(4)]
    for answer in (["ready"] * 4, ["held", *["refused"] * 3]):
        heard = [rival.stdout.readline().strip() for rival in rivals if rival.stdout]
        assert sorted(heard) == answer
        for rival in rivals:
            if rival.stdin and rival.poll() is None:
                rival.stdin.write("\n")
                rival.stdin.flush()
    for rival in rivals:
        rival.communicate()
    assert not locks(tmp_path)


def test_a_process_that_stood_still_learns_that_it_lost_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diarbench.datasets.io.lock.TOUCH_S", 0.05)
    lost = threading.Event()
    with hold(tmp_path, lost.set):
        before = (tmp_path / ".lock.1").stat().st_mtime_ns
        assert not lost.wait(0.2) and (tmp_path / ".lock.1").stat().st_mtime_ns > before, "touched"
        (tmp_path / ".lock.2").write_text("another process took over")
        assert lost.wait(10)


@pytest.mark.parametrize("content", ("", "not JSON", "{}", json.dumps({"host": "h" * 1000, "pid": 1, "since": ""})))
def test_a_damaged_lock_is_no_lock(content: str, tmp_path: Path) -> None:
    (tmp_path / ".lock.1").write_text(content)
    with hold(tmp_path):
        assert locks(tmp_path) == [".lock.2"]


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".lock.1").symlink_to(tmp_path / "elsewhere")
    with hold(tmp_path / "out"):
        assert locks(tmp_path / "out") == [".lock.2"]
    assert not (tmp_path / "elsewhere").exists()
