"""The pipeline around MSDD gives the turns of NeMo's own NeuralDiarizer, on the files of ``bench export``."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msdd import DURATION_S, skip_without_msdd

from diarbench.backends import registry
from diarbench.backends.base import SpeakerBounds
from diarbench.datasets.dataset import Recording, from_annotation
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.rttm import read_rttm

torch = pytest.importorskip("torch")
skip_without_msdd()

from nemo.collections.asr.models.msdd_models import NeuralDiarizer
from omegaconf import OmegaConf

from diarbench.backends.msdd.pipeline import SIGMOID, SPEAKERS, THRESHOLD, MsddDiarizer
from diarbench.backends.msdd.speech import EnergyDetector, SegmentationDetector

VALUES = {THRESHOLD: 0.2, SPEAKERS: 4, SIGMOID: 0.45}
"""With a threshold below a half, the outputs of an untrained decoder count as overlap."""


@pytest.fixture
def diarizer(network: Any, monkeypatch: pytest.MonkeyPatch) -> MsddDiarizer:
    """With speech detected by energy, which needs no other package."""
    monkeypatch.setattr("diarbench.backends.msdd.pipeline.detector", EnergyDetector)
    return MsddDiarizer(network, "cpu")


def test_the_turns_are_those_of_neural_diarizer_on_the_exported_network(
    diarizer: MsddDiarizer, recording: Recording, network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.load("nemo-msdd").export(network, VALUES, tmp_path / "export")
    audio = {"audio_filepath": str(recording.audio)}
    speech = [
        {**audio, "offset": start, "duration": end - start, "label": "UNK", "uniq_id": "talk"}
        for start, end in EnergyDetector()(read(recording))
    ]
    write_lines(tmp_path / "speech.json", speech)
    whole = {**audio, "offset": 0, "duration": None, "label": "infer", "text": "-"}
    write_lines(tmp_path / "manifest.json", [{**whole, "num_speakers": None, "rttm_filepath": None}])
    config: Any = OmegaConf.load(tmp_path / "export" / "diarizer.yaml")
    config.diarizer.manifest_filepath = str(tmp_path / "manifest.json")
    config.diarizer.vad.external_vad_manifest = str(tmp_path / "speech.json")
    config.diarizer.out_dir = str(tmp_path / "out")
    # On a CPU, NeMo embeds in 16 bits, which is enough to change a cluster.
    monkeypatch.setattr(torch.amp, "autocast", lambda *_, **__: nullcontext())
    NeuralDiarizer(config).diarize()
    theirs = read_rttm(tmp_path / "out" / "pred_rttms" / "talk.rttm")["talk"]
    ours = from_annotation(diarizer.decode(recording, diarizer.infer(recording), VALUES))
    assert len({turn.speaker for turn in ours}) > 1
    assert np.array_equal(on_frames(ours), on_frames(theirs))


def test_fewer_speakers_than_are_found_are_kept(diarizer: MsddDiarizer, recording: Recording) -> None:
    inference = diarizer.infer(recording)
    for number in (1, 2, 3):
        exactly = diarizer.with_speakers(SpeakerBounds(number, number))
        assert len(exactly.decode(recording, inference, diarizer.defaults).labels()) <= max(number, 1)
    with pytest.raises(UserError, match="at least 2 speakers: NeMo's clustering has no least number"):
        diarizer.with_speakers(SpeakerBounds(2, None))


def test_silence_has_no_speakers(diarizer: MsddDiarizer, recording: Recording, tmp_path: Path) -> None:
    import soundfile

    soundfile.write(tmp_path / "talk.wav", np.zeros(16_000), 16_000)
    silence = Recording("talk", "test", tmp_path / "talk.wav", recording.rttm, recording.uem)
    assert not diarizer.decode(silence, diarizer.infer(silence), diarizer.defaults)


def test_the_oracle_row_takes_the_speech_of_the_reference(diarizer: MsddDiarizer, recording: Recording) -> None:
    oracle = diarizer.oracles(recording, diarizer.infer(recording), diarizer.defaults)["oracle-speech"]
    assert oracle.get_timeline().support() == recording.reference.get_timeline().support()


def test_energy_finds_the_voices(recording: Recording) -> None:
    voices = np.array([(1, 6), (6.5, 9), (11, 15.5), (15.75, 19)])
    assert np.array(EnergyDetector()(read(recording))) == pytest.approx(voices, abs=0.02)
    assert EnergyDetector()(np.zeros(16_000, dtype=np.float32)) == []


def test_the_segmentation_network_finds_the_real_speech(ami_mini: Any) -> None:
    if command := registry.missing("pyannote"):
        pytest.skip(command)
    from diarbench.backends.msdd.speech import detector

    detect = detector()
    assert isinstance(detect, SegmentationDetector)
    recording = ami_mini.subset("dev")[0]
    found = np.zeros(3000, dtype=bool)
    for start, end in detect(read(recording)):
        found[round(start * 100) : round(end * 100)] = True
    spoken = on_frames([turn._replace(speaker="speaker_0") for turn in recording.turns], 30)[:, 0]
    assert (found == spoken).mean() > 0.85


def read(recording: Recording) -> np.ndarray:
    import soundfile

    waveform: np.ndarray = soundfile.read(str(recording.audio), dtype="float32")[0]
    return waveform


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def on_frames(turns: list[Any], duration_s: float = DURATION_S) -> np.ndarray:
    """Who speaks in each frame of 10 ms, by the speaker's number."""
    active = np.zeros((round(duration_s * 100), 8), dtype=bool)
    for turn in turns:
        active[round(turn.start_s * 100) : round(turn.end_s * 100), int(turn.speaker.rpartition("_")[2])] = True
    return active
