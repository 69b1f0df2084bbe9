"""The small speaker network: what it is trained on, and an MSDD on it is a file that NeMo loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msdd import skip_without_msdd

from diarbench.backends import registry
from diarbench.backends.objective import Objective
from diarbench.datasets.dataset import Recording
from diarbench.datasets.simulation.segments import SpeechSegment

torch = pytest.importorskip("torch")
skip_without_msdd()

from nemo.collections.asr.models.msdd_models import EncDecDiarLabelModel

from diarbench.backends.msdd import small_speaker
from diarbench.backends.msdd.pipeline import MsddDiarizer


@pytest.fixture
def voices(recording: Recording) -> dict[str, list[SpeechSegment]]:
    """Stretches of the recording in which one voice is heard."""
    return {
        name: [SpeechSegment(recording.audio, start, length)]
        for name, start, length in (("a", 1.0, 2.5), ("b", 4.25, 1.75), ("c", 6.5, 2.5))
    }


def test_a_speaker_is_a_voice_at_a_speed(voices: dict[str, list[SpeechSegment]]) -> None:
    signals, speakers = next(small_speaker.batches(voices))
    pitches = [pitch * speed for pitch in (110, 190, 310) for speed in small_speaker.SPEEDS]
    loudest_hz = torch.fft.rfft(signals).abs().argmax(dim=1) * 16_000 / signals.shape[1]
    assert loudest_hz.tolist() == pytest.approx([pitches[k] for k in speakers], rel=0.05)


def test_a_run_stands_on_the_trained_network_and_nemo_loads_it(
    voices: dict[str, list[SpeechSegment]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small_speaker, "STEPS", 4)
    before = torch.get_rng_state()
    trained = small_speaker.train(voices)
    assert torch.equal(torch.get_rng_state(), before)
    again = small_speaker.train(voices).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in trained.state_dict().items())

    monkeypatch.setenv("DIARBENCH_CACHE", str(tmp_path))
    file = tmp_path / "small-speaker" / f"{small_speaker.RECIPE}.nemo"
    file.parent.mkdir()
    trained.save_to(str(file))
    backend = registry.load("nemo-msdd")
    initial = backend.resolve_init("small-speaker")
    assert not initial.weights.pretrained and "small-speaker (diarbench" in initial.weights.fixed_parts[0]
    network: Any = backend.network(initial, Objective())
    backend.export(network, MsddDiarizer.defaults, tmp_path / "export")
    loaded = EncDecDiarLabelModel.restore_from(str(tmp_path / "export" / "model.nemo"), map_location="cpu")
    for name, tensor in trained.state_dict().items():
        assert torch.equal(loaded.msdd._speaker_model.state_dict()[name], tensor), name
