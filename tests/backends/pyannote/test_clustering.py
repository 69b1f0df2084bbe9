"""Our faster decoding gives the same turns as pyannote's pipeline for any hyper-parameters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diarbench.backends import registry
from diarbench.backends.base import SpeakerBounds
from diarbench.backends.objective import Objective
from diarbench.datasets.dataset import Dataset, Recording, from_annotation
from diarbench.datasets.io.audio import SAMPLE_RATE
from diarbench.datasets.io.rttm import Turn

pytestmark = pytest.mark.slow
torch = pytest.importorskip("torch")
EXCERPT_S = 20


@pytest.fixture(scope="module")
def recording(ami_mini: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """20 s of a real meeting."""
    import soundfile

    whole = ami_mini.subset("test")[0]
    audio, _ = soundfile.read(whole.audio, frames=EXCERPT_S * SAMPLE_RATE)
    excerpt = tmp_path_factory.mktemp("excerpt") / "excerpt.wav"
    soundfile.write(excerpt, audio, SAMPLE_RATE)
    return Recording(whole.uri, "test", excerpt, whole.rttm, whole.uem)


@pytest.fixture(scope="module")
def plda(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PLDA with random directions, in pyannote's two files."""
    folder, rng = tmp_path_factory.mktemp("plda"), np.random.default_rng(0)
    directions, _ = np.linalg.qr(rng.normal(size=(192, 192)))
    np.savez(folder / "xvec_transform.npz", mean1=np.zeros(192), mean2=np.zeros(128), lda=directions[:, :128])
    np.savez(folder / "plda.npz", mu=np.zeros(128), tr=np.eye(128), psi=np.linspace(8, 0.1, 128))
    return folder


@pytest.fixture(scope="module", params=["powerset", "multilabel"])
def diarizer(request: pytest.FixtureRequest, plda: Path) -> Any:
    """A diarizer with each of the two heads."""
    if command := registry.missing("pyannote"):
        pytest.skip(command)
    backend: Any = registry.load("pyannote").with_plda(plda)
    torch.manual_seed(1)
    fresh = {"name": "multilabel", "head": "fresh"} if request.param == "multilabel" else {}
    network = backend.network(backend.resolve_init("auto"), Objective(**fresh))
    return backend.diarizer(network, "cpu")


def pipeline_turns(
    diarizer: Any, recording: Recording, inference: Any, values: Mapping[str, Any], **bounds: int | None
) -> list[Turn]:
    """The turns of pyannote's pipeline; in training mode it reads segmentation and embeddings from the file."""
    from pyannote.audio.pipelines.clustering import AgglomerativeClustering, VBxClustering
    from pyannote.core import Segment

    from diarbench.backends.pyannote.pipeline import THRESHOLD, _segmentation

    by_vbx = values["clustering.method"] == "vbx"
    diarizer.pipeline.clustering = VBxClustering(diarizer.parts.plda) if by_vbx else AgglomerativeClustering()
    accepted = {"threshold", "Fa", "Fb"} if by_vbx else {"threshold", "method", "min_cluster_size"}
    nested: dict[str, dict[str, Any]] = {"segmentation": {}, "clustering": {}}
    for name, value in values.items():
        group, _, key = name.partition(".")
        if group == "segmentation" or key in accepted:
            nested[group][key] = value
    diarizer.pipeline.instantiate(nested)
    diarizer.pipeline.training = True
    file = {
        "uri": recording.uri,
        diarizer.pipeline.CACHED_SEGMENTATION: _segmentation(inference),
        "training_cache/embeddings": {"embeddings": inference["embeddings"], THRESHOLD: values.get(THRESHOLD)},
    }
    with_padding = diarizer.pipeline.apply(file, **bounds)
    theirs = with_padding.crop(Segment(0, recording.duration_s))
    diarizer.pipeline.training = False
    return from_annotation(theirs)


def test_decoding_equals_the_pipeline_for_any_hyperparameters(diarizer: Any, recording: Recording) -> None:
    if diarizer.upstream is not None:
        activity = diarizer.upstream.infer(recording)["segmentation"]
        diarizer = diarizer.with_frozen({"segmentation.threshold": float(np.median(activity))})
    inference = diarizer.infer(recording)
    rng, results, speakers = np.random.default_rng(0), set(), set()
    for trial in range(60):
        values = {
            "segmentation.min_duration_off": float(rng.choice([0, rng.uniform(0, 1)])),
            "clustering.method": ("average", "centroid", "complete", "vbx")[trial % 4],
            "clustering.min_cluster_size": int(rng.integers(1, 15)),
            "clustering.threshold": float(rng.uniform(0.05, 1.4)),
            "clustering.Fa": float(rng.uniform(0.01, 0.5)),
            "clustering.Fb": float(rng.uniform(0.01, 15)),
        }
        if diarizer.threshold is not None:
            values["segmentation.threshold"] = diarizer.threshold
        ours = from_annotation(diarizer.decode(recording, inference, values))
        assert ours == pipeline_turns(diarizer, recording, inference, values), values
        results.add(tuple(ours))
        speakers.add(len({turn.speaker for turn in ours}))
    assert len(results) > 5 and len(speakers) > 1, "the hyper-parameters change the result"


@pytest.mark.filterwarnings("ignore:\\s*The detected number of speakers")
def test_bounded_decoding_equals_the_pipeline_s(diarizer: Any, recording: Recording) -> None:
    if diarizer.upstream is not None:
        pytest.skip("the same clustering as with the other head")
    inference = diarizer.infer(recording)
    rng, found = np.random.default_rng(1), set()
    for trial in range(40):
        least, most = ((1, 1), (2, 2), (3, 3), (4, None), (1, 2), (2, 3), (6, 6), (3, 5))[trial % 8]
        values = {
            "segmentation.min_duration_off": 0.0,
            "clustering.method": ("average", "centroid", "vbx")[trial % 3],
            "clustering.min_cluster_size": int(rng.integers(1, 6)),
            "clustering.threshold": float(rng.uniform(0.05, 1.4)),
            "clustering.Fa": float(rng.uniform(0.01, 0.5)),
            "clustering.Fb": float(rng.uniform(0.01, 15)),
        }
        ours = from_annotation(diarizer.with_speakers(SpeakerBounds(least, most)).decode(recording, inference, values))
        assert ours == pipeline_turns(diarizer, recording, inference, values, min_speakers=least, max_speakers=most), (
            values,
            least,
            most,
        )
        speakers = len({turn.speaker for turn in ours})
        assert most is None or speakers <= most
        found.add((least, most, speakers))
    assert {(2, 2, 2), (3, 3, 3)} <= found and from_annotation(diarizer.decode(recording, inference, values))
