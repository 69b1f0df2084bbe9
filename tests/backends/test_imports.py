"""What the toolkits import without need stays out until it is used."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

LOADED = """
import json, sys
{first}
heavy = [name for name in ("transformers", "scipy.signal", "torchmetrics.text") if name in sys.modules]
import torchmetrics
from torchmetrics import MeanMetric
from torchmetrics.metric import Metric
whole = issubclass(MeanMetric, Metric) and torchmetrics.Metric is Metric and "MeanMetric" in torchmetrics.__all__
print(json.dumps([heavy, whole, hasattr(torchmetrics, "absent"), torchmetrics.text.BLEUScore.__name__]))
"""


@pytest.mark.parametrize(
    "first",
    [
        "import diarbench.backends.training.distributed",
        "import diarbench.backends.pyannote.network",
        "import diarbench.backends.training; from torchmetrics.collections import MetricCollection",
        "import diarbench.backends.training; from torchmetrics import MetricCollection, __version__",
    ],
)
def test_torchmetrics_is_imported_as_far_as_it_is_used(first: str) -> None:
    """And whole for whoever uses more of it."""
    for module in ("torchmetrics", "lightning", "pyannote.audio"):
        pytest.importorskip(module)
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(first=first)], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [[], True, False, "BLEUScore"]


COMPILED = """
import sys
import torch
compile_now = torch.compile
import diarbench.backends.nemo.toolkit as toolkit
assert "torch._inductor.compile_fx" not in sys.modules and torch.compile is compile_now
from nemo.collections.asr.modules.transformer_encoder import flex_attention, flex_attention_compiled
assert flex_attention_compiled.__wrapped__ is flex_attention

with toolkit.compiling_on_first_call():
    compiled = torch.compile(lambda x: x + 1, backend="eager")
    decorated = torch.compile(backend="eager")(lambda x: x + 2)
    module = torch.compile(torch.nn.ReLU(), backend="eager")
assert compiled(torch.zeros(1)).item() == 1 and compiled(torch.ones(1)).item() == 2
assert decorated(torch.zeros(1)).item() == 2
assert type(module).__name__ == "OptimizedModule"
from torch._dynamo.utils import counters
assert counters["frames"]["ok"] == 2, counters
"""


def test_torch_s_compiler_is_imported_where_something_is_compiled() -> None:
    for module in ("nemo", "lightning"):
        pytest.importorskip(module)
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
