"""Who speaks and how many, told apart: chances of sets of speakers, and the activity that is decoded."""

from __future__ import annotations

import itertools

import pytest

torch = pytest.importorskip("torch")
from diarbench.backends.nemo.small_sortformer import speaker_count as counting


def test_chances_are_those_of_all_sets_of_the_size_that_is_drawn_first() -> None:
    generator = torch.Generator().manual_seed(1)
    who, how_many = torch.randn(4, generator=generator), torch.randn(5, generator=generator)
    wanted = torch.zeros(4)
    for size, chance in enumerate(how_many.softmax(-1)):
        sets = list(itertools.combinations(range(4), size))
        weights = torch.stack([who[list(members)].sum().exp() for members in sets])
        for members, weight in zip(sets, weights / weights.sum(), strict=True):
            wanted[list(members)] += chance * weight
    assert torch.allclose(counting.speaker_marginals(who, how_many), wanted, atol=1e-6)


def test_a_doubt_about_who_is_no_doubt_about_how_many() -> None:
    one = torch.tensor([0.0, 20.0, 0.0, 0.0, 0.0])
    for who in ([0.0, 0.0, -20.0, -20.0], [0.0, 0.0, 0.0, 0.0], [9.0, 8.0, 7.0, 6.0]):
        assert counting.speaker_marginals(torch.tensor(who), one).sum().item() == pytest.approx(1, abs=1e-4)
    nobody = torch.tensor([20.0, 0.0, 0.0, 0.0, 0.0])
    assert counting.speaker_marginals(torch.tensor([9.0, 9.0, 9.0, 9.0]), nobody).max() < 1e-4


def test_odds_beyond_what_a_number_holds_leave_a_gradient() -> None:
    who = torch.tensor([200.0, -200.0, 0.0, 50.0], requires_grad=True)
    how_many = torch.tensor([-90.0, 3.0, 90.0, 0.0, 0.0], requires_grad=True)
    activity = counting.speaker_marginals(who, how_many)
    activity.sum().backward()
    assert activity.isfinite().all() and (activity <= 1).all()
    assert who.grad.isfinite().all() and how_many.grad.isfinite().all()


@pytest.mark.parametrize(
    ("activity", "decided"),
    [
        ([0.5, 0.4, 0.1, 0.0], [1.0, 0.0, 0.0, 0.0]),
        ([0.4, 0.5, 0.3, 0.2], [0.4, 1.0, 0.0, 0.0]),
        ([0.1, 0.1, 0.1, 0.1], [0.4, 0.0, 0.0, 0.0]),
        ([1.0, 0.9, 0.0, 0.0], [1.0, 0.9, 0.0, 0.0]),
        ([0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]),
        ([1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_the_likeliest_speaks_first(activity: list[float], decided: list[float]) -> None:
    assert counting.assign_by_rank(torch.tensor([activity]))[0].tolist() == pytest.approx(decided, abs=1e-6)
