"""Damaged records of a run and of a comparison: the message names the file and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diarbench.datasets.io.errors import UserError
from diarbench.reports.results.run_folder import ComparisonFolder, RunFolder, refuse_links


@pytest.mark.parametrize(
    ("name", "read", "cure"),
    [
        ("run.json", lambda path: RunFolder(path).read_run(), "run the command that made it again"),
        ("job.json", lambda path: RunFolder(path).read_job(), "remove it, and run the command that made it again"),
        ("results.json", lambda path: ComparisonFolder(path).read_results(), "run the command that made it again"),
    ],
)
@pytest.mark.parametrize("content", [b"", b'{"name": "x', b"{}", b"\x00\xff"])
def test_a_damaged_record_is_told_with_the_cure(
    name: str, read: Callable[[Path], Any], cure: str, content: bytes, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"^{re.escape(str(tmp_path / name))}: not a valid \w+: .+; {cure}"):
        read(tmp_path)


def test_of_links_only_those_of_submitit_are_let_pass(tmp_path: Path) -> None:
    folder = tmp_path / ".slurm-1"
    folder.mkdir()
    (folder / ".submission_file_1.sh").symlink_to(folder / "4242_submission.sh")
    refuse_links(tmp_path)
    for link in (folder / "run.json", tmp_path / ".submission_file_1.sh", tmp_path / ".slurm-2"):
        link.symlink_to(folder)
        with pytest.raises(UserError, match=f"{re.escape(str(link))}: is a link"):
            refuse_links(tmp_path)
        link.unlink()
