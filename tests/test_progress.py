"""What is shown while runs work: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io

from rich.console import Console

from diarbench.benchmarks.progress import RunProgress

EVENTS = [
    {"state": "training"},
    {"epoch": 1, "epochs": 2, "done": 1, "total": 4, "loss": 0.5},
    {"epoch": 1, "epochs": 2, "dev_der": 0.25},
    {"epoch": 2, "epochs": 2, "done": 2, "total": 4, "loss": 0.4},
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


def test_plain_lines_where_there_is_no_terminal() -> None:
    assert shown(live=False).splitlines() == [
        "1/2 a-run: training",
        "1/2 a-run: epoch 1/2, dev DER 25.0%",
        "1/2 a-run: diarizing",
        "1/2 a-run: done",
    ]


def test_bars_on_a_terminal() -> None:
    text = shown(live=True)
    assert "1/2 a-run: training" in text
    assert "6/8" in text, "all epochs are one bar: six of eight batches"
    assert "epoch 2/2  loss 0.400  dev DER 25.0%" in text
    assert "1/2 a-run: diarizing" in text and "3/4" in text
    assert text.count("1/2 a-run: done\n") == 1
