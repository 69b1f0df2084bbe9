"""Each loss against numbers worked out by hand, on tensors of two frames."""

from __future__ import annotations

import math
from typing import Any

import pytest

from diarbench.backends.objective import Objective

torch = pytest.importorskip("torch")
from diarbench.backends import losses  # noqa: E402

MAPPING = [[0, 0], [1, 0], [0, 1], [1, 1]]
"""The sets of two speakers."""
SETS = [[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1]]
"""Their chances in two frames: speaker 1 has 0.2 + 0.4 = 0.6, then 0.2; speaker 2 has 0.7, then 0.2."""
WANTED = [[1.0, 0.0], [0.0, 0.0]]


def sets(chances: Any = SETS) -> Any:
    return losses.of_powerset(torch.tensor([chances]).log(), torch.tensor(MAPPING))


def test_the_powerset_s_marginals_and_the_chance_of_anybody() -> None:
    found = sets()
    torch.testing.assert_close(found.each.speaks.exp(), torch.tensor([[[0.6, 0.7], [0.2, 0.2]]]))
    torch.testing.assert_close(found.each.silent.exp(), torch.tensor([[[0.4, 0.3], [0.8, 0.8]]]))
    torch.testing.assert_close(found.anybody.speaks.exp(), torch.tensor([[0.9, 0.3]]))


def test_binary_cross_entropy_is_the_mean_over_frames_and_speakers() -> None:
    # Speaker 1 speaks in frame 1 alone: -ln 0.6, -ln(1 - 0.7), -ln(1 - 0.2) twice.
    by_hand = -(math.log(0.6) + math.log(0.3) + 2 * math.log(0.8)) / 4
    assert losses.multilabel(sets(), torch.tensor([WANTED]), 0.0).item() == pytest.approx(by_hand, rel=1e-5)


def test_dice_is_one_minus_twice_what_is_shared() -> None:
    # Shared 0.6; the activity adds up to 1.7, what is wanted to 1.
    by_hand = 1 - (2 * 0.6 + 1) / (1.7 + 1 + 1)
    activity = torch.tensor([[[0.6, 0.7], [0.2, 0.2]]])
    assert losses.dice(activity, torch.tensor([WANTED])).item() == pytest.approx(by_hand, rel=1e-5)
    entropy = losses.multilabel(sets(), torch.tensor([WANTED]), 0.0).item()
    weighted = losses.multilabel(sets(), torch.tensor([WANTED]), 0.5).item()
    assert weighted == pytest.approx(entropy + 0.5 * by_hand, rel=1e-5)


def test_silence_met_by_silence_has_no_dice_loss() -> None:
    assert losses.dice(torch.zeros(2, 3, 2), torch.zeros(2, 3, 2)).item() == 0


def test_voice_activity_of_the_powerset_and_of_sigmoids() -> None:
    targets = torch.tensor([WANTED])
    by_hand = -(math.log(0.9) + math.log(0.7)) / 2
    assert losses.voice_activity(sets(), targets).item() == pytest.approx(by_hand, rel=1e-5)
    # Independent speakers: both are silent by (1 - 0.6)(1 - 0.7) = 0.12, and by 0.8 * 0.8.
    sigmoids = losses.of_sigmoids(torch.tensor([[[0.6, 0.7], [0.2, 0.2]]]))
    by_hand = -(math.log(0.88) + math.log(0.64)) / 2
    assert losses.voice_activity(sigmoids, targets).item() == pytest.approx(by_hand, rel=1e-5)
    assert losses.multilabel(sigmoids, targets, 0.0).item() == pytest.approx(
        losses.multilabel(sets(), targets, 0.0).item(), rel=1e-5
    )


def test_affinity_is_low_where_each_speaker_has_a_direction_of_his_own() -> None:
    targets = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]]])
    apart = torch.tensor([[[2.0, 0.0], [1.0, 0.0], [0.0, 3.0], [1.0, 1.0], [5.0, 1.0]]])
    # Same speaker: cosine 1, ln(1 + e^-5); two: cosine 0, ln(1 + e^-5) as well. Overlap and silence do not count.
    sure = math.log1p(math.exp(-5))
    assert losses.affinity(apart, targets).item() == pytest.approx(sure, rel=1e-4)
    alike = torch.ones_like(apart)
    assert losses.affinity(alike, targets).item() == pytest.approx((sure + math.log1p(math.exp(5))) / 2, rel=1e-4)
    assert losses.affinity(alike, torch.ones_like(targets)).item() == 0


def test_counting_is_the_cross_entropy_of_how_many_speak() -> None:
    targets = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]])
    chances = torch.tensor([[[0.5, 0.3, 0.2], [0.5, 0.25, 0.25], [0.2, 0.7, 0.1]]])
    wanted = -(math.log(0.5) + math.log(0.25) + math.log(0.1)) / 3
    assert losses.counting(chances.log(), targets).item() == pytest.approx(wanted, abs=1e-6)


def test_the_total_is_the_segmentation_and_the_weighted_voice_activity() -> None:
    segmentation, vad = torch.tensor(0.5), torch.tensor(0.25)
    assert losses.weighted(segmentation, vad, Objective(vad=2.0)).item() == 1.0
    assert losses.weighted(segmentation, vad, Objective()) is segmentation


@pytest.mark.parametrize("head", ["powerset", "sigmoids"])
def test_sure_and_wrong_costs_much_and_moves_no_further_than_any_other_frame(head: str) -> None:
    logits = torch.tensor([[[-60.0, 60.0, -60.0, -60.0], [-60.0, -60.0, -60.0, 60.0]]], requires_grad=True)
    if head == "powerset":
        found = losses.of_powerset(logits.log_softmax(-1), torch.tensor(MAPPING))
    else:
        found = losses.of_sigmoids(logits[..., :2].sigmoid())
    loss = losses.multilabel(found, torch.tensor([[[0.0, 1.0], [0.0, 0.0]]]), 1.0) + losses.voice_activity(
        found, torch.zeros(1, 2, 2)
    )
    loss.backward()
    assert logits.grad is not None
    assert 3 < loss.item() < 300
    assert torch.isfinite(logits.grad).all() and logits.grad.abs().max() < 5


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"head": "fresh"}, "a fresh head and a Dice term belong to 'name: multilabel'"),
        ({"dice": 1}, "belong to 'name: multilabel'"),
        ({"arrival": 0, "permutation": 0}, "leaves Sortformer no loss"),
        ({"vad": -1}, "greater than or equal to 0"),
    ],
)
def test_an_impossible_objective_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Objective(**given)
