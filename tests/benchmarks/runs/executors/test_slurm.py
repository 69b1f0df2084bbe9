"""Runs through submitit: on stand-ins for Slurm's commands, by its local executor, and on Slurm, where it answers."""

from __future__ import annotations

import os
import pickle
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
from diarbench.reports.results.run_folder import RunFolder

pytest.importorskip("submitit")


def test_where_slurm_is_not_installed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"--executor slurm: .*; run this command on a login node"):
        SlurmExecutor(tmp_path, cores=1)


STAND_INS = {
    "sbatch": """
        tasks=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\)%.*/\\1/p' "$1")
        for task in $(seq 0 "$tasks"); do touch "$QUEUE/4242_$task"; done
        (for task in $(seq 0 "$tasks"); do
            SLURM_JOB_ID=4242 SLURM_ARRAY_JOB_ID=4242 SLURM_ARRAY_TASK_ID=$task bash "$1"
            rm "$QUEUE/4242_$task"
        done) < /dev/null > /dev/null 2>&1 &
        echo Submitted batch job 4242""",
    "srun": """
        while [[ $1 == -* ]]; do
            case $1 in --error) log=$2; shift 2;; --output) shift 2;; *) shift;; esac
        done
        exec 2>> "${log//%A_%a_%t/4242_${SLURM_ARRAY_TASK_ID}_0}"
        if [ "$SLURM_ARRAY_TASK_ID" != 0 ]; then
            echo "slurmstepd: error: *** JOB 4242 ON n1 CANCELLED AT 2026-01-01T00:00:00 ***" >&2
            exit 1
        fi
        exec "$@" """,
    "squeue": """
        for job in $(ls "$QUEUE"); do [[ "$*" == *%r* ]] && echo "$job None" || echo "$job"; done""",
    "scancel": "",
}
"""Slurm's commands, for arrays of jobs: the first job is worked, and Slurm ends the others before they start."""


@pytest.fixture
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Slurm's commands on PATH. Returns the folder that has a file a job in the queue."""
    bin_, queue = tmp_path / "bin", tmp_path / "queue"
    bin_.mkdir()
    queue.mkdir()
    for name, script in STAND_INS.items():
        (bin_ / name).write_text(f"#!/bin/bash\n{script}\n")
        (bin_ / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("QUEUE", str(queue))
    monkeypatch.setattr(executor_module, "QUEUE_S", 0)
    monkeypatch.setattr(executor_module, "POLL_S", 0.2)
    return queue


class Planted:
    """Creates a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_planted_pickle_is_not_read_and_the_links_of_submitit_stop_nothing(
    stand_ins: Path, dummy: None, ami_mini: Dataset, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for folder in (out / ".slurm", out / ".slurm-planted"):
        folder.mkdir(parents=True)
        for name in ("4242_0_0_result.pkl", "4242_0_submitted.pkl", "4242_1_0_result.pkl"):
            (folder / name).write_bytes(pickle.dumps(Planted(tmp_path / "code-ran")))
        (folder / ".submission_file_1.sh").symlink_to(folder / "4242_submission.sh")
    plans = [plan_of(ami_mini, "scratch", seed) for seed in (1, 2)]
    comparison, _ = run(out, *plans, executor=SlurmExecutor(out, cores=1))
    assert not (tmp_path / "code-ran").exists()
    done, lost = comparison.runs
    assert (done.state, done.failure) == ("done", None)
    reason = "Slurm job 4242_1: JOB 4242 ON n1 CANCELLED AT 2026-01-01T00:00:00; see slurm.log"
    assert lost.failure and reason in lost.failure
    assert "CANCELLED" in (out / lost.name / "slurm.log").read_text()
    assert not (out / done.name / "slurm.log").exists()
    assert (out / "results.json").is_file()
    assert not list(out.glob(".slurm*"))


def test_the_folder_of_an_earlier_command_stays_while_a_job_of_it_is_in_the_queue(
    stand_ins: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    earlier = out / ".slurm-earlier"
    earlier.mkdir(parents=True)
    (earlier / "4242_0_submitted.pkl").touch()
    (stand_ins / "4242_0").touch()
    with SlurmExecutor(out, cores=1):
        (own,) = set(out.iterdir()) - {earlier}
        assert own.name.startswith(".slurm-") and own.stat().st_mode & 0o777 == 0o700
    assert list(out.rglob("*")) == [earlier, earlier / "4242_0_submitted.pkl"]
    (stand_ins / "4242_0").unlink()
    with SlurmExecutor(out, cores=1):
        assert not earlier.exists()
    assert not list(out.iterdir())


def test_jobs_that_go_on_keep_their_folder_and_a_refusal_leaves_none(
    stand_ins: Path, dummy: None, ami_mini: Dataset, tmp_path: Path
) -> None:
    out, job = tmp_path / "out", plan_of(ami_mini, "scratch").job
    out.mkdir()
    (tmp_path / "bin" / "sbatch").write_text(f"#!/bin/bash\ntouch {stand_ins}/4242\necho Submitted batch job 4242")
    with pytest.raises(KeyboardInterrupt), SlurmExecutor(out, cores=1) as executor:
        executor.submit(RunFolder(out / job.name), job)
        list(executor.poll())
        raise KeyboardInterrupt
    (kept,) = out.glob(".slurm-*")
    assert (kept / "4242_submitted.pkl").is_file()
    (stand_ins / "4242").unlink()
    (tmp_path / "bin" / "sbatch").write_text("#!/bin/bash\necho sbatch: error: invalid partition >&2\nexit 1")
    with (
        pytest.raises(UserError, match="sbatch refused the jobs: sbatch: error: invalid partition"),
        SlurmExecutor(out, cores=1) as executor,
    ):
        executor.submit(RunFolder(out / job.name), job)
        list(executor.poll())
    assert not list(out.glob(".slurm*"))


@pytest.mark.slow
def test_a_run_that_exceeds_its_time_goes_on_from_its_last_epoch(
    dummy: None, ami_mini: Dataset, tmp_path: Path
) -> None:
    """Slurm warns a job before its time limit by SIGUSR2, upon which submitit puts it into the queue again."""
    plan = plan_of(ami_mini, "scratch")
    folder = tmp_path / "out" / plan.job.name
    executor = SlurmExecutor(tmp_path / "out", cores=1, cluster="local")
    results: list[tuple[Comparison, str]] = []

    def work() -> None:
        results.append(run(tmp_path / "out", plan, executor=executor))

    driver = threading.Thread(target=work, daemon=True)
    driver.start()
    wait_for(lambda: (folder / "checkpoints" / "last.ckpt").is_file())
    ((submitted, _),) = executor._runs.values()
    (task,) = psutil.Process(int(submitted.job_id)).children()
    task.send_signal(signal.SIGUSR2)
    wait_for(lambda: "Requeued job" in submitted.paths.stdout.read_text())
    driver.join(600)
    ((comparison, shown),) = results
    assert comparison.runs[0].state == "done", comparison.runs[0].failure
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
        executor = SlurmExecutor(tmp_path / "out", cores=2)
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
    executor = SlurmExecutor(tmp_path / "out", cores=1)
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
    executor = SlurmExecutor(tmp_path / "out", cores=1000)
    shown = cancelled_where_told(tmp_path / "out", plan_of(ami_mini, "scratch"), executor)
    assert "waits in Slurm's queue (" in shown
