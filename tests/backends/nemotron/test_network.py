"""Nemotron-3-Diarization as a Network: its chunks, losses and gradients equal those of transformers."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diarbench.backends import registry
from diarbench.backends.checkpoints import load_checkpoint, save_checkpoint
from diarbench.backends.objective import Objective
from diarbench.backends.recipes.schema import Recipe
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.audio import SAMPLE_RATE
from diarbench.datasets.io.errors import UserError

torch = pytest.importorskip("torch")
if command := registry.missing("nemotron"):
    pytest.skip(command, allow_module_level=True)

from lightning.fabric import Fabric
from tiny_nemotron import TINY, make_network, noise

from diarbench.backends import losses
from diarbench.backends.nemotron.network import NemotronNetwork
from diarbench.backends.training.trainer import Trainer


@pytest.fixture(scope="module")
def batch() -> tuple[Any, Any]:
    """Noise of changing loudness, and targets of eight speakers, most of them silent."""
    waveforms, generator = noise(10, windows=3), torch.Generator().manual_seed(2)
    targets = (torch.rand(3, 1000, 8, generator=generator) < 0.5).float()
    targets[..., 3:] = 0
    return waveforms, targets


def plain_logits(network: Any, waveforms: Any) -> Any:
    """The logits of transformers' own call on its processor's features."""
    inputs = network.extractor(waveforms.numpy(), sampling_rate=SAMPLE_RATE)
    return network.model(**inputs).logits[:, : waveforms.shape[1] // 160]


def test_frames_of_10_ms_for_eight_speakers(batch: tuple[Any, Any]) -> None:
    network = make_network()
    assert (network.frame_s, network.first_frame_s, network.max_speakers) == (0.01, 0.005, 8)
    with torch.no_grad():
        activity = network.eval().activity(batch[0])
    assert activity.shape == (3, network.num_frames(batch[0].shape[1]), 8) == (3, 1000, 8)
    assert 0.05 < (activity > 0.5).float().mean() < 0.95
    for samples in (160, 2000):
        with torch.no_grad():
            assert network.activity(batch[0][:, :samples]).shape == (3, samples // 160, 8)


def test_gradients_equal_those_of_plain_transformers_with_the_same_matching(batch: tuple[Any, Any]) -> None:
    network = make_network().train()
    waveforms, targets = batch
    logits = plain_logits(network, waveforms)
    matched = losses.in_best_order(losses.logit_marginals(logits).each, targets)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    plain = (entropy(logits, losses.in_order_of_arrival(targets)) + entropy(logits, matched)) / 2
    parts = []
    for loss in (network.loss(waveforms, targets).total, plain):
        network.zero_grad()
        loss.backward()
        parts.append([parameter.grad.clone() for parameter in network.parameters()])
        torch.testing.assert_close(loss, plain)
    torch.testing.assert_close(network.logits(waveforms), logits, rtol=1e-4, atol=1e-4)
    assert all(gradient.norm() > 0 for gradient in parts[1]), "the silence embedding of the cache is trained too"
    for ours, theirs in zip(*parts, strict=True):
        # Large weights magnify the rounding of two formulas for the same cross entropy.
        assert (ours - theirs).norm() < 0.02 * theirs.norm()


@pytest.mark.parametrize("mode", [None, "low_latency"])
def test_a_window_alone_equals_the_window_in_a_batch(batch: tuple[Any, Any], mode: str | None) -> None:
    network = make_network(mode).eval()
    with torch.no_grad():
        together = network.activity(batch[0])
        for alone, window in zip(batch[0], together, strict=True):
            torch.testing.assert_close(network.activity(alone[None])[0], window, rtol=0, atol=1e-5)


def test_a_stream_does_not_hear_the_future(batch: tuple[Any, Any]) -> None:
    network = make_network("ultra_low_latency").eval()
    changed = batch[0].clone()
    changed[:, 5 * SAMPLE_RATE :] = 0
    with torch.no_grad():
        before, after = network.activity(batch[0]), network.activity(changed)
    # 0.32 s of latency, and half a spectrogram window.
    assert torch.equal(before[:, :466], after[:, :466])
    assert not torch.allclose(before[:, 480:520], after[:, 480:520], atol=1e-3)


def test_the_objective_s_weights(batch: tuple[Any, Any]) -> None:
    network, (waveforms, targets) = make_network().eval(), batch
    with torch.no_grad():
        arrival, best, both, with_vad, with_phantom = (
            network.train_on(Objective(**weights)).loss(waveforms, targets)
            for weights in (
                {"ats_weight": 1, "pil_weight": 0},
                {"ats_weight": 0, "pil_weight": 1},
                {"ats_weight": 1, "pil_weight": 3},
                {"ats_weight": 1, "pil_weight": 3, "vad": 0.5},
                {"ats_weight": 1, "pil_weight": 3, "phantom": 0.1},
            )
        )
    assert best.segmentation < arrival.segmentation
    torch.testing.assert_close(both.total, 0.25 * arrival.total + 0.75 * best.total)
    torch.testing.assert_close(with_vad.total, both.total + 0.5 * both.vad)
    phantoms = (with_phantom.total - both.total).item() / 0.1
    assert 0.1 < phantoms < 3, "five outputs of a random network, near a probability of a half, have no speaker"
    assert network.loss_description.endswith("phantom speakers of weight 0.1; voice activity only reported")
    network.train_on(Objective(ats_weight=1, pil_weight=3, vad=0.5))
    assert "25% sorted by arrival and 75% by best permutation; with a voice-activity" in network.loss_description


def test_affinity_is_that_of_transformers_own_states_in_the_first_chunk(batch: tuple[Any, Any]) -> None:
    network, (waveforms, targets) = make_network().train_on(Objective(affinity=0.5)).eval(), batch
    inputs = network.extractor(waveforms.numpy(), sampling_rate=SAMPLE_RATE)
    with torch.no_grad():
        states = network.model(**inputs, output_hidden_states=True).hidden_states[1]  # after the first of two layers
        with_affinity = network.loss(waveforms, targets)
        without = network.train_on(Objective()).loss(waveforms, targets)
    assert states.shape[1] == 40, "32 frames of a chunk and 8 of look-ahead, each of 80 ms"
    by_hand = losses.affinity_loss(states, targets[:, 4:320:8])
    torch.testing.assert_close(with_affinity.total, without.total + 0.5 * by_hand)
    assert by_hand > 0 and torch.equal(with_affinity.segmentation, without.segmentation)
    assert "affinity of weight 0.5; voice" in network.train_on(Objective(affinity=0.5)).loss_description
    stream = make_network("low_latency").train_on(Objective(affinity=0.5))
    assert stream.loss_description.endswith("not used by Nemotron-3-Diarization: affinity")


def test_random_weights_do_not_respond_to_the_mean_of_the_log_mels() -> None:
    embedder = NemotronNetwork(TINY).model.model.audio_tower.embedder
    features = torch.randn(1, 80, 128, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        torch.testing.assert_close(embedder(features - 11), embedder(features), rtol=0, atol=1e-4)
        assert embedder(features).std() > 0.1


def test_a_checkpoint_restores_the_network_and_its_form(batch: tuple[Any, Any], tmp_path: Path) -> None:
    network = make_network("low_latency").eval()
    save_checkpoint(tmp_path / "c.ckpt", "nemotron", network)
    restored = registry.load("nemotron").restore(load_checkpoint(tmp_path / "c.ckpt", "nemotron")).eval()
    offline = NemotronNetwork.from_file(tmp_path / "c.ckpt")
    assert offline.settings.streaming_mode == "low_latency"
    with torch.no_grad():
        assert torch.equal(restored.activity(batch[0]), network.activity(batch[0]))
    stream = NemotronNetwork.from_file(tmp_path / "c.ckpt", "ultra_low_latency")
    assert stream.settings.streaming_mode == "ultra_low_latency"
    for damaged in (
        {"weights": [1]},
        {"weights": {"a": 1}},
        {"architecture": 1},
        {"architecture": {"model": {"x": 1}}},
    ):
        checkpoint = {"architecture": network.architecture(), "weights": network.state_dict(), **damaged}
        with pytest.raises(
            UserError, match=r"weights are not tensors by name|architecture of Nemotron|tensors are not"
        ):
            NemotronNetwork.from_checkpoint(checkpoint)
    with pytest.raises(UserError, match=r"c\.ckpt: a checkpoint of nemotron, not of nemo"):
        load_checkpoint(tmp_path / "c.ckpt", "nemo")


RECIPE = Recipe(name="short", optimizer="AdamW", learning_rate=0.001, epochs=2, batch_size=8, window_s=4)


def test_the_same_seed_gives_the_same_bytes_and_a_stopped_run_resumes(ami_mini: Dataset, tmp_path: Path) -> None:
    recordings = {"train": ami_mini.subset("train")[:2], "dev": ami_mini.subset("dev")[:1]}
    small = dataclasses.replace(ami_mini, recordings=recordings)

    def train(folder: Path, epochs: int) -> Any:
        recipe = RECIPE.model_copy(update={"epochs": epochs})
        fabric = Fabric(accelerator="cpu", devices=1)
        return Trainer(make_network(), "nemotron", small, recipe, 1, fabric, folder).run(lambda **_: None)

    once, again = train(tmp_path / "once", 2), train(tmp_path / "again", 2)
    train(tmp_path / "stopped", 1)
    resumed = train(tmp_path / "stopped", 2)
    assert once.epochs == again.epochs == resumed.epochs
    weights = [
        load_checkpoint(tmp_path / name / "checkpoints" / "last.ckpt", "nemotron")["weights"]
        for name in ("once", "again", "stopped")
    ]
    assert not torch.equal(
        weights[0]["model.classifier.out_proj.weight"], make_network().model.classifier.out_proj.weight
    )
    for name, tensor in weights[0].items():
        assert np.array_equal(tensor, weights[1][name]) and np.array_equal(tensor, weights[2][name]), name
