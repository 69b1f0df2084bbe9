"""Runs side by side, and runs that another process works at."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest
from run_helpers import plan_of, run, wait_for

from diarbench.benchmarks.runs.environment import END_WITH_PARENT, worker_environment
from diarbench.benchmarks.runs.executors.command import HELD, worker_command
from diarbench.benchmarks.runs.executors.local import LocalExecutor
from diarbench.benchmarks.runs.plan import Plan
from diarbench.benchmarks.runs.status import cancel, status
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.lock import holder_of
from diarbench.datasets.io.records import write_record
from diarbench.reports.results.comparison import Comparison
from diarbench.reports.results.run_folder import ComparisonFolder, RunFolder


def test_runs_side_by_side_share_the_cores_are_shown_and_can_be_cancelled(
    dummy: None, ami_mini: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    plans = [plan_of(ami_mini, "hang", seed) for seed in (1, 2, 3)]
    names = [plan.job.name for plan in plans]
    results: list[tuple[Comparison, str]] = []
    driver = threading.Thread(target=lambda: results.append(run(tmp_path, *plans, executor=LocalExecutor(2))))
    driver.start()
    wait_for(lambda: all(holder_of(tmp_path / name) for name in names[:2]))
    first, second, third = status(tmp_path)
    assert first.host and second.host and third.host is None and third.state == "queued", "two at a time"
    assert RunFolder(tmp_path / names[0]).read_job().threads == 2

    ((name, holder),) = cancel(tmp_path, [names[0]])
    assert name == names[0] and holder and holder.host == first.host
    wait_for(lambda: holder_of(tmp_path / names[2]) is not None)  # the third takes its place
    assert status(tmp_path)[0].state == "failed" and status(tmp_path)[1].host, "the others go on"
    assert [name for name, _ in cancel(tmp_path)] == names[1:]
    driver.join(60)
    ((comparison, shown),) = results
    assert [each.failure for each in comparison.runs] == ["cancelled by 'bench cancel'"] * 3
    assert f"1/3 {names[0]}: failed: cancelled by 'bench cancel'" in shown
    assert cancel(tmp_path) == []

    again, shown = run(tmp_path, *plans, retry_failed=False)
    assert again.runs == comparison.runs
    assert f"{names[2]}: failed before: cancelled by 'bench cancel'" in shown


def test_a_line_that_is_no_event_does_not_keep_the_command_waiting(ami_mini: Dataset, tmp_path: Path) -> None:
    interpreter = tmp_path / "python"
    interpreter.write_text('#!/bin/sh\necho \'{"stage": \'\necho "no toolkit here" >&2\nexit 3\n')
    interpreter.chmod(0o755)
    job = plan_of(ami_mini, "scratch").job.model_copy(update={"python": str(interpreter)})
    comparison, _ = run(tmp_path / "out", Plan(job, "scratch"))
    assert comparison.runs[0].failure == "exit 3 while queued (no toolkit here)"


def test_a_run_that_another_process_works_at_is_waited_for_and_not_worked_twice(
    dummy: None, ami_mini: Dataset, tmp_path: Path
) -> None:
    """As after a driver on a cluster was killed, whose runs went on."""
    plan = plan_of(ami_mini, "scratch")
    folder = ComparisonFolder(tmp_path).run(plan.job.name)
    write_record(folder.job, plan.job)
    variables = {key: value for key, value in worker_environment(1).items() if key != END_WITH_PARENT}
    command = worker_command(folder, plan.job)
    worker = subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL)
    wait_for(lambda: holder_of(folder.path) is not None)
    rival = subprocess.run(command, env=variables, check=False, capture_output=True)
    assert rival.returncode == HELD
    comparison, shown = run(tmp_path, plan)
    assert worker.wait() == 0
    assert f"goes on by process {worker.pid} on " in shown
    assert "epoch 2/2, dev DER" in shown and f"{plan.job.name}: done\n" in shown
    assert comparison.runs[0].state == "done"
    late = subprocess.run(command, env=variables, check=False, capture_output=True)
    assert (late.returncode, late.stdout) == (0, b""), "a second worker finds the run done"
