"""``bench`` itself: imports no toolkit for help and lists, and reports errors in one line."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer

from diarbench.benchmarks.cli.__main__ import app
from diarbench.datasets.dataset import Dataset

HEAVY = ("torch", "lightning", "nemo", "pyannote.audio", "pyannote.core", "scipy", "pandas", "matplotlib", "lhotse")


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "diarbench.benchmarks.cli", *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "arguments",
    [("-h",), ("--version",), ("run", "--help"), ("backends",), ("recipes",), ("recipes", "show", "quick")],
)
def test_no_toolkit_is_imported(arguments: tuple[str, ...]) -> None:
    loaded = modules_loaded_by(*arguments)
    assert "typer" in loaded
    assert not loaded.intersection(HEAVY)


def test_a_dry_run_imports_neither_toolkits_nor_statistics(ami_mini: Dataset) -> None:
    arguments = ("run", "--backend", "pyannote", "--backend", "nemo", "--dataset", str(ami_mini.root), "--dry-run")
    heavy = {"torch", "lightning", "nemo", "pyannote.audio", "scipy.stats", "scipy.optimize", "optuna", "pandas"}
    assert not modules_loaded_by(*arguments).intersection(heavy)


def modules_loaded_by(*arguments: str) -> set[str]:
    """The modules that a command has imported when it ends."""
    code = (
        f"import sys; sys.argv = ['bench', *{arguments!r}]\n"
        "from diarbench.benchmarks.cli.__main__ import main\n"
        "try: main()\n"
        "finally: sys.stderr.write('LOADED ' + ' '.join(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    return set(done.stderr.partition("LOADED ")[2].split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--backend", "pyanote"), "no backend 'pyanote' (did you mean pyannote?); 'bench backends' lists them"),
        (("run", "--backend", "nemo", "--recipe", "quik"), "no recipe 'quik' (did you mean quick?)"),
        (("run", "--backend", "nemo", "--dataset", "ami-mni"), "(did you mean ami-mini?)"),
        (("run", "--backend", "nemo", "--dataset", "."), "not a converted dataset (no dataset.json)"),
        (("run", "--backend", "nemo", "--device", "cude"), "--device cude: no such device (did you mean cuda?)"),
        (("run", "--backend", "nemo", "--init", "/absent.nemo"), "--init /absent.nemo: no such file"),
        (("run", "--backend", "nemo", "--init", "nmo=scratch"), "no backend 'nmo' (did you mean nemo?)"),
        (("run", "--backend", "nemo", "--backend", "nemo", "--dry-run"), "two runs would be called ami-mini-nemo"),
        (
            ("run", "--backend", "nemo", "--plda", "plda"),
            "--plda plda: none of the backends uses a PLDA; pyannote does",
        ),
        (("report", "absent"), "absent: no such folder; pass the folder of a finished 'bench run'"),
        (("recipes", "show", "quik"), "(did you mean quick?)"),
    ],
)
def test_an_error_is_one_line_and_a_non_zero_exit(arguments: tuple[str, ...], message: str) -> None:
    done = bench(*arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.startswith("bench: ") and done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "message"), [(("run", "--bakend", "nemo"), "--backend"), (("rn",), "Did you mean 'run'?")]
)
def test_an_unknown_option_or_command_names_the_nearest(arguments: tuple[str, ...], message: str) -> None:
    done = bench(*arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_dry_run_shows_the_matrix_and_writes_nothing(tmp_path: object) -> None:
    done = bench(
        *("run", "--backend", "pyannote", "--backend", "nemo", "--seed", "1", "--seed", "2", "--epochs", "3"),
        *("--init", "scratch", "--out", f"{tmp_path}/out", "--dry-run"),
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"4 runs into {tmp_path}/out:"
    pipeline = "in the pipeline segmentation-3.0 with CAM++"
    assert lines[1] == f"  ami-mini-pyannote-quick-seed1: 3 epochs, auto, from scratch, {pipeline}"
    assert len(lines) == 5


def test_doctor_lists_packages_backends_datasets_and_the_device() -> None:
    done = bench("doctor")
    assert done.returncode == 0
    backends = ("backend pyannote", "backend nemo", "pipeline community-1")
    for part in ("python", *backends, "dataset ami-mini", "device", "pyannote.audio on paths"):
        assert part in done.stdout
    assert "…" not in done.stdout, "no name or command is cut"


def test_every_option_of_run_is_in_a_panel() -> None:
    run = typer.main.get_command(app).commands["run"]  # type: ignore[attr-defined]
    panels: dict[str, list[str]] = {}
    for option in run.params:
        if option.name != "help":
            panels.setdefault(option.rich_help_panel, []).append(option.name)
    assert list(panels) == ["What to run", "How to train", "Pipeline and tuning", "Where to run"]
    assert {name for names in panels.values() for name in names} > {"backend", "epochs", "plda", "device"}
    assert "plda" in panels["Pipeline and tuning"]


def test_the_version_and_short_help_are_shown() -> None:
    from importlib.metadata import version

    assert bench("--version").stdout == f"diarbench {version('diarbench')}\n"
    for command in ((), ("run",), ("recipes", "show"), ("data", "check")):
        assert "Usage: " in bench(*command, "-h").stdout
