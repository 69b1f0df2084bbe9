"""Runs on nodes that do not share the driver's disk."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from run_helpers import plan_of

from diarbench.benchmarks.runs.evaluation import queued_run
from diarbench.benchmarks.runs.executors.away import Home, pack, unpack
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.lock import hold
from diarbench.datasets.io.records import write_record
from diarbench.reports.results.run_folder import RunFolder


def test_a_folder_comes_back_as_it_was_on_the_node(ami_mini: Dataset, tmp_path: Path) -> None:
    job = plan_of(ami_mini, "scratch").job
    home, there = RunFolder(tmp_path / "home" / job.name), RunFolder(tmp_path / "there" / job.name)
    write_record(home.job, job)
    home.path.joinpath("gone.txt").touch()
    unpack(pack(home.path), there.path)
    assert there.read_job() == job
    (there.path / "gone.txt").unlink()
    write_record(there.run, queued_run(job))
    (there.path / ".epochs.csv.partial").touch()
    there.checkpoint("last").parent.mkdir()
    there.checkpoint("last").write_bytes(b"weights")
    home.cancelled.touch()
    unpack(pack(there.path), home.path)
    found = {path.relative_to(home.path).as_posix() for path in home.path.rglob("*") if path.is_file()}
    assert found == {"job.json", "run.json", "checkpoints/last.ckpt", ".cancelled"}, "the driver's own mark stays"
    assert [path.name for path in (tmp_path / "home").iterdir()] == [job.name]


def test_a_node_that_lost_its_run_to_another_one_stores_nothing(ami_mini: Dataset, tmp_path: Path) -> None:
    job = plan_of(ami_mini, "scratch").job
    write_record(RunFolder(tmp_path).job, job)
    write_record(RunFolder(tmp_path).run, queued_run(job))
    home = Home()
    first, content = home.fetch(str(tmp_path))
    second, _ = home.fetch(str(tmp_path))
    RunFolder(tmp_path).log.write_text("newer")
    assert not home.store(str(tmp_path), first, content)
    assert RunFolder(tmp_path).log.read_text() == "newer"
    with hold(tmp_path):
        assert home.store(str(tmp_path), second, None)
    RunFolder(tmp_path).cancelled.touch()
    assert not home.store(str(tmp_path), second, None), "the node is told that its run was cancelled"


def test_links_in_what_a_node_sends_are_refused(tmp_path: Path) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        link = tarfile.TarInfo("log.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "job.json"
        archive.addfile(link)
    with pytest.raises(UserError, match="is a link"):
        unpack(content.getvalue(), tmp_path / "run")
    assert not (tmp_path / "run").exists()
