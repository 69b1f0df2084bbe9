"""Datasets merged into one."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpora import write_wav
from typer.testing import CliRunner

from diarbench.benchmarks.cli.data import app
from diarbench.datasets.checking.check import check
from diarbench.datasets.conversion.convert import convert
from diarbench.datasets.conversion.corpus import Corpus, SourceRecording
from diarbench.datasets.dataset import SUBSETS, Dataset, corpora_of
from diarbench.datasets.folds import group_recordings
from diarbench.datasets.formats.detect import find_corpus
from diarbench.datasets.io.audio import Clip
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.rttm import Region, Turn
from diarbench.datasets.merging import merge


@pytest.fixture
def calls(tmp_path: Path) -> Dataset:
    return make(tmp_path / "calls", "Calls", "train", [Turn(0, 1, "bob"), Turn(1, 2, "spk00")], seed=0)


@pytest.fixture
def ami(tmp_path: Path) -> Dataset:
    return make(tmp_path / "ami", "AMI", "test", [Turn(0.5, 0.5, "spk00"), Turn(0.5, 1, "bob")], seed=1)


def make(root: Path, corpus: str, subset: str, turns: list[Turn], seed: int) -> Dataset:
    audio = write_wav(root.with_suffix(".wav"), seed=seed)
    recording = SourceRecording("one", (Clip(audio),), turns, [Region(0, 2)], subset)  # type: ignore[arg-type]
    return convert(Corpus(corpus, [recording], f"{corpus} from a disc", f"the licence of {corpus}"), root)


def test_merging(calls: Dataset, ami: Dataset, tmp_path: Path) -> None:
    ended = CliRunner().invoke(app, ["merge", *map(str, (tmp_path / "both", calls.root, ami.root)), "--workers", "1"])
    assert ended.exit_code == 0, ended.output
    both = Dataset.open(tmp_path / "both")
    recordings = {r.uri: r for subset in SUBSETS for r in both.recordings[subset]}
    assert {uri: (r.subset, r.turns, r.regions) for uri, r in recordings.items()} == {
        "calls_one": ("train", [Turn(0, 1, "calls_bob"), Turn(1, 2, "spk00")], [Region(0, 2)]),
        "ami_one": ("test", [Turn(0.5, 1, "ami_bob")], [Region(0, 2)]),
    }
    assert recordings["ami_one"].audio.samefile(ami.recordings["test"][0].audio)  # linked, not copied
    assert len(group_recordings(list(recordings.values()))) == 2  # 'spk00' is no person whom both have
    info = both.info
    assert corpora_of(info.corpus) == ["Calls", "AMI"]
    assert info.licence == "calls: the licence of Calls; ami: the licence of AMI"
    assert info.source == "calls: Calls from a disc; ami: AMI from a disc"
    assert [(m.name, m.corpus, m.licence, m.fingerprint) for m in info.merged] == [
        ("calls", "Calls", "the licence of Calls", calls.info.fingerprint),
        ("ami", "AMI", "the licence of AMI", ami.info.fingerprint),
    ]
    assert info.changes == ami.info.changes == {"turns dropped: no length": 1}
    assert check(both.root).errors == 0
    again = convert(find_corpus(str(both.root)), tmp_path / "again")
    assert (again.info.merged, again.info.fingerprint) == (info.merged, info.fingerprint)


@pytest.mark.parametrize("kind", ["rttm", "uem", "audio"])
def test_files_that_change_while_they_are_merged(kind: str, calls: Dataset, ami: Dataset, tmp_path: Path) -> None:
    (recording,) = ami.recordings["test"]
    path: Path = getattr(recording, kind)

    def replace(done: int) -> None:
        content = path.read_bytes()
        path.write_bytes(content[:-1000] + bytes(1000) if kind == "audio" else 2 * content)

    with pytest.raises(UserError, match=rf"{path.name}: changed (since|while)"):
        convert(merge([calls, ami]), tmp_path / "both", progress=replace)
    assert not (tmp_path / "both").exists()


def test_what_cannot_be_merged(calls: Dataset, ami: Dataset, tmp_path: Path) -> None:
    other = make(tmp_path / "ami_x", "X", "test", [Turn(0, 1, "jo")], seed=2)
    same = make(tmp_path / "other" / "ami", "Y", "test", [Turn(0, 1, "x_jo")], seed=3)
    with pytest.raises(UserError, match="a speaker of ami_x and one of ami would both be named ami_x_jo; convert one"):
        list(merge([other, same]).recordings)
    with pytest.raises(UserError, match="2 datasets are named calls; convert one again to a folder of another name"):
        merge([calls, ami, calls])
    ami.recordings["test"][0].rttm.write_text("SPEAKER one 1 0 2 <NA> <NA> eve <NA> <NA>\n")
    with pytest.raises(UserError, match="files changed since the dataset was converted"):
        merge([calls, ami])
    assert "at least two datasets" in str(CliRunner().invoke(app, ["merge", "out", str(calls.root)]).exception)
