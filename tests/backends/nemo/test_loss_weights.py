"""The weights of Sortformer's two losses: the model's own, or the recipe's."""

from __future__ import annotations

from typing import Any

import pytest

from diarbench.backends.objective import Objective

torch = pytest.importorskip("torch")
pytest.importorskip("nemo")
from nemo.collections.asr.parts.utils.asr_multispeaker_utils import get_ats_targets, get_pil_targets

from diarbench.backends.nemo.network import SortformerNetwork
from diarbench.backends.nemo.presets import preset

SAMPLES = 32_000


@pytest.fixture(scope="module")
def network() -> Any:
    """A Sortformer whose own configuration has ats_weight 0.8 and pil_weight 0.2."""
    torch.manual_seed(1)
    return SortformerNetwork.from_config({**preset("compact"), "ats_weight": 0.8, "pil_weight": 0.2}).eval()


@pytest.fixture(scope="module")
def batch(network: Any) -> tuple[Any, Any]:
    """Noise, and random targets of four speakers."""
    generator = torch.Generator().manual_seed(2)
    waveforms = torch.randn(2, SAMPLES, generator=generator)
    return waveforms, torch.randint(0, 2, (2, network.num_frames(SAMPLES), 4), generator=generator).float()


@pytest.mark.parametrize(
    ("objective", "weights"),
    [
        ({}, (0.8, 0.2)),
        ({"ats_weight": 0.3, "pil_weight": 0.7}, (0.3, 0.7)),
        ({"ats_weight": 3.0, "pil_weight": 1.0}, (0.75, 0.25)),
        ({"ats_weight": 0.6}, (0.75, 0.25)),
        ({"pil_weight": 0.8}, (0.5, 0.5)),
        ({"pil_weight": 0.0}, (1.0, 0.0)),
    ],
)
def test_the_loss_is_the_weighted_sum_of_nemo_s_two_losses(
    network: Any, batch: tuple[Any, Any], objective: dict[str, float], weights: tuple[float, float]
) -> None:
    waveforms, targets = batch
    network.train_on(Objective(**objective))
    assert network.loss_weights() == pytest.approx(weights)
    model = network.model
    frames = torch.full((2,), targets.shape[1])
    with torch.no_grad():
        activity = network.activity(waveforms)
        ats_loss, pil_loss = (
            model.loss(
                probs=activity,
                labels=sort(targets.clone(), activity, speaker_permutations=model.speaker_permutations),
                target_lens=frames,
            ).item()
            for sort in (get_ats_targets, get_pil_targets)
        )
        losses = network.loss(waveforms, targets)
    assert ats_loss > pil_loss > 0, "random targets are not sorted by arrival as the network orders them"
    assert losses.segmentation.item() == pytest.approx(weights[0] * ats_loss + weights[1] * pil_loss, rel=1e-5)
    assert losses.total.item() == losses.segmentation.item()


def test_the_phantom_speaker_loss_is_added_to_the_total(network: Any, batch: tuple[Any, Any]) -> None:
    waveforms, targets = batch
    targets = targets * torch.tensor([1.0, 1.0, 1.0, 0.0])
    with torch.no_grad():
        own, more = (network.train_on(Objective(phantom=weight)).loss(waveforms, targets) for weight in (0.0, 0.5))
        permuted = get_pil_targets(
            targets.clone(), network.activity(waveforms), speaker_permutations=network.model.speaker_permutations
        )
        empty = (1 - network.activity(waveforms))[~permuted.any(1, keepdim=True).expand_as(permuted)]
    assert more.segmentation == own.segmentation
    assert (more.total - own.total).item() == pytest.approx(-0.5 * empty.log().mean().item(), rel=1e-4)
    network.train_on(Objective())


def test_without_weights_in_the_recipe_the_loss_equals_nemo_s_own(network: Any, batch: tuple[Any, Any]) -> None:
    waveforms, targets = batch
    frames = torch.full((2,), targets.shape[1])
    with torch.no_grad():
        expected = network.model._get_aux_validation_evaluations(network.activity(waveforms), targets.clone(), frames)
        segmentation = network.train_on(Objective()).loss(waveforms, targets).segmentation
    assert segmentation.item() == pytest.approx(expected["val_loss"].item(), rel=1e-5)
    assert "80% sorted by arrival and 20% by best permutation" in network.loss_description
