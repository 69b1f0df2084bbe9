"""`bench throughput`: sessions are kept, told and compared; a change is told from noise."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from diarbench.benchmarks.measurements import change, find_session, plot_history, read_session, stored
from diarbench.reports.records import UserError

pytest.importorskip("pytest_benchmark")
BENCH = [sys.executable, "-m", "diarbench.benchmarks.cli", "throughput"]


def bench(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [*BENCH, *map(str, arguments)]
    # pytest-benchmark measures nothing in a process that was told it is one of several.
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    return subprocess.run(command, cwd=cwd, env=alone, capture_output=True, text=True, check=False)


def session(store: Path, number: int, processor: str = "P", **figures: tuple[float, float, int, float]) -> Path:
    """A stored session; a figure is median, standard deviation, rounds and the kernel's seconds."""
    benchmarks: list[dict[str, Any]] = [
        {
            "fullname": f"test_x_speed.py::{name}",
            "name": name,
            "group": "g",
            "stats": {"median": median, "stddev": deviation, "rounds": rounds},
            "extra_info": {"calibration_s": kernel},
        }
        for name, (median, deviation, rounds, kernel) in figures.items()
    ]
    path = store / "Linux" / f"{number:04}_throughput.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    machine = {"diarbench": {"processor": processor, "cores": 2, "device": "cpu", "git": "abc"}}
    content = {"benchmarks": benchmarks, "machine_info": machine, "commit_info": {}, "datetime": "2026-01-01T10:00:00"}
    path.write_text(json.dumps(content))
    return path


def test_a_change_is_told_from_noise(tmp_path: Path) -> None:
    session(tmp_path, 1, slow=(1.0, 0.01, 5, 0.1), noisy=(1.0, 0.2, 5, 0.1), once=(1.0, 0.0, 1, 0.1), gone=(1, 0, 1, 1))
    session(tmp_path, 2, slow=(1.2, 0.012, 5, 0.1), noisy=(1.2, 0.24, 5, 0.1), once=(1.05, 0.0, 1, 0.1))
    a, b = (find_session(name, tmp_path) for name in ("1", "0002"))
    became = {name.partition("::")[2]: change(a.measures[name], b.measures[name]) for name in b.measures}
    assert became["slow"].seconds == pytest.approx(0.2) and became["slow"].kernels == pytest.approx(0.2)
    assert became["slow"].noise == pytest.approx(2 * (0.01**2 + 0.01**2) ** 0.5)
    assert [became[name].is_noise(True) for name in ("slow", "noisy", "once")] == [False, True, False]
    plot_history([a, b], tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")

    told = bench("compare", 1, 2, "--store", tmp_path, "--fail-above", "10%", cwd=tmp_path)
    assert told.returncode == 1
    assert told.stderr == "bench: slower by more than 10%: x_speed::slow by 20%\n"
    assert "+20.0%" in told.stdout and "noise" in told.stdout and "Only in 0001: x_speed::gone" in told.stdout
    assert bench("compare", 1, 2, "--store", tmp_path, "--fail-above", "30%", cwd=tmp_path).returncode == 0
    assert bench("compare", 2, 1, "--store", tmp_path, "--fail-above", "10%", cwd=tmp_path).returncode == 0
    told = bench("history", "--store", tmp_path, "--plot", "history.svg", cwd=tmp_path)
    assert told.returncode == 0 and "0001" in told.stdout and "1.2 ±2%" in told.stdout
    assert "<svg" in (tmp_path / "history.svg").read_text()


def test_another_machine_is_judged_in_kernels(tmp_path: Path) -> None:
    """Twice the seconds on a machine half as fast are no change."""
    session(tmp_path, 1, **{"x[a]": (1.0, 0.01, 5, 0.1)})
    session(tmp_path, 2, processor="Q", **{"x[a]": (2.0, 0.02, 5, 0.2)})
    told = bench("compare", 1, 2, "--store", tmp_path, "--fail-above", "10%", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert "+100.0%" in told.stdout and "judged in kernels" in told.stdout
    told = bench("history", "--store", tmp_path, cwd=tmp_path)
    assert "x[a]" in told.stdout and told.stdout.count("x_speed::") == 1


def test_what_is_no_session_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"benchmarks": 3}')
    with pytest.raises(UserError, match="not a session of 'bench throughput'"):
        read_session(tmp_path / "x.json")
    with pytest.raises(UserError, match=r"no session 3 in .*; it holds none"):
        find_session("3", tmp_path)
    told = bench("--suite", "scorin", cwd=tmp_path)
    assert told.returncode == 1 and "no suite 'scorin' (did you mean scoring?)" in told.stderr
    session(tmp_path, 1, x=(1.0, 0.01, 5, 0.1))
    told = bench("compare", 1, 1, "--store", tmp_path, "--fail-above", "ten", cwd=tmp_path)
    assert told.returncode == 1 and "expected a percentage such as 10%" in told.stderr
    assert bench("history", "--store", tmp_path / "empty", cwd=tmp_path).returncode == 1


@pytest.mark.slow
def test_a_suite_is_run_and_kept(tmp_path: Path) -> None:
    """From any folder, whatever is configured there."""
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    told = bench("--suite", "report", cwd=tmp_path)
    assert told.returncode == 0, told.stdout + told.stderr
    (path,) = stored(tmp_path / "throughput")
    kept = read_session(path)
    (measure,) = kept.measures.values()
    assert measure.name == "report_speed::test_report" and measure.rounds == 3
    assert measure.noise is not None and measure.in_kernels is not None
    assert kept.machine["diarbench"]["versions"]["diarbench"] and "report_speed" in told.stdout
