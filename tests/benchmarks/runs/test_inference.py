"""Inference in blocks equals the toolkits' own: batches, threads and chunks change no turn; memory is limited."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile

from diarbench.backends import registry
from diarbench.backends.objective import Objective
from diarbench.datasets.dataset import Dataset, Recording
from diarbench.datasets.io.audio import SAMPLE_RATE
from diarbench.datasets.io.errors import UserError

pytestmark = pytest.mark.slow
torch = pytest.importorskip("torch")


def diarizer(backend: str, init: str = "auto") -> Any:
    if command := registry.missing(backend):
        pytest.skip(command)
    torch.manual_seed(1)
    loaded: Any = registry.load(backend)
    return loaded.diarizer(loaded.network(loaded.resolve_init(init), Objective()), "cpu")


@pytest.fixture(scope="module")
def pyannote() -> Any:
    return diarizer("pyannote")


@pytest.fixture(scope="module")
def recording(ami_mini: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """Five real windows; the last one is padded."""
    path = tmp_path_factory.mktemp("inference") / "tst00.wav"
    audio, _ = soundfile.read(ami_mini.subset("test")[0].audio)
    soundfile.write(path, audio[: 14 * SAMPLE_RATE - 1234], SAMPLE_RATE)
    return Recording("tst00", "test", path, path, path)


def turns(annotation: Any) -> list[Any]:
    return [(segment, label) for segment, _, label in annotation.itertracks(yield_label=True)]


def test_pyannote_inference_equals_its_own_pipeline(pyannote: Any, recording: Recording) -> None:
    inference = pyannote.infer(recording)
    pipeline = pyannote.pipeline
    audio, _ = soundfile.read(recording.audio, dtype="float32")
    file = {"uri": "x", "waveform": torch.from_numpy(audio)[None], "sample_rate": SAMPLE_RATE}
    segmentation = pipeline.get_segmentations(file)
    np.testing.assert_array_equal(inference["segmentation"], segmentation.data)
    assert 0 < segmentation.data.mean() < 1
    with torch.inference_mode():
        theirs = pipeline.get_embeddings(file, segmentation, exclude_overlap=True)
    assert np.isnan(theirs).any() and np.isfinite(theirs).any()
    np.testing.assert_allclose(inference["embeddings"], theirs, atol=1e-4 * np.nanmax(theirs))
    assert pipeline._embedding.min_num_samples == pipeline._embedding.model_.shortest_samples


def test_batch_size_and_threads_do_not_change_pyannote_s_turns(
    pyannote: Any, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diarbench.backends.pyannote import inference as pyannote_inference

    def diarized(batch_size: int, threads: int) -> list[Any]:
        monkeypatch.setattr(pyannote_inference.segment, "__defaults__", (batch_size,))
        monkeypatch.setattr(pyannote_inference.embed, "__defaults__", (batch_size,))
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            return turns(pyannote.decode(recording, pyannote.infer(recording), pyannote.defaults))
        finally:
            torch.set_num_threads(before)

    expected = diarized(16, 1)
    assert expected
    assert diarized(1, 1) == diarized(3, 2) == expected


@pytest.mark.parametrize("normalise", ["NA", "per_feature"])
def test_sortformer_s_chunks_equal_its_own_streaming_form(recording: Recording, normalise: str, tmp_path: Path) -> None:
    pytest.importorskip("nemo")
    from diarbench.backends.nemo.network import SortformerNetwork
    from diarbench.backends.nemo.pipeline import SortformerDiarizer
    from diarbench.backends.nemo.presets import preset

    settings = preset("compact-streaming")
    settings["preprocessor"]["normalize"] = normalise
    torch.manual_seed(1)
    network = SortformerNetwork.from_config(settings)
    streaming = SortformerDiarizer(network, "cpu")
    audio, _ = soundfile.read(recording.audio, dtype="float32")
    with torch.inference_mode():
        theirs = network.activity(torch.from_numpy(audio)[None])[0].numpy()
    assert np.ptp(theirs) > 1e-3
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            np.testing.assert_allclose(streaming.infer(recording)["activity"], theirs, atol=1e-5)
    finally:
        torch.set_num_threads(before)
    (note,) = streaming.notes
    assert "2 s at a time with 0.08 s of right context" in note and "latency of 0.08 to 2.08 s" in note


def test_features_that_need_the_whole_recording_are_rejected(recording: Recording) -> None:
    pytest.importorskip("nemo")
    from diarbench.backends.nemo.network import SortformerNetwork
    from diarbench.backends.nemo.presets import preset
    from diarbench.backends.nemo.streaming import stream

    settings = preset("compact-streaming")
    settings["preprocessor"]["normalize"] = "all_features"
    with pytest.raises(UserError, match="normalises its features by 'all_features'"):
        stream(SortformerNetwork.from_config(settings).model.eval(), recording.audio)


def test_the_offline_form_rejects_recordings_that_do_not_fit_memory(tmp_path: Path) -> None:
    offline = diarizer("nemo", "scratch")
    assert offline.notes == ()
    hours = 1 + round((psutil.virtual_memory().total / (3 * 4 * 4)) ** 0.5 * 0.08 / 3600)
    with soundfile.SoundFile(tmp_path / "long.wav", "w", SAMPLE_RATE, 1) as file:
        for _ in range(hours * 60):
            file.write(np.zeros(60 * SAMPLE_RATE, dtype=np.int16))
    long = Recording("long", "test", tmp_path / "long.wav", tmp_path, tmp_path)
    with pytest.raises(UserError, match=r"offline form, .* GB are free; fine-tune a network in streaming form"):
        offline.infer(long)
