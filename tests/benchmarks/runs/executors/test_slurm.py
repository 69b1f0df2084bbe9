"""Runs through submitit, whose own executor works them on this machine as Slurm would; on Slurm, where it answers."""

from __future__ import annotations

import shutil
import signal
import subprocess
import threading
from pathlib import Path

import psutil
import pytest
from run_helpers import cancelled_where_told, plan_of, run, wait_for

from diarbench.benchmarks.runs.executors import slurm as executor_module
from diarbench.benchmarks.runs.executors.slurm import SlurmExecutor
from diarbench.benchmarks.runs.status import cancel
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.errors import UserError
from diarbench.reports.results.comparison import Comparison

pytest.importorskip("submitit")


def test_where_slurm_is_not_installed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"--executor slurm: .*; run this command on a login node"):
        SlurmExecutor(tmp_path, cores=1)


@pytest.mark.slow
def test_a_run_that_exceeds_its_time_goes_on_from_its_last_epoch(
    dummy: None, ami_mini: Dataset, tmp_path: Path
) -> None:
    """Slurm warns a job before its time limit by SIGUSR2, upon which submitit puts it into the queue again."""
    plan = plan_of(ami_mini, "scratch")
    folder = tmp_path / "out" / plan.job.name
    executor = SlurmExecutor(tmp_path / "log", cores=1, cluster="local")
    results: list[tuple[Comparison, str]] = []

    def work() -> None:
        results.append(run(tmp_path / "out", plan, executor=executor))

    driver = threading.Thread(target=work, daemon=True)
    driver.start()
    wait_for(lambda: (folder / "checkpoints" / "last.ckpt").is_file())
    ((submitted, _),) = executor._runs.values()
    (task,) = psutil.Process(int(submitted.job_id)).children()
    task.send_signal(signal.SIGUSR2)
    driver.join(600)
    ((comparison, shown),) = results
    assert comparison.runs[0].state == "done", comparison.runs[0].failure
    assert any("Requeued job" in path.read_text() for path in (tmp_path / "log").iterdir() if path.suffix != ".pkl")
    assert f"{plan.job.name}: done\n" in shown


@pytest.fixture
def slurm() -> None:
    """Slurm with four cores or fewer, so that some runs wait."""
    if not shutil.which("sinfo") or subprocess.run(["sinfo"], capture_output=True).returncode:
        pytest.skip("no Slurm cluster answers here")


@pytest.mark.slow
def test_a_cancelled_run_leaves_the_other_jobs_of_its_array_in_the_queue(
    slurm: None, dummy: None, ami_mini: Dataset, tmp_path: Path
) -> None:
    """``scancel --state=PENDING`` would take them all out."""
    plans = [plan_of(ami_mini, "scratch", seed) for seed in range(1, 6)]
    names = [plan.job.name for plan in plans]
    results: list[tuple[Comparison, str]] = []

    def work() -> None:
        executor = SlurmExecutor(tmp_path / "log", cores=2)
        results.append(run(tmp_path / "out", *plans, executor=executor))

    driver = threading.Thread(target=work, daemon=True)
    driver.start()
    wait_for(lambda: (tmp_path / "out" / names[0] / "log.txt").exists())
    assert cancel(tmp_path / "out", names[-1:]) == [(names[-1], None)]
    driver.join(600)
    ((comparison, _),) = results
    assert [run.failure for run in comparison.runs] == [*[None] * 4, "cancelled by 'bench cancel'"]


@pytest.mark.slow
def test_a_job_that_slurm_ends_without_a_result_has_failed_with_slurm_s_reason(
    slurm: None, dummy: None, ami_mini: Dataset, tmp_path: Path
) -> None:
    executor = SlurmExecutor(tmp_path / "log", cores=1)
    plan = plan_of(ami_mini, "hang")
    results: list[tuple[Comparison, str]] = []

    def work() -> None:
        results.append(run(tmp_path / "out", plan, executor=executor))

    driver = threading.Thread(target=work, daemon=True)
    driver.start()
    wait_for(lambda: (tmp_path / "out" / plan.job.name / "log.txt").exists())
    ((submitted, _),) = executor._runs.values()
    subprocess.run(["scancel", submitted.job_id], check=True)
    driver.join(300)
    ((comparison, _),) = results
    failure = comparison.runs[0].failure
    assert failure and f"Slurm job {submitted.job_id}: " in failure and "CANCELLED" in failure


@pytest.mark.slow
def test_why_no_job_starts_is_told_and_a_run_that_waits_can_be_cancelled(
    slurm: None, dummy: None, ami_mini: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor_module, "WAIT_S", 1)
    executor = SlurmExecutor(tmp_path / "log", cores=1000)
    shown = cancelled_where_told(tmp_path / "out", plan_of(ami_mini, "scratch"), executor)
    assert "waits in Slurm's queue (" in shown
