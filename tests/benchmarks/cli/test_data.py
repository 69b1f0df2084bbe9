"""`bench data ...` through the real command: typical calls, error messages and interruptions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from corpora import MAKERS, TURNS, write_wav

from diarbench.datasets.conversion.converted import ConvertedRecording
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.rttm import Turn, rttm_text

BENCH = [sys.executable, "-c", "from diarbench.benchmarks.cli.__main__ import main; main()", "data"]


def bench(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*BENCH, *map(str, arguments)], capture_output=True, text=True, check=False)


def error_line(ended: subprocess.CompletedProcess[str]) -> str:
    """The single error line on stderr of a failed command."""
    assert ended.returncode == 1, ended.stderr
    lines = [line for line in ended.stderr.splitlines() if line.startswith("bench: ")]
    assert len(lines) == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    return lines[0]


def test_round_trip(tmp_path: Path, ami_mini: Dataset) -> None:
    """Convert, show with a plot, export for both toolkits, and convert the exports back."""
    source = MAKERS["rttm"][0](tmp_path / "source")
    ended = bench("convert", source, tmp_path / "one", "--shares", "1,0,0", "--workers", 1)
    assert ended.returncode == 0, ended.stderr
    assert "files" not in ended.stdout  # nothing was changed, so no change is printed
    one = Dataset.open(tmp_path / "one")
    assert {r.uri: r.turns for r in one.subset("train")} == {uri: sorted(turns) for uri, turns in TURNS.items()}
    shown = bench("show", tmp_path / "one", "ami-mini", "--plot", tmp_path / "p.svg")
    assert "one train" in shown.stdout
    assert "ami-mini test" in shown.stdout
    assert (tmp_path / "p.svg").read_text().lstrip().startswith("<?xml")
    for to, target in (("pyannote", "database.yml"), ("nemo", "nemo")):
        assert bench("export", tmp_path / "one", tmp_path / target, "--to", to).returncode == 0
        assert bench("convert", tmp_path / target, tmp_path / f"from-{to}", "--workers", 1).returncode == 0
        assert Dataset.open(tmp_path / f"from-{to}").info.fingerprint == one.info.fingerprint


def test_lhotse_by_name(tmp_path: Path) -> None:
    for part, (uri, turns) in zip(("dev", "test"), TURNS.items(), strict=True):
        write_wav(tmp_path / "vox" / part / f"{uri}.wav")
        (tmp_path / "vox" / part / f"{uri}.rttm").write_text(rttm_text(uri, turns), encoding="utf-8")
    ended = bench("convert", "lhotse:voxconverse", tmp_path / "vox", tmp_path / "out", "--workers", 1)
    assert ended.returncode == 0, ended.stderr
    assert Dataset.open(tmp_path / "out").info.corpus == "VoxConverse"


def test_simulate(ami_mini: Dataset, tmp_path: Path) -> None:
    simulated = ("simulate", "ami-mini", tmp_path / "made", "--recordings", 5, "--duration-s", 10, "--workers", 1)
    ended = bench(*simulated, "--shares", "1,0,1", "--like", "ami-mini", "--noise", "ami-mini")
    assert ended.returncode == 0, ended.stderr
    made = Dataset.open(tmp_path / "made")
    assert (len(made.recordings["train"]), len(made.recordings["test"])) == (2, 2)
    known = {turn.speaker for recording in ami_mini.subset("test") for turn in recording.turns}
    assert {turn.speaker for recording in made.subset("test") for turn in recording.turns} <= known
    assert made.info.licence == f"{ami_mini.info.licence}; noise: {ami_mini.info.licence}"
    assert "ami-mini train" in ended.stdout
    assert "made train" in ended.stdout
    assert not list(tmp_path.glob(".*"))


def test_perturb(ami_mini: Dataset, tmp_path: Path) -> None:
    ended = bench("perturb", "ami-mini", tmp_path / "made", "--copies", 1, "--make-noise", "--workers", 1)
    assert ended.returncode == 0, ended.stderr
    made = Dataset.open(tmp_path / "made")
    assert len(made.subset("train")) == 2 * len(ami_mini.subset("train"))
    assert "its speakers at 0.9 to 1.1 times their speed" in " ".join(ended.stdout.split())
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("convert", "nowhere", "out"), "nowhere: no such file or folder"),
        (("convert", "nowhere"), "the arguments of bench data convert are SOURCE DEST"),
        (("convert", ".", "out", "--from", "kaldy"), "did you mean kaldi?"),
        (("convert", ".", "out", "--from", "kaldi"), "no recordings found"),
        (("convert", ".", "out", "--set", "mic"), "--set mic: expected KEY=VALUE"),
        (("convert", "lhotse:voxconverse", "out"), "add the corpus folder"),
        (("show", "."), "not a converted dataset"),
        (("show", "ami-minni"), "did you mean ami-mini?"),
        (("check", "."), "not a dataset"),
        (("export", "ami-mini", "x.yml", "--to", "pyannote", "--window-s", "3"), "--window-s is only for --to nemo"),
        (("simulate", ".", "out"), "no speech found"),
        (("simulate", "ami-mini", "out", "--noise", "."), "--noise .: contains no audio files"),
        (("simulate", "ami-mini", "out", "--snr-db", "loud"), "expected 2 numbers"),
        (("perturb", "ami-mini", "out", "--speed", "3,4"), "--speed"),
        (("perturb", "ami-mini", "out", "--noise", "."), "--noise .: contains no audio files"),
        (("simulate", "ami-mini", "out", "--shares", "1,2"), "expected 3 numbers"),
    ],
)
def test_error_messages(arguments: tuple[str, ...], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert why in error_line(bench(*arguments))
    assert not [path for path in tmp_path.iterdir() if not path.name.startswith(".")]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_interrupted_conversion_resumes(how: signal.Signals, tmp_path: Path) -> None:
    """A conversion killed or stopped by Ctrl-C keeps its finished recordings when it is run again."""
    source = tmp_path / "source"
    for k in range(60):
        write_wav(source / f"r{k:02d}.wav", 5.0, rate=44_100, channels=2, seed=k)
        (source / f"r{k:02d}.rttm").write_text(rttm_text(f"r{k:02d}", [Turn(0.0, 1.0, "a")]))
    command = [*BENCH, "convert", str(source), str(tmp_path / "out"), "--workers", "2"]
    stderr_file = tmp_path / "said.txt"
    with stderr_file.open("w") as stderr:
        running = subprocess.Popen(
            command,
            stderr=stderr,
            stdout=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background may ignore it
        )
    notes = tmp_path / ".out.converting" / "all" / "done"
    while running.poll() is None and len(list(notes.glob("*.json"))) < 5:
        time.sleep(0.02)
    os.kill(running.pid, how) if how == signal.SIGKILL else os.killpg(running.pid, how)
    running.communicate(timeout=60)  # until its workers end too: they would write into the next one's files
    if how == signal.SIGINT:
        assert running.returncode == 130
        assert "Traceback" not in stderr_file.read_text()
    assert not (tmp_path / "out").exists()
    assert "not a converted dataset" in error_line(bench("show", tmp_path / ".out.converting"))
    finished = {}
    for note in notes.glob("*.json"):
        try:
            ConvertedRecording.model_validate_json(note.read_bytes())
        except ValueError:
            continue  # only partly written when killed
        finished[note.stem] = (notes.parent / "wav" / f"{note.stem}.wav").stat().st_mtime_ns
    assert 5 <= len(finished) < 60
    ended = bench("convert", source, tmp_path / "out", "--workers", 2)
    assert ended.returncode == 0, ended.stderr
    out = Dataset.open(tmp_path / "out")
    made = {r.uri: r.audio.stat().st_mtime_ns for listed in out.recordings.values() for r in listed}
    assert len(made) == 60
    assert {uri: made[uri] for uri in finished} == finished
    assert json.loads(bench("check", tmp_path / "out", "--json").stdout)["errors"] == 0


def test_full_disk(tmp_path: Path) -> None:
    """A full disk gives a one-line error and no incomplete dataset."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    source = MAKERS["rttm"][0](tmp_path / "source")
    work = tmp_path / ".out.converting" / "all"
    (work / "rttm").mkdir(parents=True)
    (work / "rttm" / "meeting_1.rttm").symlink_to("/dev/full")
    assert "No space left on device" in error_line(bench("convert", source, tmp_path / "out", "--workers", 1))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--same-speaker-share", "--one-voice"])
def test_the_share_of_one_voice_has_a_new_and_an_old_name(option: str, tmp_path: Path) -> None:
    ended = bench("simulate", "ami-mini", tmp_path / "made", "--recordings", 1, "--duration-s", 5, option, "0.5")
    assert ended.returncode == 1
    assert "conversations of one voice need a perturbation" in ended.stderr
