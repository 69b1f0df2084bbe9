"""Both real toolkits behind the Backend interface: losses, gradients and turns equal those of the toolkits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diarbench.backends import registry
from diarbench.backends.checkpoints import load_checkpoint, save_checkpoint
from diarbench.backends.objective import Objective
from diarbench.backends.training.distributed import seed_all
from diarbench.backends.training.windows import read, targets, training_windows
from diarbench.datasets.dataset import Dataset, Recording
from diarbench.datasets.io.audio import SAMPLE_RATE
from diarbench.datasets.io.errors import UserError

pytestmark = pytest.mark.slow
torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def network(backend: Any) -> Any:
    torch.manual_seed(1)
    return backend.network(backend.resolve_init("auto"), Objective())


@pytest.fixture(scope="module")
def batch(network: Any, ami_mini: Dataset) -> tuple[Any, Any]:
    """Four real windows: waveforms (4, samples), targets (4, frames, speakers)."""
    samples = 10 * SAMPLE_RATE
    windows = training_windows(ami_mini.subset("train"), 10, seed=1, epoch=1)[:4]
    centres = network.first_frame_s + np.arange(network.num_frames(samples)) * network.frame_s
    wanted = [targets(window, samples, centres, network.max_speakers)[0] for window in windows]
    return torch.from_numpy(np.stack([read(w, samples) for w in windows])), torch.from_numpy(np.stack(wanted))


def gradients(network: Any) -> list[Any]:
    return [torch.zeros(1) if p.grad is None else p.grad.clone() for p in network.parameters()]


def test_loss_and_gradients_equal_those_of_the_toolkit(backend: Any, network: Any, batch: tuple[Any, Any]) -> None:
    assert_equals_toolkit_step(backend, network, *batch)


def test_streaming_sortformer_is_trained_in_chunks_and_restored(ami_mini: Dataset, tmp_path: Path) -> None:
    backend: Any = registry.load("nemo")
    torch.manual_seed(1)
    network = backend.network(backend.resolve_init("scratch:compact-streaming"), Objective())
    windows = training_windows(ami_mini.subset("train"), 10, seed=1, epoch=1)[:2]
    waveforms = torch.from_numpy(np.stack([read(window, 10 * SAMPLE_RATE) for window in windows]))
    assert network.streaming and network.num_frames(waveforms.shape[1]) == 125
    wanted = torch.zeros(2, 125, 4)
    wanted[:, 20:90, 0] = wanted[:, 60:, 1] = 1
    assert_equals_toolkit_step(backend, network, waveforms, wanted)
    save_checkpoint(tmp_path / "c.ckpt", backend.name, network)
    restored = backend.restore(load_checkpoint(tmp_path / "c.ckpt", backend.name))
    with torch.no_grad():
        streamed = network.eval().activity(waveforms)
        assert torch.equal(streamed, restored.eval().activity(waveforms))
        # A frame depends only on its chunk and the next frame, not on later audio.
        changed = waveforms.clone()
        changed[:, 5 * SAMPLE_RATE :] = 0
        assert torch.allclose(network.activity(changed)[:, :50], streamed[:, :50], atol=1e-5)
        network.model.streaming_mode = False
        assert network.activity(waveforms).shape == streamed.shape
        assert not torch.allclose(network.activity(changed)[:, :50], network.activity(waveforms)[:, :50], atol=1e-3)


def assert_equals_toolkit_step(backend: Any, network: Any, waveforms: Any, wanted: Any) -> None:
    network.train()
    losses, parts = [], []
    for step in (network.loss, lambda *batch: TOOLKIT_STEPS[backend.name](network, *batch)):
        network.zero_grad()
        seed_all(3, 0)  # the same dropout, and the same order of the speakers in the streaming cache
        loss = step(waveforms, wanted)
        # The total of the small Sortformer also has a counting loss (test_small_sortformer).
        segmentation = loss if torch.is_tensor(loss) else loss.segmentation
        segmentation.backward()
        losses.append(segmentation.item())
        parts.append(gradients(network))
    assert losses[0] == losses[1] > 0
    assert sum(float(g.abs().sum()) for g in parts[0]) > 0
    for ours, theirs in zip(*parts, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    network.zero_grad()


def pyannote_step(network: Any, waveforms: Any, wanted: Any) -> Any:
    """A training step of pyannote.audio's task, which reads only the first file of its protocol."""
    from pyannote.audio.tasks import SpeakerDiarization
    from pyannote.core import Annotation, Segment, Timeline
    from pyannote.database.protocol import SpeakerDiarizationProtocol

    class OneFile(SpeakerDiarizationProtocol):
        name = "one file"

        def train_iter(self) -> Any:
            annotation = Annotation(uri="one")
            annotation[Segment(0, 1)] = "A"
            yield {
                "uri": "one",
                "scope": "file",
                "annotation": annotation,
                "annotated": Timeline([Segment(0, 10)]),
                "waveform": waveforms[:1],
                "sample_rate": SAMPLE_RATE,
            }

        development_iter = train_iter

    task = SpeakerDiarization(OneFile(), duration=10.0, max_speakers_per_chunk=3, max_speakers_per_frame=2)
    task.specifications = network.model.specifications
    task.model = network.model
    task.setup_loss_func()
    task.model.powerset.to(waveforms.device)
    task.model.log = lambda *args, **kwargs: None  # there is no trainer to log to
    task.automatic_optimization = True
    loss = task.training_step({"X": waveforms[:, None], "y": wanted}, 0)["loss"]
    del task.model.powerset
    return loss


def nemo_step(network: Any, waveforms: Any, wanted: Any) -> Any:
    """A training step of NeMo's Sortformer."""
    model = network.model
    model._optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.log_dict = lambda *args, **kwargs: None  # there is no trainer to log to
    lengths = torch.full((len(waveforms),), waveforms.shape[1])
    frames = torch.full((len(wanted),), wanted.shape[1])
    return model.training_step([waveforms.clone(), lengths, wanted, frames], 0)["loss"]


TOOLKIT_STEPS = {"pyannote": pyannote_step, "nemo": nemo_step}


def test_activity_is_a_probability_of_the_right_shape(network: Any, batch: tuple[Any, Any]) -> None:
    network.eval()
    with torch.no_grad():
        activity = network.activity(batch[0])
    assert activity.shape == batch[1].shape
    assert 0 <= activity.min() < activity.max() <= 1 + 1e-5


def test_a_restored_checkpoint_gives_the_same_network(backend: Any, network: Any, batch: Any, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c.ckpt", backend.name, network)
    restored = backend.restore(load_checkpoint(tmp_path / "c.ckpt", backend.name))
    with torch.no_grad():
        assert torch.equal(network.eval().activity(batch[0]), restored.eval().activity(batch[0]))


def test_checkpoints_of_another_backend_and_damaged_ones_are_rejected(
    backend: Any, network: Any, tmp_path: Path
) -> None:
    path = tmp_path / "c.ckpt"
    save_checkpoint(path, "other", network)
    with pytest.raises(UserError, match=f"a checkpoint of other, not of {backend.name}"):
        load_checkpoint(path, backend.name)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match="not a readable checkpoint"):
        load_checkpoint(path, backend.name)
    with pytest.raises(UserError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "absent.ckpt", backend.name)


@pytest.mark.parametrize("init", ["absent.bin", "hub"])
def test_an_unknown_init_is_rejected(backend: Any, init: str) -> None:
    with pytest.raises(UserError, match="no such file; expected a path, auto, scratch, hub:ID or run:FOLDER"):
        backend.resolve_init(init)


def test_a_file_that_is_not_a_checkpoint_is_rejected(backend: Any, tmp_path: Path) -> None:
    path = tmp_path / ("x.bin" if backend.name == "pyannote" else "x.nemo")
    path.write_bytes(b"not weights")
    with pytest.raises(UserError, match="not a"):
        backend.network(backend.resolve_init(str(path)), Objective())


def test_a_recording_shorter_than_a_window_is_diarized(
    backend: Any, network: Any, ami_mini: Dataset, tmp_path: Path
) -> None:
    import soundfile

    audio, _ = soundfile.read(ami_mini.subset("test")[0].audio)
    soundfile.write(tmp_path / "short.wav", audio[: 3 * SAMPLE_RATE], SAMPLE_RATE)
    short = Recording("short", "test", tmp_path / "short.wav", tmp_path, tmp_path)
    diarizer = backend.diarizer(network, "cpu")
    annotation = diarizer.decode(short, diarizer.infer(short), diarizer.defaults)
    assert annotation.get_timeline().extent().end <= 3.0


def test_pyannote_s_pipeline_gives_the_same_turns(ami_mini: Dataset) -> None:
    backend: Any = registry.load("pyannote")
    diarizer = backend.diarizer(backend.network(backend.resolve_init("auto"), Objective()), "cpu")
    recording = ami_mini.subset("test")[0]
    ours = diarizer.decode(recording, diarizer.infer(recording), diarizer.defaults)

    import soundfile
    from pyannote.core import Segment

    audio, _ = soundfile.read(recording.audio, dtype="float32")
    pipeline = diarizer.pipeline
    clustering = {"method": "centroid", "min_cluster_size": 12, "threshold": 0.6}
    pipeline.instantiate({"segmentation": {"min_duration_off": 0.0}, "clustering": clustering})
    file = {"uri": recording.uri, "waveform": torch.from_numpy(audio)[None], "sample_rate": SAMPLE_RATE}
    theirs = pipeline.apply(file).crop(Segment(0, recording.duration_s))  # the pipeline pads the last chunk
    assert len(ours) == len(theirs) > 3
    assert [(s, label) for s, _, label in ours.itertracks(yield_label=True)] == [
        (s, label) for s, _, label in theirs.itertracks(yield_label=True)
    ]


def test_nemo_s_post_processing_gives_the_same_turns() -> None:
    vad_utils = pytest.importorskip("nemo.collections.asr.parts.utils.vad_utils")
    from diarbench.backends.nemo.postprocessing import post_process

    generator = np.random.default_rng(0)
    compared = 0
    for _ in range(200):
        walk = np.cumsum(generator.normal(0, 0.2, generator.integers(1, 200))) % 2
        probability = np.where(walk > 1, 2 - walk, walk).astype(np.float32)
        onset = generator.uniform(0.1, 0.9)
        chosen = {
            "onset": onset,
            "offset": generator.uniform(0.05, onset),
            "pad_onset": float(generator.choice([0, 0.1, 0.33])),
            "pad_offset": float(generator.choice([0, 0.1, 0.33])),
            "min_duration_on": float(generator.choice([0, 0.2, 0.5])),
            "min_duration_off": float(generator.choice([0, 0.2, 0.5])),
        }
        segments = vad_utils.ts_vad_post_processing(torch.from_numpy(probability), chosen, 8)
        theirs = sorted(segments.tolist()) if segments.numel() else []
        ours = post_process(
            probability, 0.08, **{name if name in ("onset", "offset") else f"{name}_s": v for name, v in chosen.items()}
        )
        np.testing.assert_allclose(np.reshape(ours, (-1, 2)), np.reshape(theirs, (-1, 2)), atol=0.0101)
        compared += len(ours)
    assert compared > 400


def test_nemo_presets_and_hub_names() -> None:
    backend = registry.load("nemo")
    assert backend.resolve_init("scratch:published").preset == "published"
    with pytest.raises(UserError, match=r"no such preset \(did you mean published\?\)"):
        backend.resolve_init("scratch:publishd")
    assert backend.resolve_init("hub:nvidia/x").weights.origin == "hub:nvidia/x"


def test_the_packaged_sortformer_loads_offline_and_streaming(ami_mini: Dataset) -> None:
    backend: Any = registry.load("nemo")
    offline, streaming = (
        backend.network(backend.resolve_init(name), Objective()) for name in ("small", "small-streaming")
    )
    assert (offline.streaming, streaming.streaming) == (False, True)
    assert backend.resolve_init("small").weights == backend.resolve_init("small-streaming").weights
    weights = streaming.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in offline.state_dict().items())
    recording = ami_mini.subset("dev")[0]
    activity = [backend.diarizer(network, "cpu").infer(recording)["activity"] for network in (offline, streaming)]
    assert activity[0].shape == activity[1].shape
    assert ((activity[0] > 0.5) == (activity[1] > 0.5)).mean() > 0.8


def test_loading_a_nemo_file_gives_the_same_network(ami_mini: Dataset, tmp_path: Path) -> None:
    backend: Any = registry.load("nemo")
    torch.manual_seed(5)
    saved = backend.network(backend.resolve_init("scratch"), Objective()).eval()
    saved.model.save_to(str(tmp_path / "mine.nemo"))
    start = backend.resolve_init(str(tmp_path / "mine.nemo"))
    assert start.weights.pretrained and len(start.weights.sha256) == 64
    loaded = backend.network(start, Objective()).eval()
    waveform = torch.randn(1, SAMPLE_RATE)
    with torch.no_grad():
        assert torch.equal(saved.activity(waveform), loaded.activity(waveform))
