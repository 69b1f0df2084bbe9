"""The progress display: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console
from rich.progress import BarColumn

from diarbench.benchmarks.runs import progress as progress_module
from diarbench.benchmarks.runs.progress import RunProgress

EPOCH = {
    "loss_train": 0.5,
    "loss_val": 0.6,
    "loss_val_vad": 0.2,
    "der": 0.25,
    "confusion": 0.1,
    "false_alarm": 0.1,
    "miss": 0.05,
}
RUN = "ami-mini-pyannote-quick-seed1"

EVENTS = [
    {"state": "training"},
    {"finished": {**EPOCH, "epoch": 0, "loss_train": None}, "epochs": 2},
    {"epoch": 1, "epochs": 2, "done": 1, "total": 4, "loss": 0.5},
    {"finished": {**EPOCH, "epoch": 1}, "epochs": 2},
    {"epoch": 2, "epochs": 2, "done": 2, "total": 4, "loss": 0.4},
    {"note": "a batch of 256 windows is more than there are"},
    {"state": "diarizing"},
    {"stage": "finetuned", "done": 3, "total": 4},
    {"state": "done"},
]


def shown(live: bool, verbose: bool = False, width: int = 140) -> str:
    out = io.StringIO()
    with RunProgress(Console(file=out, force_terminal=live, width=width), verbose) as progress:
        progress.name(RUN, "1/2")
        progress.begin(RUN)
        for event in EVENTS:
            progress.on(RUN, event)
            progress.bars.refresh()
        progress.end(RUN, "done")
        progress.work("comparing the runs")
        progress.bars.refresh()
    return re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", out.getvalue())


def test_plain_lines_without_a_terminal() -> None:
    assert shown(live=False).splitlines() == [
        "1/2 ami-mini-pyannote-quick-seed1: training",
        "1/2 ami-mini-pyannote-quick-seed1: epoch 1/2, dev DER 25.0%",
        "1/2 ami-mini-pyannote-quick-seed1: a batch of 256 windows is more than there are",
        "1/2 ami-mini-pyannote-quick-seed1: diarizing",
        "1/2 ami-mini-pyannote-quick-seed1: done",
    ]


@pytest.mark.parametrize("width", [80, 140])
def test_the_bar_has_phase_epoch_loss_dev_der_and_time_at_every_width(width: int) -> None:
    lines = re.split("[\r\n]+", shown(live=True, width=width))
    assert max(map(len, lines)) <= width
    bars = [line for line in lines if "epoch 2/2" in line]
    assert re.search(r"training .*━.* epoch 2/2  loss 0.400  dev DER 25.0% +\d:\d\d:\d\d", bars[-1])
    assert any(re.search("diarizing .*━.* finetuned 3/4", line) for line in lines)
    assert any("starting" in line for line in lines), "a bar before the worker's first event"
    assert any("before training: dev DER 25.0%" in line for line in lines)
    assert any("comparing the runs" in line for line in lines)
    assert "1/2 ami-mini-pyannote-quick-seed1" in lines
    assert lines.count("1/2 ami-mini-pyannote-quick-seed1: done") == 1


def test_notes_are_wrapped_at_words_on_a_terminal() -> None:
    lines = [line.strip() for line in re.split("[\r\n]+", shown(live=True, width=60))]
    assert "1/2 ami-mini-pyannote-quick-seed1: a batch of 256 windows is" in lines and "more than there are" in lines


def test_a_bar_whose_work_is_done_moves_until_the_next_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the worker loads the next network, it reports nothing."""
    progress = RunProgress(Console(file=io.StringIO(), force_terminal=True, width=80))
    progress.name("a-run", "1/1")
    progress.begin("a-run")
    progress.on("a-run", {"stage": "tuned", "done": 4, "total": 4})
    (task,) = progress.bars.tasks
    spinner, *_, time_column = progress.bars.columns
    now = task.get_time()
    frames = []
    for seconds in (0.0, 0.1, 0.2):
        monkeypatch.setattr(task, "_get_time", lambda seconds=seconds: now + seconds)
        frames.append(str(spinner.render(task)))
    assert len(set(frames)) == 3
    assert "left" not in str(time_column.render(task))


def test_epochs_are_a_table_with_verbose_alone() -> None:
    row = ["1", "0.5000", "0.6000", "0.2000", "0.2500", "0.1000", "0.1000", "0.0500"]
    assert row in [line.split() for line in shown(live=True, verbose=True).splitlines()]
    assert row not in [line.split() for line in shown(live=True).splitlines()]


def test_a_bar_without_events_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """As validation, loading and scoring report nothing meanwhile."""
    monkeypatch.setattr(progress_module, "STILL_S", -1)
    progress = RunProgress(Console(file=io.StringIO(), force_terminal=True, width=80))
    progress.name("a-run", "1/1")
    progress.begin("a-run")
    progress.on("a-run", {"epoch": 1, "epochs": 2, "done": 1, "total": 4, "loss": 0.5})
    (task,) = progress.bars.tasks
    bar = next(column for column in progress.bars.columns if isinstance(column, BarColumn))
    assert bar.render(task).pulse
    monkeypatch.setattr(progress_module, "STILL_S", 1000)
    assert not bar.render(task).pulse


def test_runs_side_by_side_have_a_bar_each() -> None:
    out = io.StringIO()
    with RunProgress(Console(file=out, force_terminal=True, width=80)) as progress:
        for number, run in enumerate(("first", "second"), start=1):
            progress.name(run, f"{number}/2")
            progress.begin(run)
            progress.on(run, {"state": "training"})
        progress.on("second", {"epoch": 1, "epochs": 2, "done": 1, "total": 4, "loss": 0.5})
        progress.bars.refresh()
    last = re.split("[\r\n]+", re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", out.getvalue()))
    headings = [last.index(f"{number}/2 {run}") for number, run in ((1, "first"), (2, "second"))]
    assert headings == sorted(headings)
    assert any("epoch 1/2  loss 0.500" in line for line in last[headings[1] :])
