"""`bench data check` on damaged datasets: each problem is reported by kind and place, and fixed if possible."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpora import noise, write_wav

from diarbench.datasets.checking.check import check
from diarbench.datasets.checking.fix import fix
from diarbench.datasets.conversion.convert import convert
from diarbench.datasets.conversion.corpus import Corpus, SourceRecording
from diarbench.datasets.dataset import SUBSETS, Dataset
from diarbench.datasets.io.audio import Clip
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.rttm import Turn

DURATION_S = 10.5
Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with nothing wrong: a recording of two speakers in each subset."""
    folder = tmp_path_factory.mktemp("clean")
    recordings = [
        SourceRecording(
            f"{subset}_1",
            (Clip(write_wav(folder / f"{subset}_1.wav", DURATION_S, seed=k)),),
            [Turn(0.5, 4.0, f"{subset}-a"), Turn(3.0, 6.0, f"{subset}-b")],
            subset=subset,
        )
        for k, subset in enumerate(SUBSETS)
    ]
    return convert(Corpus("clean", recordings), folder / "dataset").root


@pytest.fixture
def root(clean: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "dataset"))


def test_nothing_wrong(clean: Path) -> None:
    assert check(clean).findings == []


RTTM, UEM, WAV = "train/rttm/train_1.rttm", "train/uem/train_1.uem", "train/wav/train_1.wav"


def line(text: str, path: str = RTTM) -> Damage:
    """Append a line to a file that has two lines (RTTM) or one (UEM, lists)."""

    def damage(root: Path) -> None:
        with (root / path).open("a", encoding="utf-8") as file:
            file.write(text + "\n")

    return damage


def content(text: str | bytes, path: str) -> Damage:
    return lambda root: (root / path).write_bytes(text if isinstance(text, bytes) else text.encode())


def without(path: str) -> Damage:
    return lambda root: (root / path).unlink()


def sound(samples: np.ndarray, rate: int = 16_000) -> Damage:
    return lambda root: soundfile.write(str(root / WAV), samples, rate, subtype="PCM_16")


def cut_short(root: Path) -> None:
    path = root / WAV
    path.write_bytes(path.read_bytes()[:100_000])


def header_only(root: Path) -> None:
    path = root / WAV
    path.write_bytes(path.read_bytes()[:44])


def copied(source: str, target: str, list_name: str | None = None) -> Damage:
    def damage(root: Path) -> None:
        for kind in ("wav", "rttm", "uem"):
            one = root / source.replace("KIND", kind)
            other = root / target.replace("KIND", kind)
            text = one.read_bytes()
            if kind != "wav":
                text = text.replace(one.stem.encode(), other.stem.encode())
            other.write_bytes(text)
        if list_name:
            line(Path(target).stem, list_name)(root)

    return damage


def turn(start: object, duration: object, speaker: str = "train-a", uri: str = "train_1") -> str:
    return f"SPEAKER {uri} 1 {start} {duration} <NA> <NA> {speaker} <NA> <NA>"


def crowd(root: Path) -> None:
    for k in range(3):
        line(turn(7 + k, 0.5, f"more-{k}"))(root)


NFD = unicodedata.normalize("NFD", "가영")
QUIET = np.full((round(DURATION_S * 16_000), 1), 1e-5, dtype=np.float32)
STEREO = np.hstack([noise(DURATION_S), np.zeros_like(noise(DURATION_S))])
LOUD = np.clip(noise(DURATION_S) * 8, -1, 1)

CASES: list[tuple[str, str, str, Damage]] = [
    # the lists
    ("error", "leakage", "dev.txt:2", line("train_1", "dev.txt")),
    ("error", "duplicate uri", "train.txt:2", line("train_1", "train.txt")),
    ("error", "equal stems", "train.txt:2", line("TRAIN_1", "train.txt")),
    ("warning", "blank line", "train.txt:2", line("", "train.txt")),
    ("warning", "blank line", "train.txt:2", line("   ", "train.txt")),
    ("error", "space in a name", "train.txt:2", line("train 2", "train.txt")),
    ("error", "unsafe name", "train.txt:2", line("../other/train_2", "train.txt")),
    ("warning", "decomposed name", "train.txt:2", line(NFD, "train.txt")),
    ("warning", "empty list", "dev.txt", content("", "dev.txt")),
    ("warning", "no list", "dev.txt", without("dev.txt")),
    ("error", "no audio", "train/wav/gone.wav", line("gone", "train.txt")),
    ("error", "no reference", "train/rttm/gone.rttm", line("gone", "train.txt")),
    # files that are there, or are not
    ("error", "no audio", WAV, without(WAV)),
    ("error", "no reference", RTTM, without(RTTM)),
    ("error", "no UEM", UEM, without(UEM)),
    ("warning", "reference without a recording", "dev/rttm/other.rttm", content("", "dev/rttm/other.rttm")),
    ("warning", "file in no list", "dev/wav/other.wav", content("", "dev/wav/other.wav")),
    ("warning", "file in no list", "dev/uem/other.uem", content("", "dev/uem/other.uem")),
    ("error", "no dataset.json", "dataset.json", without("dataset.json")),
    ("error", "unreadable dataset.json", "dataset.json", content("{", "dataset.json")),
    ("error", "unreadable dataset.json", "dataset.json", content('{"name": "x"}', "dataset.json")),
    ("error", "fingerprint", "dataset.json", line(turn(7, 1))),
    # leakage
    ("error", "leakage", "dev/wav/dev_2.wav", copied("train/KIND/train_1.KIND", "dev/KIND/dev_2.KIND", "dev.txt")),
    (
        "warning",
        "same audio twice",
        "train/wav/t2.wav",
        copied("train/KIND/train_1.KIND", "train/KIND/t2.KIND", "train.txt"),
    ),
    ("warning", "shared speakers", "", line(turn(7, 1, "dev-a"))),
    # RTTM
    ("error", "negative time", f"{RTTM}:3", line(turn(-1, 2))),
    ("error", "negative time", f"{RTTM}:3", line(turn(1, -2))),
    ("error", "zero length", f"{RTTM}:3", line(turn(7, 0))),
    ("error", "zero length", f"{RTTM}:3", line(turn(7, 1e-9))),
    ("error", "not a time", f"{RTTM}:3", line(turn("nan", 1))),
    ("error", "not a time", f"{RTTM}:3", line(turn(7, "NaN"))),
    ("error", "not a time", f"{RTTM}:3", line(turn("inf", 1))),
    ("error", "not a time", f"{RTTM}:3", line(turn("1_0", 1))),
    ("error", "not a time", f"{RTTM}:3", line(turn("<NA>", 1))),
    ("error", "comma decimal", f"{RTTM}:3", line(turn("7,5", 1))),
    ("error", "comma decimal", f"{RTTM}:3", line(turn(7.5, "1,0"))),
    ("error", "malformed line", f"{RTTM}:3", line(turn(7, 1, "two words"))),
    ("error", "malformed line", f"{RTTM}:3", line("SPEAKER train_1 1 7")),
    ("error", "malformed line", f"{RTTM}:3", line("SPEAKER")),
    ("error", "malformed line", f"{RTTM}:3", line(turn(7, 1) + " " + turn(8, 1))),
    ("warning", "comment", f"{RTTM}:3", line(";; by hand")),
    ("warning", "not a turn", f"{RTTM}:3", line("SPKR-INFO train_1 1 <NA> <NA> <NA> unknown train-a <NA> <NA>")),
    ("error", "other uri", f"{RTTM}:3", line(turn(7, 1, uri="train_2"))),
    ("error", "no speaker", f"{RTTM}:3", line(turn(7, 1, "NA"))),
    ("error", "no speaker", f"{RTTM}:3", line(turn(7, 1, "None"))),
    ("warning", "Unicode form", f"{RTTM}:3", line(turn(7, 1, NFD))),
    ("error", "turn outside the audio", f"{RTTM}:3", line(turn(10, 2))),
    ("error", "turn outside the audio", f"{RTTM}:3", line(turn(100, 2))),
    ("warning", "speaker overlaps itself", f"{RTTM}:3", line(turn(1, 1))),
    ("warning", "no turns", RTTM, content("", RTTM)),
    ("warning", "many speakers", RTTM, crowd),
    ("warning", "much overlap", RTTM, line(turn(3.5, 1, "third"))),
    ("error", "unreadable RTTM", RTTM, content(b"SPEAKER \xff\xfe", RTTM)),
    # UEM
    ("warning", "turn outside the UEM", f"{RTTM}:2", content("train_1 1 0 5\n", UEM)),
    ("error", "empty UEM", UEM, content("", UEM)),
    ("error", "empty UEM", UEM, content(";; nothing\n", UEM)),
    ("error", "malformed line", f"{UEM}:2", line("train_1 1 0", UEM)),
    ("error", "comma decimal", f"{UEM}:2", line("train_1 1 0,5 1", UEM)),
    ("error", "negative time", f"{UEM}:2", line("train_1 1 5 1", UEM)),
    ("error", "zero length", f"{UEM}:2", line("train_1 1 5 5", UEM)),
    ("error", "other uri", UEM, line("train_2 1 0 1", UEM)),
    ("error", "UEM outside the audio", UEM, content("train_1 1 0 11\n", UEM)),
    ("warning", "overlapping UEM regions", UEM, line("train_1 1 1 2", UEM)),
    ("error", "unreadable UEM", UEM, content(b"\xff\xfe", UEM)),
    # audio
    ("error", "sample rate", WAV, sound(noise(DURATION_S, 8_000), 8_000)),
    ("error", "channels", WAV, sound(STEREO)),
    ("warning", "near-empty channel", WAV, sound(STEREO)),
    ("warning", "short audio", WAV, sound(noise(9.9))),
    ("warning", "silence", WAV, sound(QUIET)),
    ("warning", "clipping", WAV, sound(LOUD)),
    ("error", "truncated audio", WAV, cut_short),
    ("error", "header-only audio", WAV, header_only),
    ("error", "unreadable audio", WAV, content(b"no audio at all", WAV)),
    ("error", "unreadable audio", WAV, content(b"", WAV)),
]


@pytest.mark.parametrize(("level", "kind", "where", "damage"), CASES, ids=[f"{k}-{c[1]}" for k, c in enumerate(CASES)])
def test_reported(level: str, kind: str, where: str, damage: Damage, root: Path) -> None:
    damage(root)
    findings = [f for f in check(root).findings if f.kind == kind]
    assert {(f.level, f.where) for f in findings} >= {(level, str(root / where))}
    assert all("\n" not in f.text and f.text for f in findings)


@pytest.mark.parametrize(
    "damage",
    [case[3] for case in CASES if case[1] in ("blank line", "comment", "no UEM", "overlapping UEM regions")]
    + [line(turn(1, 1)), line(turn(10, 2)), line(turn(7, 0)), line(turn(7, 1, NFD)), content("train_1 1 0 11\n", UEM)],
)
def test_fixed_completely(damage: Damage, root: Path) -> None:
    damage(root)
    before = check(root)
    assert before.findings
    assert fix(before)
    assert check(root).findings == []
    Dataset.open(root)


def test_fix_counts_its_changes(root: Path) -> None:
    """0.5-4.0 and 1-2 of one speaker become one turn; 10-12 is cut to 10.5; 100-102 is dropped."""
    for text in (turn(1, 1), turn(10, 2), turn(100, 2), turn(7, 0)):
        line(text)(root)
    done = " ".join(fix(check(root)))
    for counted in (
        "turns dropped: no length: 1",
        "turns dropped: outside the audio: 1",
        "turns cut at the end of the audio: 1",
        "turns merged into another of their speaker: 1",
    ):
        assert counted in done
    train = Dataset.open(root).subset("train")[0]
    assert train.turns == [Turn(0.5, 4.0, "train-a"), Turn(3.0, 6.0, "train-b"), Turn(10.0, 10.5, "train-a")]
    assert Dataset.open(root).info.subsets["train"].speaker_s == pytest.approx(3.5 + 3.0 + 0.5)


@pytest.mark.parametrize("lines", [[turn("7,5", 1)], [turn(7, 1, "a/b"), turn(8, 1, "a_b")]])
def test_fix_keeps_files_with_unreadable_lines_or_names_that_become_one(lines: list[str], root: Path) -> None:
    for text in (turn(7, 0), *lines):
        line(text)(root)
    before = (root / RTTM).read_bytes()
    fix(check(root))
    assert (root / RTTM).read_bytes() == before


def test_the_command(root: Path) -> None:
    bench = [sys.executable, "-c", "from diarbench.benchmarks.cli.__main__ import main; main()", "data", "check"]
    line(turn(-1, 2))(root)
    ended = subprocess.run([*bench, str(root), "--json"], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    report = json.loads(ended.stdout)
    assert report["errors"] == 2  # the turn, and the fingerprint, which no longer matches the files
    assert {"negative time", "fingerprint"} == {finding["kind"] for finding in report["findings"]}
    shown = subprocess.run([*bench, str(root)], capture_output=True, text=True, check=False)
    assert f"{root / RTTM}:3: onset -1" in shown.stdout


def test_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a dataset"):
        check(tmp_path)
