"""What ``--init`` names for Nemotron-3-Diarization, and what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diarbench.backends import registry
from diarbench.backends.objective import Objective
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import sha256_of

torch = pytest.importorskip("torch")
if command := registry.missing("nemotron"):
    pytest.skip(command, allow_module_level=True)

from tiny_nemotron import TINY, make_network


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot, as transformers writes it."""
    folder = tmp_path_factory.mktemp("snapshot")
    registry.load("nemotron").export(make_network(), {}, folder)
    return folder


@pytest.fixture
def snapshot(exported: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(exported, tmp_path / "snapshot"))


def load(init: str) -> Any:
    backend: Any = registry.load("nemotron")
    return backend.network(backend.resolve_init(init), Objective())


def edit(file: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def test_a_snapshot_is_loaded_with_its_own_sizes_and_may_run_as_a_stream(snapshot: Path) -> None:
    initial = registry.load("nemotron").resolve_init(str(snapshot))
    assert initial.weights.origin == str(snapshot) and initial.weights.pretrained
    assert (initial.weights.sha256, initial.max_speakers) == (sha256_of(snapshot / "model.safetensors"), 8)
    network, stream = load(str(snapshot)), load(f"{snapshot}+ultra_low_latency")
    assert network.settings.model_dump(exclude={"model": {"audio_config": {"num_key_value_heads"}}}) == TINY.model_dump(
        exclude={"model": {"audio_config": {"num_key_value_heads"}}}
    )
    assert stream.settings.streaming_mode == "ultra_low_latency"
    for name, tensor in make_network().state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor), name
    assert load(str(snapshot / "model.safetensors")).settings == network.settings


def test_sizes_from_scratch(tmp_path: Path) -> None:
    backend: Any = registry.load("nemotron")
    network = load("scratch+very_low_latency")
    assert (network.settings.streaming_mode, network.max_speakers) == ("very_low_latency", 8)
    assert 2e6 < sum(parameter.numel() for parameter in network.parameters()) < 4e6
    assert backend.resolve_init("scratch:published").preset == "published"
    with pytest.raises(UserError, match=r"no such size \(did you mean compact\?\); sizes: compact, published"):
        backend.resolve_init("scratch:compct")
    with pytest.raises(
        UserError, match=r"no streaming mode lower_latency.*modes: low_latency, very_low_latency, ultra"
    ):
        backend.resolve_init("scratch+lower_latency")
    from safetensors.torch import save_file

    save_file({name: tensor.clone() for name, tensor in network.model.state_dict().items()}, tmp_path / "w.safetensors")
    assert load(str(tmp_path / "w.safetensors")).settings.model == network.settings.model, "the preset of this size"
    save_file({"a": torch.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"w\.safetensors: not the tensors of Nemotron"):
        load(str(tmp_path / "w.safetensors"))


SPOILT: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no model": (lambda f: (f / "config.json").unlink(), r"snapshot: no config\.json; expected a folder that save_"),
    "no processor": (
        lambda f: (f / "processor_config.json").unlink(),
        r"snapshot: no processor_config\.json; save the model's processor there too",
    ),
    "another model": (
        lambda f: edit(f / "config.json", lambda c: c.update(model_type="whisper")),
        r"config\.json: describes a model of type whisper, not nemotron3_diarization",
    ),
    "a pickle": (
        lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
        r"no model\.safetensors: pytorch_model\.bin is a pickle and is not loaded",
    ),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), r"no model\.safetensors$"),
    "not JSON": (lambda f: (f / "config.json").write_text("{"), r"config\.json:1: cannot be read as JSON"),
    "a size out of range": (
        lambda f: edit(f / "config.json", lambda c: c["audio_config"].update(hidden_size=10**6)),
        r"config\.json: not a valid Model: audio_config\.hidden_size: Input should be less than",
    ),
    "sizes that do not fit": (
        lambda f: edit(f / "config.json", lambda c: c["streaming_config"].update(speaker_cache_length=3)),
        r"model\.safetensors: not a configuration of Nemotron-3-Diarization: .*speaker_cache_length.* \(3\)",
    ),
    "heads that do not divide the width": (
        lambda f: edit(f / "config.json", lambda c: c["audio_config"].update(num_attention_heads=3)),
        r"config\.json: not a valid Model: audio_config: a width of 32 does not divide into 3 heads",
    ),
    "more frames than the cache has": (
        lambda f: edit(
            f / "config.json", lambda c: c["streaming_config"].update(weak_boost_rate=10, speaker_cache_length=240)
        ),
        r"config\.json: not a valid Model: streaming_config: strong_boost_rate or weak_boost_rate asks for more",
    ),
    "another size": (
        lambda f: edit(f / "config.json", lambda c: c["audio_config"].update(num_hidden_layers=3)),
        r"its tensors are not those of its configuration \(first difference: model\.audio_tower\.layers\.2",
    ),
    "other features": (
        lambda f: edit(f / "processor_config.json", lambda c: c["feature_extractor"].update(feature_size=80)),
        r"snapshot: not an architecture of Nemotron-3-Diarization: features of 80 mels for a network of 128",
    ),
    "another rate": (
        lambda f: edit(f / "processor_config.json", lambda c: c["feature_extractor"].update(sampling_rate=8000)),
        r"processor_config\.json: not a valid Processor: feature_extractor\.sampling_rate",
    ),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_spoilt_snapshot_is_refused_in_one_line(case: str, snapshot: Path) -> None:
    spoil, message = SPOILT[case]
    spoil(snapshot)
    with pytest.raises(UserError, match=message) as caught:
        load(str(snapshot))
    assert "\n" not in str(caught.value)


def test_code_that_a_snapshot_names_is_never_run(snapshot: Path) -> None:
    (snapshot / "evil.py").write_text(f"open({str(snapshot / 'ran')!r}, 'w')")
    remote = {"AutoConfig": "evil.Config", "AutoModelForAudioFrameClassification": "evil.Model"}
    for file in ("config.json", "processor_config.json"):
        edit(snapshot / file, lambda c: c.update(auto_map=remote, _attn_implementation="someone/kernel"))
    network = load(str(snapshot))
    assert network.model.config._attn_implementation == "sdpa"
    assert not (snapshot / "ran").exists()


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"pickle")
    with pytest.raises(UserError, match=r"expected a file ending in \.safetensors or \.ckpt"):
        load(str(tmp_path / "model.bin"))
    with pytest.raises(UserError, match="no such file; expected a path"):
        load(str(tmp_path / "absent.safetensors"))
