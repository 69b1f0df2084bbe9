"""The packaged small Sortformer, where its package is not installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from diarbench.backends import registry
from diarbench.datasets.io.errors import UserError


@pytest.fixture
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty Hugging Face cache, and no package diarbench-small-sortformer."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for module in ("backend", "small_sortformer.weights"):
        monkeypatch.setattr(f"diarbench.backends.nemo.{module}.packaged_file", lambda: None)


@pytest.mark.usefixtures("no_weights")
def test_auto_falls_back_to_scratch_and_says_what_to_install() -> None:
    initial = registry.load("nemo").resolve_init("auto")
    assert (initial.path, initial.hub, initial.preset) == (None, None, "compact")
    assert not initial.weights.pretrained and initial.weights.training_corpora == ()
    assert initial.weights.origin == (
        "scratch (no pretrained weights are installed; for the small Sortformer: "
        "pip install diarbench-small-sortformer)"
    )


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize("init", ["small", "small-streaming"])
def test_small_names_the_command_that_installs_it(init: str) -> None:
    with pytest.raises(UserError) as error:
        registry.load("nemo").resolve_init(init)
    assert str(error.value) == (
        "the weights of the small Sortformer are not installed: pip install diarbench-small-sortformer"
    )
