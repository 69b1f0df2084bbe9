"""Published pipelines: equal to pyannote's own, read without running code, and refused in one line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from toolkits import load_or_skip

from diarbench.backends.base import InitialWeights
from diarbench.backends.initial_weights import SCRATCH
from diarbench.backends.objective import Objective
from diarbench.backends.pyannote.published import KNOWN, open_pipeline
from diarbench.benchmarks.runs.inference_cache import model_digest
from diarbench.datasets.dataset import Recording, from_annotation
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.rttm import Turn

torch = pytest.importorskip("torch")
pyannote_audio = pytest.importorskip("pyannote.audio")

import published_pipelines as form


def configured(published: Path, folder: Path, clustering: str = "VBxClustering", **changes: Any) -> Path:
    """A copy of the pipeline, its weights linked, with another configuration."""
    shutil.copytree(published, folder, copy_function=lambda source, target: Path(target).hardlink_to(source))
    (folder / "config.yaml").unlink()
    form.write_config(folder, clustering, **changes)
    return folder


def diarizer_of(folder: Path) -> Any:
    backend = load_or_skip("pyannote").with_pipeline(str(folder))
    return backend.diarizer(backend.network(backend.resolve_init("auto"), Objective()), "cpu")


def turns(annotation: Any, recording: Recording) -> list[Turn]:
    """The turns that diarbench keeps: pyannote's last window may extend beyond the recording."""
    from pyannote.core import Segment

    return from_annotation(annotation.crop(Segment(0, recording.duration_s)))


def test_both_kinds_give_the_turns_of_pyannote_s_own_pipeline(
    published: Path, excerpt: Recording, tmp_path: Path
) -> None:
    """The second kind takes what the first one inferred, as pyannote's pipelines do in training mode."""
    import soundfile

    audio, rate = soundfile.read(excerpt.audio, dtype="float32")
    file = {"uri": excerpt.uri, "waveform": torch.from_numpy(audio)[None], "sample_rate": rate}
    inference: Any = None
    for clustering in ("VBxClustering", "AgglomerativeClustering"):
        folder = configured(published, tmp_path / clustering, clustering)
        diarizer = diarizer_of(folder)
        pipeline = pyannote_audio.Pipeline.from_pretrained(folder)
        pipeline.training = True
        theirs = pipeline.apply(file)
        inference = inference or diarizer.infer(excerpt)
        exclusive = diarizer.decode_exclusive(excerpt, inference, diarizer.defaults)
        ours = from_annotation(diarizer.decode(excerpt, inference, diarizer.defaults))
        assert ours == turns(theirs.speaker_diarization, excerpt)
        assert from_annotation(exclusive) == turns(theirs.exclusive_speaker_diarization, excerpt) != ours
        assert len({turn.speaker for turn in ours}) > 1
        assert diarizer.parts.embedder.shortest_samples == pipeline._embedding.min_num_samples
    np.testing.assert_array_equal(inference["segmentation"], file["training_cache/segmentation"].data)
    embeddings = file["training_cache/embeddings"]["embeddings"]
    np.testing.assert_allclose(inference["embeddings"], embeddings, atol=1e-5 * np.abs(embeddings).max())


def test_embeddings_of_silence_and_of_several_speakers_equal_the_model_s(published: Path) -> None:
    embedder = diarizer_of(published).parts.embedder
    samples, window = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, 6_000).astype(np.float32)), 4_000
    masks = np.zeros((3, 30, 2), dtype=bool)
    masks[0, :20, 0] = masks[0, 10:, 1] = masks[2, 5:9, 1] = True
    with torch.inference_mode():
        ours = embedder.embed(samples, masks, window, 1_000)
        waveforms = samples.unfold(0, window, 1_000)[:, None]
        for speaker in range(2):
            theirs = embedder.model(waveforms, weights=torch.from_numpy(masks[:, :, speaker]).float()).numpy()
            np.testing.assert_allclose(ours[:, speaker], theirs, atol=1e-5 * np.abs(theirs).max())
    np.testing.assert_array_equal(ours[1, 0], ours[2, 0])


def test_decoding_equals_pyannote_s_vbx_for_any_values(published: Path, excerpt: Recording) -> None:
    from pyannote.audio.pipelines.clustering import VBxClustering

    diarizer = diarizer_of(published)
    rng = np.random.default_rng(0)
    segmentation = (rng.random((40, 115, 2)) < 0.5).astype(np.float32)
    segmentation[:, :, 1] *= rng.random((40, 1)) < 0.7
    window = np.array([0.0, form.WINDOW_S, form.WINDOW_S / 10])
    voices = rng.normal(size=(3, 256))
    embeddings = (voices[rng.integers(0, 3, (40, 2))] + rng.normal(0, 0.5, (40, 2, 256))).astype(np.float32)
    inference = type(diarizer.infer(excerpt))(segmentation=segmentation, window=window, embeddings=embeddings)
    decoder = diarizer._decoder_of(inference)
    speakers = set()
    for threshold, evidence, regularization in ((0.6, 0.07, 0.8), (0.5, 0.5, 0.01), (0.8, 0.01, 15.0), (0.7, 0.3, 4.0)):
        theirs = VBxClustering(diarizer.parts.plda)
        theirs.instantiate({"threshold": threshold, "Fa": evidence, "Fb": regularization})
        any_number = {"num_clusters": None, "min_clusters": 1, "max_clusters": np.inf}
        expected, _, _ = theirs(embeddings=embeddings, segmentations=decoder.active, **any_number)
        values = {"clustering.threshold": threshold, "clustering.Fa": evidence, "clustering.Fb": regularization}
        np.testing.assert_array_equal(decoder.clusters(values), expected)
        speakers.add(int(expected.max()))
    assert len(speakers) > 1


def test_published_values_are_the_defaults_and_the_search_space_is_the_clustering_s_own(
    published: Path, tmp_path: Path
) -> None:
    vbx = diarizer_of(published)
    assert vbx.defaults == {
        "segmentation.min_duration_off": 0.0,
        **{f"clustering.{key}": value for key, value in form.VALUES["VBxClustering"].items()},
    }
    space = vbx.search_space
    assert vbx.defaults.keys() == space.keys()
    assert (space["clustering.threshold"].low, space["clustering.threshold"].high) == (0.5, 0.8)
    folder = configured(published, tmp_path / "agglomerative", "AgglomerativeClustering")
    assert open_pipeline(str(folder)).plda == folder / "plda", "kept, to be exported"
    agglomerative = diarizer_of(folder)
    assert agglomerative.parts.plda is None
    assert agglomerative.search_space.keys() == agglomerative.defaults.keys()
    assert "clustering.method" in agglomerative.defaults
    overlap = diarizer_of(configured(published, tmp_path / "overlap", embedding_exclude_overlap=False))
    network = load_or_skip("pyannote").network(InitialWeights(SCRATCH), Objective())
    first, second, third = (model_digest(network, each, "cpu", {}) for each in (vbx, agglomerative, overlap))
    assert first == second != third, "the cache keeps inference apart by what it depends on"


def edited(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """A change of a folder's config.yaml."""

    def edit(folder: Path) -> None:
        config = yaml.safe_load((folder / "config.yaml").read_text())
        change(config)
        (folder / "config.yaml").write_text(yaml.safe_dump(config))

    return edit


def params(**changes: Any) -> Callable[[Path], None]:
    return edited(lambda config: config["pipeline"]["params"].update(changes))


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "no configuration": (lambda folder: (folder / "config.yaml").unlink(), "config.yaml: no such file"),
    "no PLDA": (lambda folder: shutil.rmtree(folder / "plda"), "plda/xvec_transform.npz: no such file"),
    "VBx without a PLDA": (
        edited(lambda config: config["pipeline"]["params"].pop("plda")),
        "plda: missing, and VBxClustering needs a PLDA",
    ),
    "pyannote 2": (edited(lambda config: config.update(version="2.1.1")), "a pipeline of pyannote.audio 2.1.1"),
    "newer": (
        edited(lambda config: config.update(dependencies={"pyannote.audio": "9.0"})),
        "a pipeline of pyannote.audio 9.0, newer than",
    ),
    "another pipeline": (
        edited(lambda config: config["pipeline"].update(name="os.system")),
        "pipeline.name: os.system is not supported",
    ),
    "an unknown option": (params(use_auth_token="x"), "pipeline.params.use_auth_token: unknown key; remove it"),
    "another clustering": (params(clustering="KMeansClustering"), "pipeline.params.clustering: Input should be"),
    "an unknown hyper-parameter": (
        edited(lambda config: config["params"]["clustering"].update(method="centroid")),
        "params.clustering.method: unknown key; remove it",
    ),
    "no hyper-parameters": (edited(lambda config: config.pop("params")), "params: is missing; add it"),
    "one hyper-parameter missing": (
        edited(lambda config: config["params"]["clustering"].pop("Fa")),
        "params.clustering.Fa: is missing; add it",
    ),
    "an unknown group": (edited(lambda config: config["params"].update(x={})), "params.x: not supported"),
    "preprocessors": (edited(lambda config: config.update(preprocessors={})), "preprocessors: unknown key; remove it"),
    "outside": (params(embedding="$model/../embedding"), r"embedding: \$model/../embedding is not supported"),
    "an absolute path": (params(embedding="/etc"), "embedding: /etc is not supported"),
    "a URL": (params(embedding="https://x.org/y"), "embedding: https://x.org/y is not supported"),
    "a Python object": (
        lambda folder: (folder / "config.yaml").write_text("pipeline: !!python/object/apply:os.system [ls]"),
        "config.yaml:1: not YAML of plain values",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_configurations_are_refused_in_one_line(published: Path, tmp_path: Path, name: str) -> None:
    damage, message = REFUSED[name]
    folder = configured(published, tmp_path / "pipeline")
    damage(folder)
    with pytest.raises(UserError, match=message) as error:
        open_pipeline(str(folder))
    assert "\n" not in str(error.value) and str(folder) in str(error.value)


def test_a_link_out_of_the_folder_is_refused(published: Path, tmp_path: Path) -> None:
    folder = configured(published, tmp_path / "pipeline")
    weights = folder / "segmentation" / "pytorch_model.bin"
    weights.unlink()
    weights.symlink_to(published / "segmentation" / "pytorch_model.bin")
    with pytest.raises(UserError, match="a link that leads out of the pipeline's folder"):
        open_pipeline(str(folder))


def test_files_that_do_not_fit_are_refused_when_they_are_read(published: Path, tmp_path: Path) -> None:
    def refused(name: str, damage: Callable[[Path], Any], message: str) -> None:
        folder = configured(published, tmp_path / name)
        damage(folder)
        with pytest.raises(UserError, match=message):
            diarizer_of(folder)

    def replace(path: Path, write: Callable[[Path], Any]) -> None:
        path.unlink()
        write(path)

    def network(folder: Path) -> None:
        replace(folder / "embedding" / "pytorch_model.bin", lambda path: shutil.copy(folder / SEGMENTATION, path))

    def options(folder: Path) -> None:
        path = folder / "embedding" / "pytorch_model.bin"
        content = torch.load(path, weights_only=False)
        content["hyper_parameters"]["dither"] = 1.0
        replace(path, lambda path: torch.save(content, path))

    def dimension(folder: Path) -> None:
        arrays = {"mean1": np.zeros(192), "mean2": np.zeros(128), "lda": np.eye(192, 128)}
        replace(folder / "plda" / "xvec_transform.npz", lambda path: np.savez(path, **arrays))

    def threshold(folder: Path) -> None:
        edited(lambda config: config["params"]["segmentation"].update(threshold=0.5))(folder)

    refused("network", network, "holds a PyanNet; the embedding must be a WeSpeakerResNet34")
    refused("options", options, "refused: its hyper_parameters: dither")
    refused("dimension", dimension, "plda.npz: not a PLDA of 256-dimensional embeddings")
    refused("threshold", threshold, "params.segmentation.threshold: its segmentation network has a powerset")


def test_parts_that_do_not_fit_are_told_before_training(published: Path, tmp_path: Path) -> None:
    folder = configured(published, tmp_path / "pipeline")
    (folder / "plda" / "plda.npz").unlink()
    (folder / "plda" / "plda.npz").write_bytes(b"")
    backend = load_or_skip("pyannote").with_pipeline(str(folder))
    with pytest.raises(UserError, match=r"plda\.npz: "):
        backend.network(backend.resolve_init("auto"), Objective())


SEGMENTATION = Path("segmentation") / "pytorch_model.bin"


def test_the_hub_s_cache_serves_a_pipeline_and_what_is_missing_is_named(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for the cache of Hugging Face's client, without a network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path))
    community, embedding, powerset = (
        "pyannote/speaker-diarization-community-1",
        "pyannote/wespeaker-voxceleb-resnet34-LM",
        "pyannote/segmentation-3.0",
    )
    with pytest.raises(UserError, match=f"hub:{community}: config.yaml cannot be downloaded"):
        open_pipeline(f"hub:{community}", download=True)
    with pytest.raises(
        UserError, match=f"config.yaml is not in the hub's cache: hf download {community}, after consent at https"
    ):
        open_pipeline(f"hub:{community}")
    files = {path.relative_to(published).as_posix(): path for path in published.rglob("*") if path.is_file()}
    form.write_snapshot(tmp_path, community, {name: path for name, path in files.items() if "plda.npz" not in name})
    with pytest.raises(UserError, match=f"hub:{community}: plda/plda.npz is not in the hub's cache"):
        open_pipeline(f"hub:{community}")
    with pytest.raises(UserError, match=f"hub:{community}: plda/plda.npz cannot be downloaded"):
        open_pipeline(f"hub:{community}", download=True)
    form.write_snapshot(tmp_path, community, files)
    found = open_pipeline(f"hub:{community}", download=True)
    assert found.record().name == KNOWN[community].name == "community-1"
    local = open_pipeline(str(published))
    assert found.record().sha256 == local.record().sha256 and found.record().source != local.record().source

    parts = {"segmentation": powerset, "embedding": embedding, "plda": None}
    form.write_config(tmp_path, "AgglomerativeClustering", **parts)
    older = "pyannote/speaker-diarization-3.1"
    form.write_snapshot(tmp_path, older, {"config.yaml": tmp_path / "config.yaml"})
    form.write_snapshot(tmp_path, powerset, {"pytorch_model.bin": published / SEGMENTATION})
    with pytest.raises(UserError, match=f"hub:{embedding}: pytorch_model.bin is not in the hub's cache"):
        open_pipeline(f"hub:{older}")
    form.write_snapshot(tmp_path, embedding, {"pytorch_model.bin": published / "embedding" / "pytorch_model.bin"})
    backend = load_or_skip("pyannote").with_pipeline(f"hub:{older}")
    assert backend.resolve_init("auto").path == backend.published.segmentation
    assert backend.resolve_init("auto").weights.training_corpora, "those of segmentation-3.0"
    assert set(backend.pipeline.files) == {"config.yaml", str(SEGMENTATION), "embedding/pytorch_model.bin"}


def test_a_gated_repository_names_the_page_where_consent_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx
    from huggingface_hub.errors import GatedRepoError

    def refuse(*_: Any, **__: Any) -> None:
        raise GatedRepoError("gated", response=httpx.Response(403, request=httpx.Request("GET", "https://x")))

    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    with pytest.raises(UserError, match=r"consent: request it at https://huggingface\.co/someone/gated and set HF_"):
        open_pipeline("hub:someone/gated", download=True)
