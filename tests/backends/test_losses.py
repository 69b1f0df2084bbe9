"""Each loss against numbers computed by hand, on tensors of two frames."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from toolkits import load_or_skip

from diarbench.backends.objective import Objective

torch = pytest.importorskip("torch")
from diarbench.backends import losses
from diarbench.backends.nemo.small_sortformer.speaker_count import counting_loss

MAPPING = [[0, 0], [1, 0], [0, 1], [1, 1]]
"""The sets of two speakers."""
SETS = [[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1]]
"""Their probabilities in two frames: speaker 1 has 0.2 + 0.4 = 0.6, then 0.2; speaker 2 has 0.7, then 0.2."""
TARGETS = [[1.0, 0.0], [0.0, 0.0]]


def marginals(probabilities: Any = SETS) -> Any:
    return losses.powerset_marginals(torch.tensor([probabilities]).log(), torch.tensor(MAPPING))


def test_powerset_marginals_and_the_probability_of_speech() -> None:
    probabilities = marginals()
    torch.testing.assert_close(probabilities.each.speaks.exp(), torch.tensor([[[0.6, 0.7], [0.2, 0.2]]]))
    torch.testing.assert_close(probabilities.each.silent.exp(), torch.tensor([[[0.4, 0.3], [0.8, 0.8]]]))
    torch.testing.assert_close(probabilities.anybody.speaks.exp(), torch.tensor([[0.9, 0.3]]))


def test_binary_cross_entropy_is_the_mean_over_frames_and_speakers() -> None:
    # Only speaker 1 speaks, in frame 1: -ln 0.6, -ln(1 - 0.7), -ln(1 - 0.2) twice.
    by_hand = -(math.log(0.6) + math.log(0.3) + 2 * math.log(0.8)) / 4
    assert losses.multilabel_loss(marginals(), torch.tensor([TARGETS]), 0.0).item() == pytest.approx(by_hand, rel=1e-5)


def test_dice_loss_by_hand() -> None:
    # The intersection is 0.6; the activity sums to 1.7, the targets to 1.
    by_hand = 1 - (2 * 0.6 + 1) / (1.7 + 1 + 1)
    activity = torch.tensor([[[0.6, 0.7], [0.2, 0.2]]])
    assert losses.dice_loss(activity, torch.tensor([TARGETS])).item() == pytest.approx(by_hand, rel=1e-5)
    entropy = losses.multilabel_loss(marginals(), torch.tensor([TARGETS]), 0.0).item()
    weighted = losses.multilabel_loss(marginals(), torch.tensor([TARGETS]), 0.5).item()
    assert weighted == pytest.approx(entropy + 0.5 * by_hand, rel=1e-5)


def test_silence_predicted_as_silence_has_no_dice_loss() -> None:
    assert losses.dice_loss(torch.zeros(2, 3, 2), torch.zeros(2, 3, 2)).item() == 0


def test_voice_activity_of_the_powerset_and_of_sigmoids() -> None:
    targets = torch.tensor([TARGETS])
    by_hand = -(math.log(0.9) + math.log(0.7)) / 2
    assert losses.voice_activity_loss(marginals(), targets).item() == pytest.approx(by_hand, rel=1e-5)
    # Independent speakers: both are silent with (1 - 0.6)(1 - 0.7) = 0.12, then 0.8 * 0.8.
    sigmoids = losses.sigmoid_marginals(torch.tensor([[[0.6, 0.7], [0.2, 0.2]]]))
    by_hand = -(math.log(0.88) + math.log(0.64)) / 2
    assert losses.voice_activity_loss(sigmoids, targets).item() == pytest.approx(by_hand, rel=1e-5)
    assert losses.multilabel_loss(sigmoids, targets, 0.0).item() == pytest.approx(
        losses.multilabel_loss(marginals(), targets, 0.0).item(), rel=1e-5
    )


def test_affinity_loss_is_low_where_each_speaker_has_its_own_direction() -> None:
    targets = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]]])
    separated = torch.tensor([[[2.0, 0.0], [1.0, 0.0], [0.0, 3.0], [1.0, 1.0], [5.0, 1.0]]])
    # One speaker: cosine 1, ln(1 + e^-5); two speakers: cosine 0, the same. Overlap and silence do not count.
    lowest = math.log1p(math.exp(-5))
    assert losses.affinity_loss(separated, targets).item() == pytest.approx(lowest, rel=1e-4)
    identical = torch.ones_like(separated)
    assert losses.affinity_loss(identical, targets).item() == pytest.approx(
        (lowest + math.log1p(math.exp(5))) / 2, rel=1e-4
    )
    assert losses.affinity_loss(identical, torch.ones_like(targets)).item() == 0


def test_affinity_loss_has_32_bits_where_a_network_is_trained_in_16() -> None:
    frames = torch.randn(1, 40, 8, generator=torch.Generator().manual_seed(1)).bfloat16()
    targets = torch.eye(2)[torch.arange(40) % 2][None]
    with torch.autocast("cpu", torch.bfloat16):
        in_training = losses.affinity_loss(frames, targets)
    assert in_training.item() == losses.affinity_loss(frames.float(), targets).item()


def test_counting_loss_is_the_cross_entropy_of_the_number_of_speakers() -> None:
    targets = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]])
    probabilities = torch.tensor([[[0.5, 0.3, 0.2], [0.5, 0.25, 0.25], [0.2, 0.7, 0.1]]])
    by_hand = -(math.log(0.5) + math.log(0.25) + math.log(0.1)) / 3
    assert counting_loss(probabilities.log(), targets).item() == pytest.approx(by_hand, abs=1e-6)


def test_the_total_is_the_segmentation_and_the_weighted_voice_activity() -> None:
    segmentation, vad = torch.tensor(0.5), torch.tensor(0.25)
    assert losses.weighted(segmentation, vad, Objective(vad=2.0)).item() == 1.0
    assert losses.weighted(segmentation, vad, Objective()) is segmentation


def test_the_phantom_speaker_loss_is_that_of_outputs_without_a_speaker() -> None:
    probabilities = losses.logit_marginals(
        torch.tensor([[[9.0, -1.0, 2.0], [9.0, -3.0, 0.0]], [[0.0, 0.0, 0.0]] * 2])
    ).each
    targets = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]], [[1.0, 1.0, 1.0]] * 2])
    by_hand = sum(math.log1p(math.exp(x)) for x in (-1, -3, 2, 0)) / 4
    assert losses.phantom_speaker_loss(probabilities, targets).item() == pytest.approx(by_hand, rel=1e-5)
    assert losses.phantom_speaker_loss(probabilities, torch.ones_like(targets)).item() == 0


def test_a_value_that_is_not_a_number_is_in_the_loss_and_ends_nothing() -> None:
    activity = torch.tensor([[[0.25, torch.nan], [0.5, 0.75]]], requires_grad=True)
    finite, not_finite = losses.finite_part(activity)
    assert finite.tolist() == [[[0.25, 0.0], [0.5, 0.75]]] and not_finite.isnan()
    targets = torch.tensor([[[0.0, 1.0], [1.0, 1.0]]])
    in_some_order = losses.in_best_order(losses.sigmoid_marginals(activity).each, targets)
    assert in_some_order.sum(2).equal(targets.sum(2))


def test_a_loss_of_activity_is_as_without_the_check_for_numbers() -> None:
    activity = torch.tensor([[[0.25, 0.5], [1.0, 0.75]]], requires_grad=True)
    finite, zero = losses.finite_part(activity)
    assert zero.item() == 0
    (finite.square().sum() + zero).backward()
    assert activity.grad is not None and activity.grad.equal(2 * activity.detach())


@pytest.mark.parametrize("name", ["pyannote with a fresh head", "nemo", "nemotron"])
def test_a_network_s_sigmoids_have_32_bits_where_it_is_trained_in_16(name: str) -> None:
    """Those that a sigmoid computes in bfloat16 are 1 from 0.998 on, so that the loss of an error is unbounded."""
    backend = load_or_skip(name.partition(" ")[0])
    objective = Objective(name="multilabel", head="fresh") if name.startswith("pyannote") else Objective()
    network = backend.network(backend.resolve_init("scratch"), objective)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        probabilities = network.eval().activity(torch.randn(1, 16_000))
    assert not probabilities.bfloat16().float().equal(probabilities)


@pytest.mark.parametrize("head", ["powerset", "sigmoids"])
def test_a_confident_error_has_a_large_loss_and_an_ordinary_gradient(head: str) -> None:
    logits = torch.tensor([[[-60.0, 60.0, -60.0, -60.0], [-60.0, -60.0, -60.0, 60.0]]], requires_grad=True)
    if head == "powerset":
        probabilities = losses.powerset_marginals(logits.log_softmax(-1), torch.tensor(MAPPING))
    else:
        probabilities = losses.sigmoid_marginals(logits[..., :2].sigmoid())
    loss = losses.multilabel_loss(
        probabilities, torch.tensor([[[0.0, 1.0], [0.0, 0.0]]]), 1.0
    ) + losses.voice_activity_loss(probabilities, torch.zeros(1, 2, 2))
    loss.backward()
    assert logits.grad is not None
    assert 3 < loss.item() < 300
    assert torch.isfinite(logits.grad).all() and logits.grad.abs().max() < 5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"head": "fresh"}, "'head: fresh' and 'dice' need 'name: multilabel'"),
        ({"dice": 1}, "need 'name: multilabel'"),
        ({"ats_weight": 0, "pil_weight": 0}, "are both 0, so Sortformer has no loss"),
        ({"vad": -1}, "greater than or equal to 0"),
    ],
)
def test_an_invalid_objective_is_rejected(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Objective(**settings)


def test_marginals_of_logits_equal_those_of_their_sigmoids_and_stay_finite() -> None:
    logits = torch.tensor([[[0.4, -1.0], [2.0, -3.0]]])
    by_logits, by_sigmoid = losses.logit_marginals(logits), losses.sigmoid_marginals(logits.sigmoid())
    for ours, theirs in zip(
        (*by_logits.each, *by_logits.anybody), (*by_sigmoid.each, *by_sigmoid.anybody), strict=True
    ):
        torch.testing.assert_close(ours, theirs)
    extreme = losses.logit_marginals(torch.tensor([[[80.0, -200.0], [-300.0, -200.0]]]))
    assert all(each.isfinite().all() for each in (*extreme.each, *extreme.anybody))


def test_the_order_of_arrival_puts_silent_speakers_last() -> None:
    # First frames: 2, never, 0, 1.
    targets = torch.tensor([[[0, 0, 1, 0], [0, 0, 1, 1], [1, 0, 0, 1]]]).float()
    assert losses.in_order_of_arrival(targets).tolist() == [[[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0]]]


def test_the_best_order_by_hand() -> None:
    # Output 1 is sure of frame 2 and output 2 of frame 1: the speakers fit the other way round.
    probabilities = losses.logit_marginals(torch.tensor([[[-2.0, 1.0], [2.0, -1.0]]])).each
    targets = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    assert losses.in_best_order(probabilities, targets).tolist() == [[[0, 1], [1, 0]]]
    by_hand = (2 * math.log(1 + math.exp(-2)) + 2 * math.log(1 + math.exp(-1))) / 4
    loss = losses.binary_cross_entropy(probabilities, losses.in_best_order(probabilities, targets))
    assert loss.item() == pytest.approx(by_hand, rel=1e-5)


def test_the_best_order_has_the_least_loss_of_all_permutations_of_four_speakers() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = 2 * torch.randn(6, 12, 4, generator=generator)
    targets = (torch.rand(6, 12, 4, generator=generator) < 0.4).float()
    targets[0, :, 1:] = 0  # three silent speakers
    chosen = set()
    for window, wanted in zip(logits, targets, strict=True):
        probabilities = losses.logit_marginals(window[None]).each
        least = min(
            losses.binary_cross_entropy(probabilities, wanted[None, :, list(order)]).item()
            for order in itertools.permutations(range(4))
        )
        best = losses.in_best_order(probabilities, wanted[None])
        assert losses.binary_cross_entropy(probabilities, best).item() == pytest.approx(least, rel=1e-6)
        chosen.add(tuple(best[0].sum(0).tolist()))
    probabilities = losses.logit_marginals(logits).each
    in_batch = losses.in_best_order(probabilities, targets)
    with torch.autocast("cpu", torch.bfloat16):
        assert losses.in_best_order(probabilities, targets).equal(in_batch), "also where a network has 16 bits"
    assert {tuple(window.sum(0).tolist()) for window in in_batch} == chosen
    assert not torch.equal(in_batch, targets)


def test_speakers_are_ordered_as_pyannote_orders_them() -> None:
    """Also where several orders are equally good, as for outputs that are silent."""
    pytest.importorskip("pyannote.audio")
    from pyannote.audio.utils.permutation import permutate

    from diarbench.backends.pyannote.network import in_best_order

    torch.manual_seed(1)
    targets = (torch.rand(200, 7, 3) < 0.4).float()
    for outputs in ((torch.rand(200, 7, 3) < 0.3).float(), torch.rand(200, 7, 3)):
        assert in_best_order(outputs, targets).equal(permutate(outputs, targets)[0])
