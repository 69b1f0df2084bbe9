"""The progress display: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io

from rich.console import Console

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


def shown(live: bool) -> str:
    out = io.StringIO()
    with RunProgress(Console(file=out, force_terminal=live, width=140)) as progress:
        progress.begin("a-run", "1/2")
        for event in EVENTS:
            progress.on(event)
            progress.bars.refresh()
        progress.end("done")
    return out.getvalue()


def test_plain_lines_without_a_terminal() -> None:
    assert shown(live=False).splitlines() == [
        "1/2 a-run: training",
        "1/2 a-run: epoch 1/2, dev DER 25.0%",
        "1/2 a-run: a batch of 256 windows is more than there are",
        "1/2 a-run: diarizing",
        "1/2 a-run: done",
    ]


def test_bars_on_a_terminal() -> None:
    text = shown(live=True)
    assert "1/2 a-run: training" in text
    assert "6/8" in text, "all epochs are one bar: six of eight batches"
    assert "epoch 2/2  loss 0.400  dev DER 25.0%" in text
    lines = [line.split()[-8:] for line in text.splitlines()]
    assert ["0", "-", "0.6000", "0.2000", "0.2500", "0.1000", "0.1000", "0.0500"] in lines, "a table of epochs"
    assert ["1", "0.5000", "0.6000", "0.2000", "0.2500", "0.1000", "0.1000", "0.0500"] in lines
    assert "1/2 a-run: diarizing" in text and "3/4" in text
    assert text.count("1/2 a-run: done\n") == 1
