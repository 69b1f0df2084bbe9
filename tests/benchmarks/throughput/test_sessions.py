"""`bench throughput`: storing, showing and comparing sessions; changes within the noise are recognised."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from diarbench.benchmarks.throughput.sessions import change, find_session, plot_history, read_session, stored
from diarbench.datasets.io.errors import UserError

pytest.importorskip("pytest_benchmark")
from diarbench.benchmarks.throughput.test_inference_speed import parameters_with_turns

BENCH = [sys.executable, "-m", "diarbench.benchmarks.cli", "throughput"]


def bench(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [*BENCH, *map(str, arguments)]
    # pytest-benchmark measures nothing in a worker of pytest-xdist.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def session(store: Path, number: int, processor: str = "P", **figures: tuple[float, float, int, float]) -> Path:
    """Store a session; a figure is median, standard deviation, rounds and kernel duration in seconds."""
    benchmarks: list[dict[str, Any]] = [
        {
            "fullname": f"test_x_speed.py::{name}",
            "name": name,
            "group": "g",
            "stats": {"mean": median, "median": median, "stddev": deviation, "rounds": rounds},
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


def test_change_and_noise(tmp_path: Path) -> None:
    session(tmp_path, 1, slow=(1.0, 0.01, 5, 0.1), noisy=(1.0, 0.2, 5, 0.1), once=(1.0, 0.0, 1, 0.1), gone=(1, 0, 1, 1))
    session(tmp_path, 2, slow=(1.2, 0.012, 5, 0.1), noisy=(1.2, 0.24, 5, 0.1), once=(1.05, 0.0, 1, 0.1))
    a, b = (find_session(name, tmp_path) for name in ("1", "0002"))
    changes = {name.partition("::")[2]: change(a.measures[name], b.measures[name]) for name in b.measures}
    assert changes["slow"].seconds == pytest.approx(0.2) and changes["slow"].kernels == pytest.approx(0.2)
    assert changes["slow"].noise == pytest.approx(2 * (0.01**2 + 0.01**2) ** 0.5)
    assert [changes[name].is_noise(True) for name in ("slow", "noisy", "once")] == [False, True, False]
    plot_history([a, b], tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")

    process = bench("compare", 1, 2, "--store", tmp_path, "--fail-above", "10%", cwd=tmp_path)
    assert process.returncode == 1
    assert process.stderr == "bench: slower by more than 10%: x_speed::slow by 20%\n"
    assert "+20.0%" in process.stdout and "noise" in process.stdout and "Only in 0001: x_speed::gone" in process.stdout
    assert bench("compare", 1, 2, "--store", tmp_path, "--fail-above", "30%", cwd=tmp_path).returncode == 0
    assert bench("compare", 2, 1, "--store", tmp_path, "--fail-above", "10%", cwd=tmp_path).returncode == 0
    process = bench("history", "--store", tmp_path, "--plot", "history.svg", cwd=tmp_path)
    assert process.returncode == 0 and "0001" in process.stdout and "1.2 ±2%" in process.stdout
    assert "<svg" in (tmp_path / "history.svg").read_text()


def test_change_equals_pytest_benchmarks_own(tmp_path: Path) -> None:
    """Names and medians are those that pytest-benchmark loads, and so is the change in seconds."""
    from pytest_benchmark.logger import Logger
    from pytest_benchmark.storage.file import FileStorage
    from pytest_benchmark.utils import PercentageRegressionCheck

    for number, median in ((1, 0.8), (2, 1.1)):
        session(tmp_path, number, x=(median, 0.01, 5, 0.1))
    storage = FileStorage(tmp_path, Logger())
    loaded = [data["benchmarks"][0] for _, data in storage.load()]
    measures = [read_session(path).measures[f"x_speed::{loaded[0]['name']}"] for path in stored(tmp_path)]
    assert [measure.median_s for measure in measures] == [entry["stats"]["median"] for entry in loaded]
    check = PercentageRegressionCheck("median", 10)
    percent = check.compute(loaded[1]["stats"], loaded[0]["stats"])
    assert 100 * change(*measures).seconds == pytest.approx(percent)


def test_different_machines_are_compared_in_kernels(tmp_path: Path) -> None:
    """Twice the seconds on a machine with half the speed are no change."""
    session(tmp_path, 1, **{"x[a]": (1.0, 0.01, 5, 0.1)})
    session(tmp_path, 2, processor="Q", **{"x[a]": (2.0, 0.02, 5, 0.2)})
    process = bench("compare", 1, 2, "--store", tmp_path, "--fail-above", "10%", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert "+100.0%" in process.stdout and "compared in kernels" in process.stdout
    process = bench("history", "--store", tmp_path, cwd=tmp_path)
    assert "x[a]" in process.stdout and process.stdout.count("x_speed::") == 1


def test_invalid_sessions_and_options_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"benchmarks": 3}')
    with pytest.raises(UserError, match="not a session of 'bench throughput'"):
        read_session(tmp_path / "x.json")
    with pytest.raises(UserError, match=r"no session 3 in .*; it has no sessions"):
        find_session("3", tmp_path)
    process = bench("--suite", "scorin", cwd=tmp_path)
    assert process.returncode == 1 and "no suite 'scorin' (did you mean scoring?)" in process.stderr
    session(tmp_path, 1, x=(1.0, 0.01, 5, 0.1))
    process = bench("compare", 1, 1, "--store", tmp_path, "--fail-above", "ten", cwd=tmp_path)
    assert process.returncode == 1 and "expected a percentage such as 10%" in process.stderr
    assert bench("history", "--store", tmp_path / "empty", cwd=tmp_path).returncode == 1


@pytest.mark.slow
def test_suite_runs_and_is_stored(tmp_path: Path) -> None:
    """A suite runs from any folder, whatever the pytest configuration there."""
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    process = bench("--suite", "report", cwd=tmp_path)
    assert process.returncode == 0, process.stdout + process.stderr
    (path,) = stored(tmp_path / "throughput")
    stored_session = read_session(path)
    (measure,) = stored_session.measures.values()
    assert measure.name == "report_speed::test_report" and measure.rounds == 3
    assert measure.noise is not None and measure.in_kernels is not None
    assert stored_session.machine["diarbench"]["versions"]["diarbench"] and "report_speed" in process.stdout


def test_no_activity_is_near_the_threshold_at_which_turns_are_compared() -> None:
    """The median is 0.42; the widest gap of all is below the extreme 0.9."""
    activity = np.concatenate([np.linspace(0.40, 0.44, 101), np.linspace(0.46, 0.47, 60), [0.1, 0.9]])
    diarizer = SimpleNamespace(defaults={"onset": 0.5, "offset": 0.5, "pad_s": 0.1})
    chosen = parameters_with_turns(diarizer, {"activity": activity.astype(np.float32).reshape(-1, 1)})
    assert chosen == {"onset": pytest.approx(0.45), "offset": pytest.approx(0.45), "pad_s": 0.1}
