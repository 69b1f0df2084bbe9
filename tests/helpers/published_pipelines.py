"""Pipelines of exactly the published form, written by pyannote.audio's own classes, with small or random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

WINDOW_S = 2.0
VALUES = {
    "VBxClustering": {"threshold": 0.6, "Fa": 0.3, "Fb": 0.8},
    "AgglomerativeClustering": {"method": "centroid", "min_cluster_size": 2, "threshold": 0.7},
}


def write_pipeline(folder: Path, audio: Path, clustering: str = "VBxClustering") -> Path:
    """A folder with a small PyanNet, a WeSpeakerResNet34 and a PLDA of 128 dimensions, fitted on a recording.

    Weights are random but seeded; what an untrained network says too uniformly is centred on the recording, so that
    there are turns of several speakers.
    """
    import soundfile

    samples = torch.from_numpy(soundfile.read(audio, dtype="float32")[0])
    windows = samples.unfold(0, round(WINDOW_S * 16_000), round(WINDOW_S * 1_600))[:, None]
    with torch.inference_mode():
        save_model(folder / "segmentation", make_segmentation(windows))
        embedding, embeddings = make_embedding(windows)
    save_model(folder / "embedding", embedding)
    write_plda(folder / "plda", embeddings)
    write_config(folder, clustering)
    return folder


def make_segmentation(windows: torch.Tensor) -> Any:
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.segmentation import PyanNet

    torch.manual_seed(1)
    model = PyanNet(lstm={"hidden_size": 16, "num_layers": 1}, linear={"hidden_size": 16, "num_layers": 1})
    model.specifications = Specifications(
        problem=Problem.MONO_LABEL_CLASSIFICATION,
        resolution=Resolution.FRAME,
        duration=WINDOW_S,
        classes=["speaker#1", "speaker#2"],
        powerset_max_classes=2,
        permutation_invariant=True,
    )
    model.build()
    model.eval()
    model.classifier.weight *= 100
    model.classifier.bias -= model(windows).mean(dim=(0, 1))
    return model


def make_embedding(windows: torch.Tensor) -> tuple[Any, np.ndarray]:
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.embedding import WeSpeakerResNet34

    torch.manual_seed(1)
    model = WeSpeakerResNet34()
    model.specifications = Specifications(
        problem=Problem.REPRESENTATION, resolution=Resolution.CHUNK, duration=WINDOW_S, classes=None
    )
    model.train()
    model(windows[[0, -1]])  # sets the statistics of batch normalisation
    model.eval()
    embeddings = torch.cat([model(window[None]) for window in windows[::3]])
    centre = embeddings.mean(dim=0)
    model.resnet.seg_1.bias -= centre
    return model, (embeddings - centre).numpy()


def save_model(folder: Path, model: Any) -> None:
    import lightning

    folder.mkdir(parents=True)
    checkpoint = {
        "pytorch-lightning_version": lightning.__version__,
        "state_dict": model.state_dict(),
        "hyper_parameters": dict(model.hparams),
    }
    model.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, folder / "pytorch_model.bin")


def write_plda(folder: Path, embeddings: np.ndarray) -> None:
    """Principal directions of embeddings, and the share of their variance that is taken for that between speakers."""
    folder.mkdir()
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    _, _, directions = np.linalg.svd(np.sqrt(unit.shape[1]) * unit, full_matrices=True)
    zeros = np.zeros(128)
    np.savez(folder / "xvec_transform.npz", mean1=np.zeros(unit.shape[1]), mean2=zeros, lda=directions[:128].T)
    np.savez(folder / "plda.npz", mu=zeros, tr=np.eye(128), psi=np.linspace(8.0, 0.1, 128))


def write_config(folder: Path, clustering: str, **changes: Any) -> None:
    """The configuration; ``changes`` replace entries of ``pipeline.params``, or remove them where they are None."""
    params = {
        "clustering": clustering,
        "segmentation": "$model/segmentation",
        "segmentation_batch_size": 32,
        "embedding": "$model/embedding",
        "embedding_batch_size": 32,
        "embedding_exclude_overlap": True,
        "plda": "$model/plda",
        **changes,
    }
    config = {
        "dependencies": {"pyannote.audio": "4.0.0"},
        "pipeline": {
            "name": "pyannote.audio.pipelines.SpeakerDiarization",
            "params": {key: value for key, value in params.items() if value is not None},
        },
        "params": {"clustering": VALUES[clustering], "segmentation": {"min_duration_off": 0.0}},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def write_snapshot(cache: Path, repository: str, files: dict[str, Path]) -> None:
    """A repository in a folder laid out as the cache of Hugging Face's client: links into blobs, by commit."""
    home = cache / f"models--{repository.replace('/', '--')}"
    commit = "c" * 40
    for number, (name, source) in enumerate(files.items()):
        blob, link = home / "blobs" / str(number), home / "snapshots" / commit / name
        blob.parent.mkdir(parents=True, exist_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        blob.unlink(missing_ok=True)
        link.unlink(missing_ok=True)
        blob.hardlink_to(source)
        link.symlink_to(blob)
    (home / "refs").mkdir(exist_ok=True)
    (home / "refs" / "main").write_text(commit)
