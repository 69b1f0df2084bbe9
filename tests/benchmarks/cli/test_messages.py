"""Every failure gives one line that names the file, and names of files are printed as they are."""

from __future__ import annotations

import errno
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from diarbench.benchmarks.cli.__main__ import main
from diarbench.benchmarks.cli.console import working
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.errors import os_error_text
from diarbench.reports.console import make_console

Bench = Callable[..., tuple[int, str, str]]
"""Runs ``bench`` with some arguments in this process; returns its exit status, and what it printed to both streams."""


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Bench:
    monkeypatch.setenv("COLUMNS", "300")

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        return (code, *capfd.readouterr())

    return run


@contextmanager
def full_disk(limit: int = 3000) -> Iterator[None]:
    """Files cannot grow beyond a limit, which fails as a full disk does, for the superuser too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(errno.ENOSPC, "No space left", "/from", None, "/to"), "/to: No space left"),
        (OSError(errno.EACCES, "Permission denied", "/from"), "/from: Permission denied"),
        (OSError(errno.ENOSPC, "No space left"), "out: No space left"),
        (OSError("first line\nsecond"), "out: first line second"),
    ],
)
def test_the_text_of_an_os_error_names_the_file_that_could_not_be_written(error: OSError, text: str) -> None:
    assert os_error_text(error, "out") == text


UNWRITABLE = "/proc/none/new"


@pytest.mark.parametrize(
    "arguments",
    [
        ("data", "simulate", "{dataset}", UNWRITABLE, "--recordings", "3", "--duration-s", "5"),
        ("data", "perturb", "{dataset}", UNWRITABLE, "--copies", "1"),
        ("data", "convert", "{dataset}", UNWRITABLE),
        ("data", "export", "{dataset}", UNWRITABLE, "--to", "nemo"),
        ("data", "show", "{dataset}", "--plot", f"{UNWRITABLE}.png"),
        ("run", "--backend", "nemo", "--dataset", "{dataset}", "--init", "scratch", "--out", UNWRITABLE),
    ],
)
def test_what_cannot_be_written_is_named(arguments: tuple[str, ...], bench: Bench, ami_mini: Dataset) -> None:
    code, _, stderr = bench(*(argument.format(dataset=ami_mini.root) for argument in arguments))
    assert code == 1
    last = stderr.splitlines()[-1]
    assert last.startswith("bench: /proc/none")
    assert "cannot be written (No such file or directory)" in last
    assert "Traceback" not in stderr


@pytest.mark.parametrize(("command", "option"), [("perturb", "--copies"), ("simulate", "--recordings")])
def test_a_full_disk_is_told_by_the_file_written(
    command: str, option: str, bench: Bench, ami_mini: Dataset, tmp_path: Path
) -> None:
    with full_disk(30_000):
        code, _, stderr = bench("data", command, ami_mini.root, tmp_path / "new", option, 1, "--workers", 1)
    assert code == 1
    last = stderr.splitlines()[-1]
    assert last.startswith(f"bench: {tmp_path}")
    assert "cannot be written" in last


def test_brackets_and_colons_in_names_are_printed_as_they_are(bench: Bench, ami_mini: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "[ami] a[" / "b] :smile:"
    folder.parent.mkdir()
    folder.symlink_to(ami_mini.root)
    code, stdout, _ = bench("data", "check", folder)
    assert code == 0
    assert f"{folder}: 0 errors, " in stdout
    code, stdout, _ = bench("data", "show", folder, "--plot", tmp_path / "a[/red].png")
    assert f"plot written to {tmp_path / 'a[/red].png'}" in stdout
    with working(make_console(force_terminal=True), "[/b]"):  # rich reads the text of a spinner on its own
        pass
