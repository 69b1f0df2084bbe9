"""The packaged weights of the small Sortformer: a distribution of its own, since its licence is not diarbench's."""

from __future__ import annotations

from pathlib import Path

from diarbench.backends.packages import package_file
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import sha256_of
from diarbench.reports.results.run import Weights

DISTRIBUTION = "diarbench-small-sortformer"
INSTALL = f"pip install {DISTRIBUTION}"

PACKAGED = Weights(
    origin="small Sortformer (diarbench)",
    pretrained=True,
    licence="GPL-2.0-only",
    training_corpora=("Debian voices", "AMI"),
)
"""Trained for diarbench: docs/small-sortformer.md."""


def packaged_file() -> Path | None:
    """The ``.nemo`` file; None where the distribution is not installed."""
    return package_file("diarbench_small_sortformer", "small-sortformer.nemo")


def packaged_weights() -> tuple[Weights, Path]:
    """The weights and their file. Raises UserError, with the command to run, where they are not installed."""
    path = packaged_file()
    if path is None:
        raise UserError(f"the weights of the small Sortformer are not installed: {INSTALL}")
    return PACKAGED.model_copy(update={"sha256": sha256_of(path)}), path
