"""Runs through submitit, whose own executor works them on this machine as Slurm would."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import psutil
import pytest
from run_helpers import plan_of, run, wait_for

from diarbench.benchmarks.runs.executors.slurm import SlurmExecutor
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
