"""What the tests of MSDD share: whether NeMo 2.7 is installed, a small network, and a conversation of three."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from diarbench.backends import registry
from diarbench.datasets.dataset import Recording
from diarbench.datasets.io.rttm import Turn, write_rttm

TURNS = [
    Turn(1.0, 4.25, "a"),
    Turn(3.5, 6.0, "b"),
    Turn(6.5, 9.0, "c"),
    Turn(11.0, 13.0, "a"),
    Turn(12.25, 15.5, "b"),
    Turn(15.75, 19.0, "c"),
]
"""Times at which NeMo's rounding and ours cannot differ."""

DURATION_S = 20


def skip_without_msdd() -> None:
    """Skip the calling test module where the installed NeMo has no MSDD."""
    if command := registry.missing("nemo-msdd"):
        pytest.skip(command, allow_module_level=True)


def make_network() -> Any:
    """A tiny MSDD with random weights."""
    import torch

    from diarbench.backends.msdd.configuration import TINY
    from diarbench.backends.msdd.network import MsddNetwork

    torch.manual_seed(1)
    return MsddNetwork.from_scratch(TINY).eval()


def make_recording(folder: Path) -> Recording:
    """Three voices, each a tone of its own with harmonics and noise, between stretches of near silence."""
    time = np.arange(DURATION_S * 16000) / 16000
    random = np.random.default_rng(1)
    audio = random.normal(0, 1e-4, len(time))
    for turn in TURNS:
        inside = (time >= turn.start_s) & (time < turn.end_s)
        pitch = {"a": 110, "b": 190, "c": 310}[turn.speaker]
        voice = sum(np.sin(2 * np.pi * pitch * k * time + k) / k for k in range(1, 12))
        audio += inside * 0.1 * voice * (1 + 0.3 * random.normal(0, 1, len(time)))
    soundfile.write(folder / "talk.wav", audio, 16000, subtype="FLOAT")
    write_rttm(folder / "talk.rttm", "talk", TURNS)
    (folder / "talk.uem").write_text(f"talk 1 0 {DURATION_S}\n")
    return Recording("talk", "test", *(folder / f"talk.{kind}" for kind in ("wav", "rttm", "uem")))
