"""torchmetrics is imported as far as it is used, and whole for whoever uses more of it."""

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
    for module in ("torchmetrics", "lightning", "pyannote.audio"):
        pytest.importorskip(module)
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(first=first)], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [[], True, False, "BLEUScore"]
