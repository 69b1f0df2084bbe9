"""Runs of a backend in an environment of its own, which this process never imports."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from environments import make_environment
from run_helpers import plan_of, run

from diarbench.backends.recipes import load as recipes
from diarbench.benchmarks import api
from diarbench.benchmarks.runs import inference_cache
from diarbench.benchmarks.runs.backend_facts import Question, facts_of
from diarbench.benchmarks.runs.deploy import TrainedRun
from diarbench.benchmarks.runs.interpreters import ask, check_known, interpreters
from diarbench.benchmarks.runs.plan import Plan
from diarbench.benchmarks.runs.virtual_environments import create, folder_of, made, python_of
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import cache_dir
from diarbench.datasets.io.lock import holder_of
from diarbench.datasets.io.records import write_record
from diarbench.reports.results.run_folder import RunFolder

BENCH = (sys.executable, "-m", "diarbench.benchmarks.cli")


@pytest.fixture(scope="module")
def python(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the dummy backend, without torch."""
    return make_environment(tmp_path_factory.mktemp("environment") / "dummy", ["diarbench"], [site])


def test_a_backend_without_torch_is_run_and_scored_elsewhere(python: Path, ami_mini: Dataset, tmp_path: Path) -> None:
    was_imported = "dummy_backend" in sys.modules  # by another test of this process
    options = {"envs": [f"dummy={python}"], "inits": ["pretrained"], "train": False, "trials": 3}
    plans = api.plan(["dummy"], [str(ami_mini.root)], **options)  # type: ignore[arg-type]
    comparison = api.run(plans, tmp_path / "out")
    (done,) = comparison.runs
    assert (done.state, done.failure) == ("done", None)
    assert {row.stage for row in comparison.rows if row.run} == {"pretrained", "tuned"}
    assert done.parameters == 4 and done.environment is not None
    assert "torch" not in done.environment.versions and done.environment.versions["numpy"]
    assert ("dummy_backend" in sys.modules) == was_imported
    job = RunFolder(tmp_path / "out" / done.name).read_job()
    assert (job.python, job.environment["diarbench"]) == (str(python), done.environment.versions["diarbench"])

    with pytest.raises(UserError, match=f"needs another environment: {python} -m diarbench"):
        TrainedRun(tmp_path / "out" / done.name)
    changed = plans[0].job.model_copy(update={"environment": {**job.environment, "numpy": "1"}})
    assert changed.hash != job.hash, "other versions are another run"
    with pytest.raises(UserError, match="dummy cannot be fine-tuned without torch and lightning"):
        raise UserError(api.plan(["dummy"], [str(ami_mini.root)], envs=options["envs"])[0].problem)  # type: ignore[arg-type]


def test_an_environment_that_is_gone_fails_its_run_alone(ami_mini: Dataset, tmp_path: Path) -> None:
    gone = tmp_path / "gone" / "bin" / "python"
    planned = plan_of(ami_mini, "pretrained")
    comparison, _ = run(tmp_path / "out", Plan(planned.job.model_copy(update={"python": str(gone)}), ""))
    (failed,) = comparison.runs
    assert failed.failure is not None
    assert f"--env dummy={gone}: no such file any more; make the environment again" in failed.failure
    with pytest.raises(UserError, match=f"o: {gone}: no such file any more; make the environment again"):
        ask(str(gone), Question(backend="dummy"), "o")


def test_the_answers_are_the_same_here_and_there() -> None:
    question = Question(backend="pyannote", searches_recipes=True)
    assert ask(sys.executable, question, "") == facts_of(question)


def test_environments_share_no_inference(monkeypatch: pytest.MonkeyPatch, ami_mini: Dataset, tmp_path: Path) -> None:
    class Counting:
        calls = 0

        def infer(self, recording: object) -> inference_cache.Inference:
            self.calls += 1
            return inference_cache.Inference()

    cache, diarizer, recording = inference_cache.InferenceCache(tmp_path), Counting(), ami_mini.subset("dev")[0]
    for prefix, calls in (("/a", 1), ("/a", 1), ("/b", 2)):
        monkeypatch.setattr(inference_cache, "ENVIRONMENT", (prefix, "3.11"))
        cache.infer(diarizer, recording, "model")  # type: ignore[arg-type]
        assert diarizer.calls == calls


def script(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o755)
    return f"dummy={path}"


OLD_PYTHON = """#!/bin/sh
echo '{"python": [3, 9], "diarbench": "0.1.0"}'
"""
OLD_DIARBENCH = """#!/bin/sh
echo '{"python": [3, 11], "diarbench": "0.0.9"}'
"""


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: "dummy", "expected BACKEND=PYTHON"),
        (lambda folder: f"dummy={folder}/absent", "no such file; give the path of an interpreter"),
        (lambda folder: f"dummy={folder}", "is a folder; give the path of an interpreter"),
        (lambda folder: "dummy=/bin/echo", "/bin/echo is not a Python interpreter"),
        (lambda folder: script(folder / "text", "no program"), "is not a Python interpreter (Exec format error)"),
        (lambda folder: script(folder / "old", OLD_PYTHON), "is Python 3.9; diarbench needs 3.11 or newer"),
        (lambda folder: script(folder / "older", OLD_DIARBENCH), "has diarbench 0.0.9, and this is "),
        (lambda folder: f"dummy={make_environment(folder / 'bare', [])}", "has no diarbench; install it: "),
        (lambda folder: "dummy=auto", "does not exist; make it: bench env create dummy"),
    ],
)
def test_an_interpreter_that_cannot_work_runs_is_named(
    make: Callable[[Path], str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIARBENCH_CACHE", str(tmp_path / "cache"))
    option = make(tmp_path)
    with pytest.raises(UserError) as caught:
        interpreters([option])
    assert str(caught.value).startswith(f"--env {option}: " if "auto" not in option else "--env dummy=auto: ")
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_run_cannot_name_a_program_that_was_never_given(
    python: Path, ami_mini: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run's folder may be a stranger's: `bench diarize`, `export` and `tune` would run what its job.json names."""
    monkeypatch.setenv("DIARBENCH_CACHE", str(tmp_path / "cache"))
    program = tmp_path / "python"
    script(program, f'#!/bin/sh\ntouch {tmp_path}/ran\nexec {python} "$@"\n')
    job = plan_of(ami_mini, "pretrained").job.model_copy(update={"python": str(program)})
    folder = RunFolder(tmp_path / "out" / job.name)
    write_record(folder.job, job)
    refused = rf"which was never given to --env here; if you trust it, run 'bench doctor --env dummy={program}' first"
    for command in (["diarize", "talk.wav", "--run", folder.path], ["export", folder.path, tmp_path / "exported"]):
        done = subprocess.run([*BENCH, *map(str, command)], capture_output=True, text=True, check=False)
        assert done.returncode == 1 and refused in " ".join(done.stderr.split())
    (tmp_path / "theirs.yaml").write_text(f"backends: [dummy]\nenvs: {{dummy: {program}}}\n")
    done = subprocess.run([*BENCH, "run", tmp_path / "theirs.yaml"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and refused in " ".join(done.stderr.split())
    with pytest.raises(UserError, match=refused):
        check_known(str(program), "dummy", str(tmp_path / "out"))
    assert not (tmp_path / "ran").exists()
    interpreters([f"dummy={program}"])
    check_known(str(program), "dummy", str(tmp_path / "out"))
    assert (tmp_path / "ran").exists()


def test_a_backend_that_is_not_there_is_named(python: Path, ami_mini: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"--env nemo={python}: backend nemo is not installed there: {python} -m pip"):
        api.plan(["nemo"], [str(ami_mini.root)], envs=[f"nemo={python}"])
    recipe = tmp_path / "mine.yaml"  # may name a backend that is known only there
    recipe.write_text(recipes.text("quick") + "freeze: {other: [x]}\n")
    with pytest.raises(UserError, match=f"--env other={python}: no backend 'other'"):
        api.plan(["other"], [str(ami_mini.root)], [str(recipe)], envs=[f"other={python}"])
    with pytest.raises(UserError, match=r"mine.yaml: freeze: no backend 'other'"):
        api.plan(["pyannote"], [str(ami_mini.root)], [str(recipe)])
    with pytest.raises(UserError, match=r"--env dummy=\.\.\.: dummy is not among the backends"):
        api.plan(["pyannote"], [str(ami_mini.root)], envs=[f"dummy={python}"])


def test_an_older_diarbench_of_the_same_version_is_named(python: Path, tmp_path: Path) -> None:
    """A checkout has the version of its last release, so what it answers tells its age."""
    without = tmp_path / "python"
    script(without, f"#!/bin/sh\nexec {python} -c 'import sys; sys.exit(\"No module named diarbench.benchmarks\")'\n")
    with pytest.raises(UserError, match="has an older diarbench"):
        ask(str(without), Question(backend="dummy"), "--env x")
    script(without, "#!/bin/sh\necho '{\"job_format\": 99}'\n")
    with pytest.raises(UserError, match="has a newer diarbench"):
        ask(str(without), Question(backend="dummy"), "--env x")


def test_a_job_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(json.dumps({"format": 2, "unheard": "of"}))
    with pytest.raises(UserError, match=r"job.json: was written by a newer diarbench \(format 2, this one reads 1\)"):
        RunFolder(tmp_path).read_job()


def test_an_environment_that_cannot_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIARBENCH_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"nmo: no backend of diarbench \(did you mean nemo\?\)"):
        create("nmo", (), lambda command: 0)
    commands: list[list[str]] = []

    def fail(command: list[str]) -> int:
        """pip, as it ends without a network."""
        commands.append(command)
        assert holder_of(folder_of("nemo")), "nobody else makes it meanwhile"
        return int("pip" in command)

    with pytest.raises(UserError, match="ended with status 1"):
        create("nemo", (), fail)
    assert [command[1:3] for command in commands] == [["-m", "venv"], ["-m", "pip"]]
    assert commands[1][-1].endswith("[nemo]") or "[nemo]==" in commands[1][-1]
    assert not folder_of("nemo").exists() and list(made()) == []


def test_an_incomplete_environment_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIARBENCH_CACHE", str(tmp_path))
    (folder_of("mine") / "bin").mkdir(parents=True)
    with pytest.raises(UserError, match="is not complete; make it: bench env create mine"):
        python_of("mine")
    create("mine", ["a-package"], lambda command: 0)
    assert list(made()) == ["mine"] and python_of("mine") == cache_dir() / "environments" / "mine" / "bin" / "python"
    assert not (folder_of("mine") / "bin").exists(), "what was left is removed first"
    with pytest.raises(UserError, match="exists; to make it again, remove it first"):
        create("mine", ["a-package"], lambda command: 0)
    assert [entry.name for entry in folder_of("mine").iterdir()] == ["environment.json"]
