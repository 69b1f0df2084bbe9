"""Separate predictions of who speaks and how many speak: probabilities of sets of speakers, and decoded activity."""

from __future__ import annotations

import itertools

import pytest

torch = pytest.importorskip("torch")
from diarbench.backends.nemo.small_sortformer import speaker_count


def test_marginals_equal_the_sum_over_all_sets_of_speakers() -> None:
    generator = torch.Generator().manual_seed(1)
    speaker_logits, count_logits = torch.randn(4, generator=generator), torch.randn(5, generator=generator)
    expected = torch.zeros(4)
    for size, probability in enumerate(count_logits.softmax(-1)):
        sets = list(itertools.combinations(range(4), size))
        weights = torch.stack([speaker_logits[list(members)].sum().exp() for members in sets])
        for members, weight in zip(sets, weights / weights.sum(), strict=True):
            expected[list(members)] += probability * weight
    assert torch.allclose(speaker_count.speaker_marginals(speaker_logits, count_logits), expected, atol=1e-6)


def test_marginals_are_computed_in_32_bits_where_a_network_is_trained_in_16() -> None:
    """In bfloat16, a speaker who speaks with 0.998 would do so with 1, and the loss of an error would be unbounded."""
    speaker_logits, count_logits = torch.tensor([9.0, 0.0, 0.0, 0.0]), torch.tensor([-6.5, 0.0, -9.0, -9.0, -9.0])
    expected = speaker_count.speaker_marginals(speaker_logits, count_logits)
    with torch.autocast("cpu", torch.bfloat16):
        assert speaker_count.speaker_marginals(speaker_logits, count_logits).equal(expected)
    assert 0.998 < expected[0].item() < 0.999


def test_uncertainty_about_who_speaks_leaves_the_expected_count_unchanged() -> None:
    one_speaker = torch.tensor([0.0, 20.0, 0.0, 0.0, 0.0])
    for speaker_logits in ([0.0, 0.0, -20.0, -20.0], [0.0, 0.0, 0.0, 0.0], [9.0, 8.0, 7.0, 6.0]):
        assert speaker_count.speaker_marginals(torch.tensor(speaker_logits), one_speaker).sum().item() == pytest.approx(
            1, abs=1e-4
        )
    no_speaker = torch.tensor([20.0, 0.0, 0.0, 0.0, 0.0])
    assert speaker_count.speaker_marginals(torch.tensor([9.0, 9.0, 9.0, 9.0]), no_speaker).max() < 1e-4


def test_extreme_logits_have_finite_gradients() -> None:
    speaker_logits = torch.tensor([200.0, -200.0, 0.0, 50.0], requires_grad=True)
    count_logits = torch.tensor([-90.0, 3.0, 90.0, 0.0, 0.0], requires_grad=True)
    activity = speaker_count.speaker_marginals(speaker_logits, count_logits)
    activity.sum().backward()
    assert activity.isfinite().all() and (activity <= 1).all()
    assert speaker_logits.grad.isfinite().all() and count_logits.grad.isfinite().all()


@pytest.mark.parametrize(
    ("activity", "decoded"),
    [
        ([0.5, 0.4, 0.1, 0.0], [1.0, 0.0, 0.0, 0.0]),
        ([0.4, 0.5, 0.3, 0.2], [0.4, 1.0, 0.0, 0.0]),
        ([0.1, 0.1, 0.1, 0.1], [0.4, 0.0, 0.0, 0.0]),
        ([1.0, 0.9, 0.0, 0.0], [1.0, 0.9, 0.0, 0.0]),
        ([0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]),
        ([1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_the_most_active_speaker_is_decoded_first(activity: list[float], decoded: list[float]) -> None:
    assert speaker_count.assign_by_rank(torch.tensor([activity]))[0].tolist() == pytest.approx(decoded, abs=1e-6)
