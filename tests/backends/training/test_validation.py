"""The threshold sweep against figures computed by hand and against pyannote.audio's metric."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from diarbench.backends.training.validation import ThresholdSweep, grid, on_grid


def test_by_hand() -> None:
    reference = torch.tensor([[1, 0], [1, 1], [0, 1], [0, 0], [1, 0]]).float()
    activity = torch.tensor([[0.1, 0.9], [0.1, 0.9], [0.1, 0.9], [0.6, 0.1], [0.9, 0.1]])
    sweep = ThresholdSweep()
    sweep.add(activity, reference)
    # At 0.5: speaker 2 is active in frames 0 to 2, speaker 1 in 3 and 4. Of five reference frames one is missed (1),
    # one is false alarm (3). Mapping 2 -> first: correct 0, 1; mapping 1 -> second: none. Mapping 2 -> second,
    # 1 -> first: correct 1, 2, 4. So frame 0 is confusion: (1 + 1 + 1) / 5. From 0.6 on the false alarm is gone.
    best = sweep.best()
    assert best.der == pytest.approx(2 / 5)
    assert (best.miss, best.false_alarm, best.confusion) == pytest.approx((1 / 5, 0, 1 / 5))
    assert best.threshold == pytest.approx(0.6)


def test_no_speech_has_no_errors() -> None:
    sweep = ThresholdSweep()
    sweep.add(torch.zeros(10, 2), torch.zeros(10, 0))
    assert sweep.best() == (0, 0, 0, 0, 0.5)


def test_the_grid_takes_the_nearest_frame() -> None:
    frames = torch.arange(5)[:, None]
    assert len(grid(0.4)) == 20
    on_common_grid = on_grid(frames, first_frame_s=0.04, frame_s=0.08, window_s=0.4)
    assert on_common_grid[:, 0].tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4


@pytest.mark.slow
def test_pyannote_s_own_metric_agrees() -> None:
    """It maps speakers once per window by mean squared error; with clear activity that is the same mapping."""
    torchmetrics = pytest.importorskip("pyannote.audio.torchmetrics")
    generator = torch.Generator().manual_seed(0)
    theirs = torchmetrics.OptimalDiarizationErrorRate()  # 51 thresholds of its own
    ours = ThresholdSweep()
    for _ in range(20):
        reference = (torch.rand(40, 3, generator=generator) > 0.6).float().repeat_interleave(10, dim=0)
        noise = torch.rand(400, 3, generator=generator)
        activity = (0.7 * reference[:, [2, 0, 1]] + 0.5 * noise).clamp(0, 1)
        theirs.update(activity.T[None], reference.T[None])
        ours.add(activity, reference)
    assert ours.best().der == pytest.approx(theirs.compute().item(), abs=1e-6)
