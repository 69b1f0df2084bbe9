"""Every failure gives one line that names the file, and names of files are printed as they are."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpora import write_wav
from full_disks import full_disk
from run_helpers import Bench

from diarbench.benchmarks.cli.console import working
from diarbench.benchmarks.runs.devices import Demand
from diarbench.benchmarks.runs.environment import check_device, resolve_device
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.audio import Clip, write_audio
from diarbench.datasets.io.errors import UserError, os_error_text
from diarbench.reports.console import make_console


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


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("export", "run", "dest", "--push-to-hub", ""), "--push-to-hub"),
        (("run", "--pipeline="), "--pipeline"),
        (("data", "check", ""), "check"),
    ],
)
def test_an_empty_value_does_not_count_as_not_given(arguments: tuple[str, ...], named: str, bench: Bench) -> None:
    assert bench(*arguments) == (1, "", f"bench: {named}: followed by an empty value; give one, or leave it out\n")


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


def test_a_piped_list_of_datasets_cuts_no_path(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cache = tmp_path / ("long-" * 30) / "cache"
    monkeypatch.setenv("DIARBENCH_CACHE", str(cache))
    monkeypatch.setenv("COLUMNS", "80")
    (cache / "datasets" / "ami-mini").mkdir(parents=True)
    assert str(cache / "datasets" / "ami-mini") in bench("data", "list")[1]


def test_a_run_tells_the_name_of_a_dataset_that_is_not_its_folders(
    bench: Bench, ami_mini: Dataset, tmp_path: Path
) -> None:
    shutil.copytree(ami_mini.root, tmp_path / "copy")
    arguments = ("run", "--backend", "nemo", "--init", "scratch", "--dry-run", "--dataset")
    assert f"{tmp_path / 'copy'}: is called ami-mini, by its dataset.json" in bench(*arguments, tmp_path / "copy")[1]
    assert "is called" not in bench(*arguments, ami_mini.root)[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("run", "--backend", "nemo", "--dataset", "{dataset}", "--init", "{folder}"),
            "is a folder; --init takes a file ending in .nemo or .ckpt or .safetensors, and there is none in it",
        ),
        (("data", "convert", "{folder}", "{folder}/new"), "has audio (talk.wav) but no reference, such as talk.rttm;"),
        (("data", "convert", "{folder}/talk.wav", "{folder}/new"), "but no reference, such as talk.rttm; add one"),
    ],
)
def test_the_message_names_what_is_wrong(
    arguments: tuple[str, ...], message: str, bench: Bench, ami_mini: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "talk.wav").touch()
    code, _, stderr = bench(*(each.format(dataset=ami_mini.root, folder=tmp_path) for each in arguments))
    assert code == 1
    assert message in stderr


@pytest.mark.parametrize(("names", "empty"), [(("dev0", "tst0"), "train"), (("trn0", "trn1", "tst0"), "dev")])
def test_a_conversion_tells_the_format_and_the_subsets_that_are_empty(
    names: tuple[str, ...], empty: str, bench: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "in"
    for name in names:
        write_wav(source / f"{name}.wav")
        (source / f"{name}.csv").write_text("start,end,speaker,recording\n0,1,x," + name, encoding="utf-8")
        (source / f"{name}.rttm").write_text(f"SPEAKER {name} 1 0 1 <NA> <NA> x <NA> <NA>\n", encoding="utf-8")
    code, _, stderr = bench("data", "convert", source, tmp_path / "out")
    assert code == 1 and "has references in 2 formats" in stderr
    code, stdout, _ = bench("data", "convert", source, tmp_path / "out", "--from", "rttm")
    assert code == 0 and f"{source}: read as rttm; --from sets another format" in stdout
    warning = f"no recording is in {empty}, by the source's own subsets; draw subsets with --split recording"
    assert f"{tmp_path / 'out'}: {warning}" in caplog.messages
    caplog.clear()
    shares = ("--shares", "1,0,0", "--split", "recording")
    assert bench("data", "convert", source, tmp_path / "drawn", "--from", "rttm", *shares)[0] == 0
    assert "no recording is in" not in caplog.text


def test_a_recording_without_samples_is_named_by_its_path(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 8000)
    with pytest.raises(UserError, match=rf"{tmp_path}/empty.wav: contains no samples"):
        write_audio((Clip(tmp_path / "empty.wav"),), tmp_path / "out.wav")


def test_cuda_without_a_device_is_one_line() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    for device in ("cuda", "cuda:1"):
        with pytest.raises(UserError, match=rf"--device {device}: torch finds no CUDA device here \(.+\); use"):
            resolve_device(device)


@pytest.mark.parametrize("option", ["--dry-run", "--no-tune"])
def test_a_gpu_that_is_not_here_is_told_before_any_work(
    option: str, bench: Bench, dummy: None, ami_mini: Dataset, tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    out = tmp_path / "out"
    arguments = ("run", "--backend", "dummy", "--dataset", str(ami_mini.root), "--out", str(out), option)
    code, _, stderr = bench(*arguments, "--device", "cuda:9")
    assert code == 1
    assert "--device cuda:9: torch finds no CUDA device here" in stderr
    assert not out.exists()


def test_a_precision_that_a_cpu_lacks_is_told_before_any_work(
    bench: Bench, dummy: None, ami_mini: Dataset, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ("run", "--backend", "dummy", "--dataset", str(ami_mini.root), "--out", str(out))
    code, _, stderr = bench(*arguments, "--device", "cpu", "--precision", "16-mixed")
    assert code == 1
    assert "precision 16-mixed: not available on a CPU" in stderr
    assert not out.exists()


def test_one_gpu_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    chosen: list[int] = []
    for name, value in (("is_available", lambda: True), ("device_count", lambda: 2), ("set_device", chosen.append)):
        monkeypatch.setattr(torch.cuda, name, value)
    assert resolve_device("cuda:1") == "cuda:1" and chosen == [1]
    with pytest.raises(UserError, match="--device cuda:9: this machine has 2 CUDA devices, from cuda:0 on"):
        resolve_device("cuda:9")
    check_device("cuda:1")
    with pytest.raises(UserError, match="--device cuda:1: is one device, for 2 processes"):
        check_device("cuda:1", 2)
    with pytest.raises(UserError, match="--device cuda:x: no such device"):
        check_device("cuda:x")


def test_more_gpus_than_there_are_and_one_too_old_for_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    Demand(device="cuda", devices=2, precision="16-mixed").check()
    with pytest.raises(UserError, match="--devices 3: this machine has 2 CUDA devices"):
        Demand(device="cuda", devices=3, precision="32-true").check()
    with pytest.raises(UserError, match="precision bf16-mixed: this GPU is too old for it"):
        Demand(device="cuda", devices=1, precision="bf16-mixed").check()


def test_a_closed_standard_output_is_no_error() -> None:
    """As under some daemons; writing to it failed with a trace."""
    done = subprocess.run(
        ["sh", "-c", '"$0" -m diarbench.benchmarks.cli data list >&-', sys.executable], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_full_standard_output_is_named() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    done = subprocess.run(
        ["sh", "-c", '"$0" -m diarbench.benchmarks.cli recipes >/dev/full', sys.executable],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (1, "bench: standard output: No space left on device\n")
