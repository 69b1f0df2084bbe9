"""Nemotron-3-Diarization on whole recordings: chunk by chunk as transformers does it, and exported."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from diarbench.backends import registry
from diarbench.datasets.dataset import Dataset, Recording, from_annotation
from diarbench.datasets.io.audio import SAMPLE_RATE

torch = pytest.importorskip("torch")
if command := registry.missing("nemotron"):
    pytest.skip(command, allow_module_level=True)

from tiny_nemotron import make_network

from diarbench.backends.nemotron import pipeline
from diarbench.backends.nemotron.diarize import logits_of_stream
from diarbench.backends.nemotron.features import FileFeatures, mel_features
from diarbench.backends.nemotron.pipeline import NemotronDiarizer

MODES = [None, "low_latency", "ultra_low_latency"]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory, ami_mini: Dataset) -> Recording:
    """21.3 s of a real recording, which is no whole number of frames or chunks."""
    (first, *_) = ami_mini.subset("dev")
    samples, _ = soundfile.read(first.audio, dtype="float32", frames=340_757)
    return written(tmp_path_factory.mktemp("recording"), samples)


def written(folder: Path, samples: Any) -> Recording:
    """A recording of these samples, without a reference."""
    audio = folder / "call.wav"
    soundfile.write(audio, samples, SAMPLE_RATE, subtype="FLOAT")
    return Recording("call", "test", audio, folder / "call.rttm", folder / "call.uem")


def test_features_of_parts_of_a_file_equal_those_of_the_whole(recording: Recording) -> None:
    extractor = make_network().extractor
    samples, _ = soundfile.read(recording.audio, dtype="float32")
    whole = mel_features(extractor, torch.from_numpy(samples)[None])
    with soundfile.SoundFile(recording.audio) as file:
        features = FileFeatures(extractor, file)
        assert features.frames == whole.shape[1] == 2129
        for begin, end in ((0, 8), (0, 2129), (8, 336), (2096, 2129), (2128, 2129)):
            torch.testing.assert_close(features(begin, end), whole[:, begin:end], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_inference_equals_transformers_own(recording: Recording, mode: str | None) -> None:
    network = make_network(mode).eval()
    activity = NemotronDiarizer(network, "cpu").infer(recording)["activity"]
    samples, _ = soundfile.read(recording.audio, dtype="float32")
    with torch.inference_mode():
        if mode is None:
            theirs = network.model(**network.extractor(samples, sampling_rate=SAMPLE_RATE)).logits[:, :2129]
        else:
            theirs = torch.cat(list(logits_of_stream(network.model, network.processor(), samples)), dim=1)
    assert activity.shape == (2129, 8) and activity.dtype == np.float32
    assert 0.05 < (activity > 0.5).mean() < 0.95
    np.testing.assert_allclose(activity, theirs[0].sigmoid(), atol=2e-3)


def test_the_latency_of_each_mode_is_that_of_transformers_and_is_told() -> None:
    assert NemotronDiarizer(make_network(), "cpu").notes == ()
    for mode, latency in (("low_latency", "1.04"), ("very_low_latency", "0.64"), ("ultra_low_latency", "0.32")):
        network = make_network(mode)
        (note,) = NemotronDiarizer(network, "cpu").notes
        assert f"to {latency} s plus computing time" in note
        assert network.processor().streaming_latency_ms == round(1000 * float(latency))


def test_a_long_recording_is_read_in_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No part of the features is longer than a chunk and its context, so memory does not grow with the recording."""
    parts = []

    class Watched(FileFeatures):
        def __call__(self, begin: int, end: int) -> Any:
            parts.append((begin, end))
            return super().__call__(begin, end)

    monkeypatch.setattr(pipeline, "FileFeatures", Watched)
    noise = np.random.default_rng(1).normal(0, 0.1, 60 * SAMPLE_RATE).astype(np.float32)
    activity = NemotronDiarizer(make_network(), "cpu").infer(written(tmp_path, noise))["activity"]
    assert activity.shape == (6000, 8)
    assert len(parts) == 24 and max(end - begin for begin, end in parts) == 8 * (4 + 32 + 8)


def test_recordings_shorter_than_a_chunk_and_than_a_frame(tmp_path: Path) -> None:
    diarizer = NemotronDiarizer(make_network(), "cpu")
    for samples, frames in ((100, 0), (160, 1), (4000, 25)):
        recording = written(tmp_path, np.full(samples, 0.1, np.float32))
        inference = diarizer.infer(recording)
        assert inference["activity"].shape == (frames, 8)
        turns = from_annotation(diarizer.decode(recording, inference, {**diarizer.defaults, "onset": 0.0}))
        assert all(0 <= turn.start_s < turn.end_s <= samples / SAMPLE_RATE for turn in turns)


@pytest.mark.parametrize("mode", [None, "low_latency"])
def test_the_exported_script_gives_the_same_turns(
    recording: Recording, mode: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = make_network(mode)
    diarizer = NemotronDiarizer(network, "cpu")
    chosen = {**diarizer.defaults, "onset": 0.6, "offset": 0.7, "min_duration_off_s": 0.2, "pad_offset_s": 0.05}
    turns = from_annotation(diarizer.decode(recording, diarizer.infer(recording), chosen))
    folder = tmp_path / "mine"
    lines = registry.load("nemotron").export(network, chosen, folder)
    assert all("diarbench" not in path.read_text() for path in folder.glob("*.py")), "it needs transformers alone"
    monkeypatch.syspath_prepend(folder)
    script = runpy.run_path(str(folder / "diarize.py"))
    soundfile.write(tmp_path / "fast.wav", np.zeros((1000, 2)), 44_100)
    with pytest.raises(SystemExit, match=r"fast\.wav: 44100 Hz, channels: 2; make it 16000 Hz mono first"):
        script["read_audio"](tmp_path / "fast.wav")
    samples, _ = soundfile.read(recording.audio, dtype="float32")
    theirs, ours = script["diarize"](folder, samples), sorted(turns)
    assert len(theirs) == len(ours) > 3
    for (start, end, speaker), turn in zip(theirs, ours, strict=True):
        assert (start, end) == pytest.approx((turn.start_s, turn.end_s), abs=0.0101)
        assert speaker == turn.speaker
    loaded: dict[str, Any] = {}
    exec(lines, loaded)
    for name, parameter in network.model.state_dict().items():
        assert torch.equal(loaded["model"].state_dict()[name], parameter), name
