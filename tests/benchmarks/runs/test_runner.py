"""The runner with a third party's backend: failures are reported and do not affect the other runs."""

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
from typing import Any, Literal

import pytest
from datasets_on_disk import accept_files
from kills import run_and_kill
from places import TESTS
from rich.console import Console
from run_helpers import assert_same_results, plan_of, run, wait_for

from diarbench.backends.base import InitialWeights
from diarbench.backends.objective import Objective
from diarbench.backends.recipes import load as recipes
from diarbench.benchmarks.runs import runner
from diarbench.benchmarks.runs.comparison import DatasetComparison
from diarbench.benchmarks.runs.evaluation import queued_run, too_many_speakers_warning
from diarbench.benchmarks.runs.executors.local import LocalExecutor
from diarbench.benchmarks.runs.plan import Plan, check_out
from diarbench.benchmarks.runs.progress import RunProgress
from diarbench.benchmarks.runs.timing import Stopwatch
from diarbench.benchmarks.runs.worker import Worker
from diarbench.datasets.dataset import Dataset, Subset
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.records import read_record, write_record
from diarbench.datasets.io.rttm import Turn, write_rttm
from diarbench.datasets.verification import watched
from diarbench.reports.results.comparison import Comparison
from diarbench.reports.results.run import Run, Tuning, Weights
from diarbench.reports.results.run_folder import ComparisonFolder, RunFolder

BENCH = [sys.executable, "-m", "diarbench.benchmarks.cli"]


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ("complain", "the dummy has no such weights"),
        ("crash", "ZeroDivisionError: the dummy divided by zero (see log.txt)"),
        ("kill", "killed by signal 9 while queued (out of memory?)"),
    ],
)
def test_each_kind_of_failure_is_reported_and_recorded(
    init: str, message: str, dummy: None, ami_mini: Dataset, tmp_path: Path
) -> None:
    comparison, shown = run(tmp_path / "out", plan_of(ami_mini, init))
    assert comparison.runs[0].state == "failed"
    assert comparison.runs[0].failure == message
    assert f"failed: {message}" in shown
    assert read_record(tmp_path / "out" / "results.json", Comparison) == comparison
    assert {row.stage for row in comparison.rows} == {"silence", "one-speaker"}


def test_a_failure_does_not_affect_other_runs(dummy: None, ami_mini: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    good, bad = plan_of(ami_mini, "pretrained"), plan_of(ami_mini, "crash", seed=2)
    comparison, shown = run(out, bad, good)
    assert [run.state for run in comparison.runs] == ["failed", "done"]
    assert {row.stage for row in comparison.rows if row.run} == {"pretrained", "finetuned"}
    assert "epoch 2/2, dev DER" in shown, "plain lines where there is no terminal"
    folder = out / good.job.name
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    uris = {subset: [r.uri for r in ami_mini.subset(subset)] for subset in ("dev", "test")}
    assert files == {
        *("job.json", "run.json", "state", "epochs.csv", "scores.json", "speed.json", "log.txt"),
        *(f"checkpoints/{name}.ckpt" for name in ("first", "last", "best")),
        *(f"{rttm}/{s}/{uri}.rttm" for rttm in ("rttm", "rttm-pretrained") for s in uris for uri in uris[s]),
    }
    assert (folder / "state").read_text() == "done\n"
    for path, sha256 in comparison.source_hashes.items():
        assert len(sha256) == 64 and (out / path).is_file()

    again, shown = run(out, plan_of(ami_mini, "crash", seed=2), good)
    assert f"{good.job.name}: done before" in shown, "a finished run is not repeated"
    assert again.rows == comparison.rows


def test_more_speakers_than_the_network_can_separate_give_a_warning(ami_mini: Dataset) -> None:
    counts = [len({turn.speaker for turn in r.turns}) for listed in ami_mini.recordings.values() for r in listed]
    most = max(counts)
    start = InitialWeights(Weights(origin="x", pretrained=False), max_speakers=most - 1)
    (warning,) = too_many_speakers_warning(ami_mini, start, Objective())
    assert warning.startswith(
        f"{counts.count(most)} of {len(counts)} recordings have more than the {most - 1} speakers"
    )
    enough, unlimited = (dataclasses.replace(start, max_speakers=each) for each in (most, None))
    assert too_many_speakers_warning(ami_mini, enough, Objective()) == ()
    assert too_many_speakers_warning(ami_mini, unlimited, Objective()) == ()
    assert too_many_speakers_warning(ami_mini, start, Objective(outputs=most)) == ()


@pytest.fixture(scope="module")
def uninterrupted(site: Path, ami_mini: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison of one run that nothing stopped."""
    out = tmp_path_factory.mktemp("uninterrupted") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
        run(out, plan_of(ami_mini, "scratch"))
    return out


def test_the_same_seed_gives_the_same_bytes_where_the_dataset_is_in_another_place(
    dummy: None, ami_mini: Dataset, uninterrupted: Path, tmp_path: Path
) -> None:
    elsewhere = plan_of(ami_mini, "scratch").job.model_copy(update={"dataset_root": "/not/on/this/machine"})
    comparison, _ = run(tmp_path, Plan(elsewhere, ""))
    assert comparison.runs[0].state == "done", comparison.runs[0].failure
    assert_same_results(uninterrupted, tmp_path)


def test_killed_commands_resume_to_the_same_results_and_leave_nothing(
    dummy: None, ami_mini: Dataset, uninterrupted: Path, tmp_path: Path
) -> None:
    """A dozen kills of the driver, the worker and both; tests/helpers/kills.py makes more."""
    files = {path.relative_to(uninterrupted) for path in uninterrupted.rglob("*")}
    for out in run_and_kill(plan_of(ami_mini, "scratch").job.model_dump_json(), tmp_path, 12):
        assert_same_results(uninterrupted, out)
        assert {path.relative_to(out) for path in out.rglob("*")} == files


def test_files_that_change_during_a_run_leave_nothing_in_it(
    dummy: None, ami_mini: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker fails at each change. With restored files it ends with what a run has that nothing disturbed."""
    monkeypatch.setenv("DIARBENCH_CACHE", str(tmp_path / "cache"))
    dataset = Dataset.open(shutil.copytree(ami_mini.root, tmp_path / "set"))
    job = plan_of(dataset, "pretrained").job.model_copy(update={"trials": 4})
    folder = ComparisonFolder(tmp_path / "disturbed").run(job.name)
    write_record(folder.job, job)
    moments: list[tuple[Literal["audio", "rttm", "uem"], Subset, Callable[[dict[str, Any]], bool]]] = [
        ("rttm", "dev", lambda event: event.get("state") == "training"),
        ("audio", "train", lambda event: (event.get("epoch"), event.get("done")) == (1, 1)),
        ("audio", "dev", lambda event: event.get("epoch") == 2 and event["done"] == event["total"]),
        ("audio", "dev", lambda event: "best dev DER" in event.get("stage", "") and event["done"] == 2),
        ("audio", "test", lambda event: event.get("stage") == "pretrained" and event["done"] == 3),
        ("audio", "test", lambda event: event.get("stage") == "tuned" and event["done"] == 3),
        ("uem", "test", lambda event: event.get("state") == "scoring"),
    ]
    for kind, subset, is_moment in moments:
        disturb = Disturbance([getattr(recording, kind) for recording in dataset.subset(subset)], is_moment)
        worker = Worker(folder.path, job, disturb)
        with pytest.raises(UserError, match=r"/set/.*: changed since the dataset was converted; restore it and run"):
            worker.run()
        worker.fail(RuntimeError("Connection closed by peer"))  # which another process of the training had left
        assert ": changed since the dataset was converted; " in str(folder.read_run().failure)
        disturb.restore()
    undisturbed = tmp_path / "undisturbed"
    monkeypatch.setenv("DIARBENCH_CACHE", str(tmp_path / "another cache"))
    for out in (tmp_path / "disturbed", undisturbed):
        comparison, _ = run(out, Plan(job, ""))
        assert comparison.runs[0].state == "done"
    assert_same_results(undisturbed, tmp_path / "disturbed")
    tuned = [read_record(out / job.name / "tuning.json", Tuning) for out in (tmp_path / "disturbed", undisturbed)]
    trials = [[(trial.values, trial.der, trial.error_s) for trial in tuning.trials] for tuning in tuned]
    assert trials[0] == trials[1] and len(trials[0]) == 4
    entries = [{path.name for path in (tmp_path / c / "inference").iterdir()} for c in ("cache", "another cache")]
    assert entries[0] == entries[1]
    # The reference that is copied beside the runs is the one that they were scored against.
    opened = watched(dataset)
    assert DatasetComparison(undisturbed, opened, [], ("test",)).rows
    disturb = Disturbance([recording.rttm for recording in opened.subset("test")], lambda event: True)
    disturb.write("{}")
    with pytest.raises(UserError, match=r"\.rttm: changed since the dataset was converted"):
        DatasetComparison(undisturbed, opened, [], ("test",))


class Disturbance(io.StringIO):
    """The events of a worker; at one of them some files are replaced by others like them, as by ``cp -p``."""

    def __init__(self, paths: list[Path], is_moment: Callable[[dict[str, Any]], bool]) -> None:
        super().__init__()
        self.is_moment, self.right = is_moment, {path: (path.read_bytes(), path.stat()) for path in paths}

    def write(self, text: str) -> int:
        if self.is_moment(json.loads(text)):
            for path, (content, _) in self.right.items():
                self._replace(path, self._other(path.suffix, content))
        return super().write(text)

    def _other(self, suffix: str, content: bytes) -> bytes:
        """Silence in the second half of the audio, every second turn, or the first 20 of 30 seconds of a UEM."""
        if suffix == ".wav":
            return content[: len(content) // 2] + bytes(len(content) - len(content) // 2)
        return b"".join(content.splitlines(keepends=True)[::2]) if suffix == ".rttm" else content.replace(b"30", b"20")

    def restore(self) -> None:
        for path, (content, _) in self.right.items():
            self._replace(path, content)

    def _replace(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        os.utime(path, ns=(self.right[path][1].st_atime_ns, self.right[path][1].st_mtime_ns))


def test_two_processes_train_together_and_one_writes_the_record(dummy: None, ami_mini: Dataset, tmp_path: Path) -> None:
    alone = plan_of(ami_mini, "scratch")
    together = Plan(alone.job.model_copy(update={"devices": 2, "threads": 2}), "")
    run(tmp_path / "1", alone)
    comparison, shown = run(tmp_path / "2", together)
    assert comparison.runs[0].state == "done", comparison.runs[0].failure
    assert comparison.runs[0].trained_audio_s == 600 and shown.count("epoch 2/2") == 1
    tables = [(tmp_path / out / alone.job.name / "epochs.csv").read_text().splitlines() for out in ("1", "2")]
    for a, b in zip(*tables, strict=True):
        if not a.startswith("Epoch"):
            numbers = [[float(cell) for cell in line.split(",")] for line in (a, b)]
            assert numbers[0] == pytest.approx(numbers[1], abs=1e-5, nan_ok=True)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_leaves_a_run_that_can_be_resumed(
    how: signal.Signals, dummy: None, ami_mini: Dataset, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    plan = plan_of(ami_mini, "hang")
    code = (
        "import sys, typer; from diarbench.benchmarks.cli import __main__ as cli\n"
        "from diarbench.benchmarks.runs import runner\n"
        "from diarbench.benchmarks.runs.plan import Plan\n"
        "from diarbench.benchmarks.runs.progress import RunProgress\n"
        "from diarbench.reports.results.job import Job; from rich.console import Console; from pathlib import Path\n"
        f"job = Job.model_validate_json({plan.job.model_dump_json()!r})\n"
        "cli.app = typer.Typer()\n"
        "@cli.app.command()\n"
        "def hang(): runner.run(Path('out'), [Plan(job, '')], '', RunProgress(Console()))\n"
        "sys.argv = ['bench']\n"
        "cli.main()\n"
    )
    bench = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    log = out / plan.job.name / "log.txt"
    while not log.exists() and bench.poll() is None:
        time.sleep(0.05)
    bench.send_signal(how)
    _, stderr = bench.communicate(timeout=30)
    assert bench.returncode == 130
    assert stderr == "bench: interrupted; run the same command again to resume\n"
    assert not any(str(log.parent) in command for command in running_commands()), "the worker is still there"
    assert not list(out.glob("results.json"))
    check_out(out, [plan])
    assert (out / plan.job.name / "state").read_text() == "interrupted\n"
    assert RunFolder(out / plan.job.name).read_run().state == "interrupted"


def test_a_worker_ends_with_a_driver_that_is_killed(dummy: None, ami_mini: Dataset, tmp_path: Path) -> None:
    plan = plan_of(ami_mini, "hang")
    folder = RunFolder(tmp_path / "out" / plan.job.name)
    code = (
        "from pathlib import Path; from run_helpers import run; from diarbench.benchmarks.runs.plan import Plan\n"
        "from diarbench.reports.results.job import Job\n"
        f"run(Path({str(tmp_path / 'out')!r}), Plan(Job.model_validate_json({plan.job.model_dump_json()!r}), ''))\n"
    )
    helpers = os.pathsep.join([str(TESTS / "helpers"), os.environ["PYTHONPATH"]])
    driver = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": helpers})
    wait_for(folder.log.exists)
    driver.kill()
    driver.wait()
    wait_for(lambda: not any(str(folder.path) in command for command in running_commands()))
    assert folder.read_run().state == "interrupted"


def test_a_long_standard_error_does_not_block_a_worker(
    dummy: None, ami_mini: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At its start, Python writes more to the worker's standard error than a pipe holds."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text("import os; os.write(2, b'x' * 300_000)")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), os.environ["PYTHONPATH"]]))
    comparison, _ = run(tmp_path / "out", plan_of(ami_mini, "scratch"))
    assert comparison.runs[0].state == "done"


def test_the_last_words_of_a_worker_that_ends_at_its_start_are_told(ami_mini: Dataset, tmp_path: Path) -> None:
    plan = plan_of(ami_mini, "scratch")
    folder = ComparisonFolder(tmp_path).run(plan.job.name)
    folder.path.mkdir()
    folder.job.write_text("{}")
    record = work_alone(folder, plan)
    assert record.failure is not None
    assert record.failure.startswith("exit 1 while queued (diarbench.datasets.io.errors.UserError: ")
    assert f"{folder.job}: not a valid Job: " in record.failure and record.failure.endswith("; see log.txt)")


def test_a_damaged_file_of_times_is_told_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "speed.json").write_text("{")
    with pytest.raises(
        UserError, match=r"speed\.json: not a valid Speed: .*; remove it, and run the same command again"
    ):
        Stopwatch(tmp_path / "speed.json")


def test_a_damaged_record_of_a_run_costs_that_run_only(dummy: None, ami_mini: Dataset, tmp_path: Path) -> None:
    """And a job.json that was removed, as the message about a damaged one says, costs nothing."""
    plans = [plan_of(ami_mini, "scratch", seed) for seed in (1, 2)]
    before, _ = run(tmp_path, *plans)
    (tmp_path / plans[0].job.name / "run.json").write_text("{")
    removed = tmp_path / plans[1].job.name / "job.json"
    job = removed.read_bytes()
    removed.unlink()
    after, shown = run(tmp_path, *plans)
    assert after.rows == before.rows
    assert shown.count("done before") == 1
    assert removed.read_bytes() == job


def test_output_that_changed_after_scoring_costs_its_run_only(dummy: None, ami_mini: Dataset, tmp_path: Path) -> None:
    plans = [plan_of(ami_mini, "scratch", seed) for seed in (1, 2)]
    run(tmp_path, *plans)
    rttm = next((tmp_path / plans[0].job.name / "rttm" / "test").iterdir())
    rttm.write_text("")
    comparison, _ = run(tmp_path, *plans)
    assert [record.state for record in comparison.runs] == ["failed", "done"]
    assert comparison.runs[0].failure and comparison.runs[0].failure.startswith(f"{rttm}: changed since it was scored")
    assert {row.run for row in comparison.rows} == {None, plans[1].job.name}
    scores = tmp_path / plans[1].job.name / "scores.json"
    scores.write_text("{")
    comparison, _ = run(tmp_path, *plans)
    failure = comparison.runs[1].failure
    assert failure and failure.startswith(f"{scores}: not a valid Scores: ")
    assert failure.endswith(
        f"; remove it and {scores.parent / 'run.json'}, and run the same command again, which scores the run anew"
    )
    scores.unlink()
    (scores.parent / "run.json").unlink()
    comparison, _ = run(tmp_path, *plans)
    assert comparison.runs[1].state == "done"


def test_a_reference_that_changes_costs_its_dataset_only(dummy: None, ami_mini: Dataset, tmp_path: Path) -> None:
    shutil.copytree(ami_mini.root, tmp_path / "other")
    record = json.loads((tmp_path / "other" / "dataset.json").read_text())
    (tmp_path / "other" / "dataset.json").write_text(json.dumps({**record, "name": "other"}))
    other = Dataset.open(tmp_path / "other")
    plans = [plan_of(ami_mini, "scratch"), plan_of(other, "scratch")]
    run(tmp_path / "out", *plans)
    changed = other.subset("test")[0].rttm
    changed.write_text("".join(changed.read_text().splitlines(keepends=True)[::2]))
    comparison, _ = run(tmp_path / "out", *plans)
    assert [record.state for record in comparison.runs] == ["done", "failed"]
    assert comparison.runs[1].failure == f"compared on other: {changed}: changed since the dataset was converted; " + (
        "restore it and run the same command again, or accept it with "
        f"'bench data check --fix {other.root}' and choose another --out"
    )
    assert {row.dataset for row in comparison.rows} == {"ami-mini"}


def test_a_disk_that_refuses_the_comparison_is_told_without_a_traceback(
    dummy: None, ami_mini: Dataset, uninterrupted: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = shutil.copytree(uninterrupted, tmp_path / "out")
    shutil.rmtree(out / "reference")
    (out / "reference").touch()
    comparison, _ = run(out, plan_of(ami_mini, "scratch"))
    failure = comparison.runs[0].failure
    assert failure and failure.startswith("compared on ami-mini: ") and not caplog.text
    assert failure.endswith("dev00.rttm: cannot be written (Not a directory); free some room or choose another")


def running_commands() -> list[str]:
    import psutil

    return [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]


def test_a_full_disk_is_reported_in_one_line(
    dummy: None, ami_mini: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker cannot write files beyond 3 kB, which fails as a full disk does."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        run_ = run_alone(tmp_path / "out", plan_of(ami_mini, "scratch"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert run_.state == "failed"
    assert run_.failure is not None
    assert "cannot be written (File too large); free some room" in run_.failure


def run_alone(out: Path, plan: Plan) -> Run:
    """One run without a comparison, whose ``results.json`` would be too large for the limit."""
    folder = ComparisonFolder(out).run(plan.job.name)
    write_record(folder.job, plan.job)
    return work_alone(folder, plan)


def work_alone(folder: RunFolder, plan: Plan) -> Run:
    """Submit a folder as it is, and follow it to its end."""
    with LocalExecutor() as executor:
        progress = RunProgress(Console(file=io.StringIO()))
        progress.name(plan.job.name, "1/1")
        driver = runner.Driver(folder.path.parent, executor, progress)
        driver.queue.append(runner.Underway(folder, plan.job))
        driver.follow()
    return folder.read_run() if folder.run.is_file() else queued_run(plan.job)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 3}, "which this command does not plan"),
        ({"init": "pretrained"}, "was run with init scratch, not pretrained"),
        ({"fingerprint": "other"}, "was run with fingerprint"),
        ({"recipe": {**recipes.load("quick").model_dump(), "epochs": 3}}, "was run with recipe epochs 2, not 3"),
    ],
)
def test_a_folder_of_other_settings_is_rejected(
    changes: dict[str, object], message: str, ami_mini: Dataset, tmp_path: Path
) -> None:
    before = plan_of(ami_mini, "scratch")
    write_record(tmp_path / before.job.name / "job.json", before.job)
    check_out(tmp_path, [before])
    with pytest.raises(UserError, match=message):
        check_out(tmp_path, [Plan(before.job.model_copy(update=changes), "")])


def test_a_missing_file_is_reported_before_anything_runs(ami_mini: Dataset, tmp_path: Path) -> None:
    shutil.copytree(ami_mini.root, tmp_path / "copy")
    missing = tmp_path / "copy" / "test" / "wav" / f"{ami_mini.subset('test')[0].uri}.wav"
    missing.unlink()
    command = [*BENCH, "run", "--backend", "nemo", "--dataset", tmp_path / "copy", "--out", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert str(missing) in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_dataset_that_has_changed_is_rejected(dummy: None, ami_mini: Dataset, tmp_path: Path) -> None:
    planned = plan_of(ami_mini, "scratch")
    changed = Plan(planned.job.model_copy(update={"fingerprint": "earlier"}), "")
    comparison, _ = run(tmp_path / "out", changed)
    assert "changed since this run was planned; choose another --out" in (comparison.runs[0].failure or "")


def test_a_condition_that_leaves_no_speech_is_scored_and_not_compared(
    dummy: None, ami_mini: Dataset, tmp_path: Path
) -> None:
    shutil.copytree(ami_mini.root, tmp_path / "copy")
    overlapped = Dataset.open(tmp_path / "copy")
    for recording in overlapped.subset("test"):
        write_rttm(recording.rttm, recording.uri, [Turn(1, 9, "a"), Turn(1, 9, "b")])
    overlapped = accept_files(overlapped.root)
    comparison, _ = run(tmp_path / "out", plan_of(overlapped, "scratch"))
    rows = {row.condition: row for row in comparison.rows if row.stage == "finetuned" and row.subset == "test"}
    assert rows["full"].total == 32 and rows["forgiving"].total == 0 and rows["forgiving"].der is None
    assert {contrast.condition for contrast in comparison.contrasts} == {"full", "fair"}


def test_a_folder_with_other_files_is_rejected(ami_mini: Dataset, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UserError, match=r"holds thesis.tex, which belongs to no run; choose an empty --out"):
        check_out(tmp_path, [plan_of(ami_mini, "scratch")])


def test_the_command_accepts_a_third_party_s_backend(dummy: None, ami_mini: Dataset, tmp_path: Path) -> None:
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
    assert "dummy" in done.stdout and "report.html" in done.stdout
    report = (tmp_path / "out" / "report.md").read_text()
    (tmp_path / "out" / "report.md").unlink()
    subprocess.run([*BENCH, "report", tmp_path / "out"], check=True, capture_output=True)
    assert (tmp_path / "out" / "report.md").read_text() == report


def test_profiles_costs_and_a_mix_are_recorded(dummy: None, ami_mini: Dataset, tmp_path: Path) -> None:
    planned = plan_of(ami_mini, "scratch")
    mixed = {"dataset": str(ami_mini.root), "share": 0.5, "fingerprint": ami_mini.info.fingerprint}
    job = planned.job.model_copy(update={"recipe": {**planned.job.recipe, "mix": [mixed]}})
    planned = Plan(job, "scratch")
    profiled = Plan(planned.job.model_copy(update={"profile": True}), "scratch")
    assert profiled.job.hash == planned.job.hash
    comparison, _ = run(tmp_path / "out", profiled)
    (record,) = comparison.runs
    folder = tmp_path / "out" / record.name / "profiles"
    for state in ("training", "diarizing", "scoring"):
        assert (folder / f"{state}.svg").read_text().startswith("<?xml") or f"no profile of {state}" in str(
            record.notes
        )
    assert "worker.py" in (folder / "training.svg").read_text()
    assert "50% of the windows of each epoch are from the train subset of ami-mini" in record.notes
    assert record.trained_audio_s == 2 * 2 * 300
    phases = {phase.name: phase for phase in record.phases}
    assert {"loading", "training", "restoring", "diarizing", "oracles", "scoring"} <= set(phases)
    assert all(phase.seconds > 0 and phase.peak_memory_mb > 50 for phase in phases.values())
    assert phases["diarizing"].audio_s == pytest.approx(sum(r.duration_s for r in ami_mini.subset("test")))
