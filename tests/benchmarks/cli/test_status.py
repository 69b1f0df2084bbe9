from __future__ import annotations

import json
from pathlib import Path

import pytest
from places import FIXTURES
from typer.testing import CliRunner

from diarbench.benchmarks.cli.__main__ import app
from diarbench.datasets.io.errors import UserError

FINISHED = FIXTURES / "old-run"


def bench(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def test_status_is_a_table_or_json_and_reads_runs_of_version_0_1() -> None:
    lines = bench("status", FINISHED).splitlines()
    assert lines[0].split() == ["run", "state", "epoch", "dev", "DER", "host", "time", "left"]
    assert lines[1].split()[:2] == ["ami-mini-nemo-quick-seed1", "done"]
    assert lines[-1] == "2 done"
    assert bench("status", FINISHED, "--watch").splitlines()[-1].startswith("2 done"), "ends where all runs are over"
    runs = json.loads(bench("status", FINISHED, "--json"))
    assert [run["state"] for run in runs] == ["done", "done"]
    assert set(runs[0]) == {"run", "state", "epoch", "epochs", "dev_der", "host", "left_s", "failure"}
    assert bench("cancel", FINISHED) == "Every run is over already.\n"


def test_no_name_is_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    names = "".join(line[:12].strip() for line in bench("status", FINISHED).splitlines()[1:-1])
    assert names == "ami-mini-nemo-quick-seed1ami-mini-pyannote-quick-seed1"


def test_watch_and_json_exclude_each_other() -> None:
    with pytest.raises(UserError, match="--watch: shows a table; leave out --json"):
        bench("status", FINISHED, "--watch", "--json")
