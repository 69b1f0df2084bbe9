"""The runner with a backend of somebody else's: what fails is told, and loses nothing of the others'."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from diarbench.backends import recipes
from diarbench.backends.base import Start
from diarbench.benchmarks import runner, worker
from diarbench.benchmarks.progress import RunProgress
from diarbench.datasets.layout import Dataset
from diarbench.datasets.rttm import Turn, write_rttm
from diarbench.reports.records import Comparison, Job, Run, UserError, Weights, read_record

BENCH = [sys.executable, "-m", "diarbench.benchmarks.cli"]


def plan_of(dataset: Dataset, init: str, seed: int = 1) -> runner.Plan:
    """A plan that was never checked, so that the failure waits for the worker."""
    job = Job(
        backend="dummy",
        dataset=dataset.info.name,
        dataset_root=str(dataset.root),
        fingerprint=dataset.info.fingerprint,
        recipe=recipes.load("quick").model_copy(update={"epochs": 2}).model_dump(),
        seed=seed,
        init=init,
        init_sha256=None,
        device="cpu",
        threads=1,
    )
    return runner.Plan(job, init)


def kill_when(folder: Path, due: Callable[[dict[str, Any]], bool]) -> None:
    """Start the worker of a run's folder and kill it at the first event for which that is due."""
    worker = subprocess.Popen(
        [sys.executable, "-m", "diarbench.benchmarks.worker", folder / "job.json"],
        stdout=subprocess.PIPE,
        env=runner.worker_environment(1),
        text=True,
    )
    assert worker.stdout is not None
    for line in worker.stdout:
        if due(json.loads(line)):
            worker.send_signal(signal.SIGKILL)
    worker.wait()


def run(out: Path, *plans: runner.Plan) -> tuple[Comparison, str]:
    shown = io.StringIO()
    with RunProgress(Console(file=shown, width=200)) as progress:
        return runner.run(out, plans, "bench run ...", progress), shown.getvalue()


@pytest.mark.parametrize(
    ("init", "told"),
    [
        ("complain", "the dummy has no such weights"),
        ("crash", "ZeroDivisionError: the dummy divided by zero (see log.txt)"),
        ("kill", "killed by signal 9 while queued (out of memory?)"),
    ],
)
def test_each_way_to_fail_is_told_and_kept(
    init: str, told: str, dummy: None, ami_mini: Dataset, tmp_path: Path
) -> None:
    comparison, shown = run(tmp_path / "out", plan_of(ami_mini, init))
    assert comparison.runs[0].state == "failed"
    assert comparison.runs[0].failure == told
    assert f"failed: {told}" in shown
    assert read_record(tmp_path / "out" / "results.json", Comparison) == comparison
    assert {row.stage for row in comparison.rows} == {"silence", "one-speaker"}


def test_a_failure_loses_nothing_of_the_others(dummy: None, ami_mini: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    good, bad = plan_of(ami_mini, "pretrained"), plan_of(ami_mini, "crash", seed=2)
    comparison, shown = run(out, bad, good)
    assert [each.state for each in comparison.runs] == ["failed", "done"]
    assert {row.stage for row in comparison.rows if row.run} == {"pretrained", "finetuned"}
    assert "epoch 2/2, dev DER" in shown, "plain lines where there is no terminal"
    folder = out / good.job.name
    left = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    uris = {subset: [r.uri for r in ami_mini.subset(subset)] for subset in ("dev", "test")}
    assert left == {
        *("job.json", "run.json", "state", "epochs.csv", "scores.json", "speed.json", "log.txt"),
        *(f"checkpoints/{name}.ckpt" for name in ("first", "last", "best")),
        *(f"{rttm}/{s}/{uri}.rttm" for rttm in ("rttm", "rttm-pretrained") for s in uris for uri in uris[s]),
    }
    assert (folder / "state").read_text() == "done\n"
    for path, sha256 in comparison.rests_on.items():
        assert len(sha256) == 64 and (out / path).is_file()

    again, shown = run(out, plan_of(ami_mini, "crash", seed=2), good)
    assert f"{good.job.name}: done before" in shown, "what is done is not done again"
    assert again.rows == comparison.rows


def test_more_speakers_than_a_network_tells_apart_are_told_before_it_is_made(ami_mini: Dataset) -> None:
    counts = [len({turn.speaker for turn in r.turns}) for listed in ami_mini.recordings.values() for r in listed]
    most = max(counts)
    start = Start(Weights(origin="x", pretrained=False), max_speakers=most - 1)
    (told,) = worker.crowded(ami_mini, start)
    assert told.startswith(f"{counts.count(most)} of {len(counts)} recordings have more than the {most - 1} speakers")
    assert worker.crowded(ami_mini, dataclasses.replace(start, max_speakers=most)) == ()
    assert worker.crowded(ami_mini, dataclasses.replace(start, max_speakers=None)) == ()


def test_the_same_seed_gives_the_same_bytes(dummy: None, ami_mini: Dataset, tmp_path: Path) -> None:
    for name in ("a", "b"):
        run(tmp_path / name, plan_of(ami_mini, "scratch"))
    assert_same_results(tmp_path / "a", tmp_path / "b")


def test_a_run_killed_at_any_epoch_ends_as_one_never_stopped(dummy: None, ami_mini: Dataset, tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    plan = plan_of(ami_mini, "scratch")
    run(whole, plan)
    folder = stopped / plan.job.name
    folder.mkdir(parents=True)
    (folder / "job.json").write_text((whole / plan.job.name / "job.json").read_text())
    kill_when(folder, lambda event: event.get("epoch") == 2)  # in the midst of the second epoch
    assert (folder / "state").read_text() == "training\n"
    run(stopped, plan)
    assert_same_results(whole, stopped)


def test_two_processes_train_together_and_one_keeps_the_record(dummy: None, ami_mini: Dataset, tmp_path: Path) -> None:
    alone = plan_of(ami_mini, "scratch")
    together = runner.Plan(alone.job.model_copy(update={"devices": 2, "threads": 2}), "")
    run(tmp_path / "1", alone)
    comparison, shown = run(tmp_path / "2", together)
    assert comparison.runs[0].state == "done", comparison.runs[0].failure
    assert comparison.runs[0].trained_audio_s == 600 and shown.count("epoch 2/2") == 1
    tables = [(tmp_path / out / alone.job.name / "epochs.csv").read_text().splitlines() for out in ("1", "2")]
    for a, b in zip(*tables, strict=True):
        if not a.startswith("Epoch"):
            numbers = [[float(cell) for cell in line.split(",")] for line in (a, b)]
            assert numbers[0] == pytest.approx(numbers[1], abs=1e-5, nan_ok=True)


def assert_same_results(a: Path, b: Path) -> None:
    """The same epochs.csv and RTTM, byte for byte, and the same rows."""
    files = sorted(path.relative_to(a) for path in a.rglob("*") if path.suffix in (".csv", ".rttm"))
    assert len(files) > 8
    for file in files:
        assert (a / file).read_bytes() == (b / file).read_bytes(), file
    rows = [read_record(folder / "results.json", Comparison).rows for folder in (a, b)]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_a_run_that_goes_on(how: signal.Signals, dummy: None, ami_mini: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan = plan_of(ami_mini, "hang")
    code = (
        "import sys, typer; from diarbench.benchmarks import cli, runner\n"
        "from diarbench.benchmarks.progress import RunProgress\n"
        "from diarbench.reports.records import Job; from rich.console import Console; from pathlib import Path\n"
        f"job = Job.model_validate_json({plan.job.model_dump_json()!r})\n"
        "cli.app = typer.Typer()\n"
        "@cli.app.command()\n"
        "def hang(): runner.run(Path('out'), [runner.Plan(job, '')], '', RunProgress(Console()))\n"
        "sys.argv = ['bench']\n"
        "cli.main()\n"
    )
    bench = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    log = out / plan.job.name / "log.txt"
    while not log.exists():
        time.sleep(0.05)
    bench.send_signal(how)
    _, said = bench.communicate(timeout=30)
    assert bench.returncode == 130
    assert said == "bench: interrupted; run the same command again to go on\n"
    assert not any(str(log.parent) in found for found in running()), "the worker is still there"
    assert not list(out.glob("results.json"))
    runner.check_out(out, [plan])


def running() -> list[str]:
    import psutil

    return [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]


def test_a_full_disk_is_one_line(
    dummy: None, ami_mini: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files beyond 20 kB are refused to the worker, as a full disk would: a checkpoint fits, the log does too."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        comparison, _ = run_limited(tmp_path / "out", plan_of(ami_mini, "scratch"), hard)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert comparison.state == "failed"
    assert comparison.failure is not None
    assert "cannot be written (File too large); free some room" in comparison.failure


def run_limited(out: Path, plan: runner.Plan, hard: int) -> tuple[Run, str]:
    """Only the worker is held to the limit; the runner that reports must be able to write."""
    shown = io.StringIO()
    folder = out / plan.job.name
    runner.write_record(folder / "job.json", plan.job)
    return runner._work(folder, plan.job, RunProgress(Console(file=shown))), shown.getvalue()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seed": 3}, "which is not asked for now"),
        ({"init": "pretrained"}, "was run with init scratch, not pretrained"),
        ({"fingerprint": "other"}, "was run with fingerprint"),
        ({"recipe": {**recipes.load("quick").model_dump(), "epochs": 3}}, "was run with recipe epochs 2, not 3"),
    ],
)
def test_an_out_of_other_settings_is_refused(
    changes: dict[str, object], told: str, ami_mini: Dataset, tmp_path: Path
) -> None:
    before = plan_of(ami_mini, "scratch")
    runner.write_record(tmp_path / before.job.name / "job.json", before.job)
    runner.check_out(tmp_path, [before])
    with pytest.raises(UserError, match=told):
        runner.check_out(tmp_path, [runner.Plan(before.job.model_copy(update=changes), "")])


def test_a_file_that_vanished_is_told_before_anything_runs(ami_mini: Dataset, tmp_path: Path) -> None:
    shutil.copytree(ami_mini.root, tmp_path / "copy")
    gone = tmp_path / "copy" / "test" / "wav" / f"{ami_mini.subset('test')[0].uri}.wav"
    gone.unlink()
    command = [*BENCH, "run", "--backend", "nemo", "--dataset", tmp_path / "copy", "--out", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert str(gone) in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_dataset_that_changed_since_is_refused(dummy: None, ami_mini: Dataset, tmp_path: Path) -> None:
    planned = plan_of(ami_mini, "scratch")
    changed = runner.Plan(planned.job.model_copy(update={"fingerprint": "of before"}), "")
    comparison, _ = run(tmp_path / "out", changed)
    assert "changed since this run was asked for; choose another --out" in (comparison.runs[0].failure or "")


def test_a_condition_that_leaves_no_speech_is_scored_and_not_compared(
    dummy: None, ami_mini: Dataset, tmp_path: Path
) -> None:
    shutil.copytree(ami_mini.root, tmp_path / "copy")
    overlapped = Dataset.open(tmp_path / "copy")
    for recording in overlapped.subset("test"):
        write_rttm(recording.rttm, recording.uri, [Turn(1, 9, "a"), Turn(1, 9, "b")])
    comparison, _ = run(tmp_path / "out", plan_of(overlapped, "scratch"))
    rows = {row.condition: row for row in comparison.rows if row.stage == "finetuned" and row.subset == "test"}
    assert rows["full"].total == 32 and rows["forgiving"].total == 0 and rows["forgiving"].der is None
    assert {contrast.condition for contrast in comparison.contrasts} == {"full", "fair"}


def test_a_folder_with_anything_else_in_it_is_refused(ami_mini: Dataset, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UserError, match=r"holds thesis.tex, which is no run's; choose an empty --out"):
        runner.check_out(tmp_path, [plan_of(ami_mini, "scratch")])


def test_the_real_command_takes_a_third_party_s_backend(dummy: None, ami_mini: Dataset, tmp_path: Path) -> None:
    command = [
        *BENCH,
        "run",
        "--backend",
        "dummy",
        "--epochs",
        "1",
        "--init",
        "dummy=scratch",
        "--out",
        tmp_path / "out",
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr
    assert "dummy" in done.stdout and "one-speaker" in done.stdout
    report = (tmp_path / "out" / "report.md").read_text()
    (tmp_path / "out" / "report.md").unlink()
    subprocess.run([*BENCH, "report", tmp_path / "out"], check=True, capture_output=True)
    assert (tmp_path / "out" / "report.md").read_text() == report


def test_profiles_and_costs_of_each_phase_are_left(dummy: None, ami_mini: Dataset, tmp_path: Path) -> None:
    planned = plan_of(ami_mini, "scratch")
    profiled = runner.Plan(planned.job.model_copy(update={"profile": True}), "scratch")
    assert profiled.job.hash == planned.job.hash
    comparison, _ = run(tmp_path / "out", profiled)
    (record,) = comparison.runs
    folder = tmp_path / "out" / record.name / "profiles"
    for state in ("training", "diarizing", "scoring"):
        assert (folder / f"{state}.svg").read_text().startswith("<?xml") or f"no profile of {state}" in str(
            record.notes
        )
    assert "worker.py" in (folder / "training.svg").read_text()
    phases = {phase.name: phase for phase in record.phases}
    assert {"loading", "training", "restoring", "diarizing", "oracles", "scoring"} <= set(phases)
    assert all(phase.seconds > 0 and phase.peak_memory_mb > 50 for phase in phases.values())
    assert phases["diarizing"].audio_s == pytest.approx(sum(r.duration_s for r in ami_mini.subset("test")))
