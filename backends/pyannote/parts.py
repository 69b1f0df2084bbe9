"""Everything of a pyannote pipeline but its segmentation network: packaged with diarbench, or as published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from diarbench.backends.pyannote.clustering import LINKAGES, VBX
from diarbench.backends.pyannote.embedding import CamPlusPlusEmbedder
from diarbench.backends.pyannote.inference import Embedder
from diarbench.backends.pyannote.plda import load_plda
from diarbench.backends.pyannote.published import PublishedPipeline
from diarbench.backends.pyannote.wespeaker import WeSpeakerEmbedder, load_wespeaker
from diarbench.datasets.io.files import digest, sha256_of
from pyannote.audio.core.plda import PLDA

EVIDENCE_SCALE, SPEAKER_REGULARIZATION = FloatDistribution(0.01, 0.5), FloatDistribution(0.01, 15.0)
"""Fa and Fb of VBx."""


@dataclass(frozen=True)
class FixedParts:
    """The parts that are not fine-tuned, and the hyper-parameters."""

    embedder: Embedder
    plda: PLDA | None
    exclude_overlap: bool
    """Whether embeddings are computed from the frames in which a speaker is alone."""
    defaults: Mapping[str, Any]
    search_space: Mapping[str, BaseDistribution]
    fingerprint: str | None = None
    """Changes with the files that inference depends on; None for those of installed packages."""


def packaged_parts(plda_folder: Path | None) -> FixedParts:
    """CAM++ and agglomerative clustering, or VBx as another method of clustering with a PLDA."""
    embedder = CamPlusPlusEmbedder()
    plda = load_plda(plda_folder, embedder.dimension) if plda_folder else None
    defaults: dict[str, Any] = {
        "segmentation.min_duration_off": 0.0,
        "clustering.method": "centroid",
        "clustering.min_cluster_size": 12,
        "clustering.threshold": 0.6,
    }
    space: dict[str, BaseDistribution] = {
        "segmentation.min_duration_off": FloatDistribution(0.0, 1.0),
        "clustering.method": CategoricalDistribution((*LINKAGES, VBX) if plda else LINKAGES),
        "clustering.min_cluster_size": IntDistribution(1, 30),
        "clustering.threshold": FloatDistribution(0.2, 1.4),
    }
    if plda:
        defaults |= {"clustering.Fa": 0.07, "clustering.Fb": 0.8}
        space |= {"clustering.Fa": EVIDENCE_SCALE, "clustering.Fb": SPEAKER_REGULARIZATION}
    return FixedParts(embedder, plda, True, defaults, space)


def published_parts(pipeline: PublishedPipeline) -> FixedParts:
    """The parts of a published pipeline; it is tuned in its own clustering, around its published values.

    Raises UserError for files that are not what the configuration says.
    """
    embedder = WeSpeakerEmbedder(load_wespeaker(pipeline.embedding))
    plda = load_plda(pipeline.plda, embedder.dimension) if pipeline.clusters_by_vbx and pipeline.plda else None
    defaults = dict(pipeline.hyperparameters)
    space: dict[str, BaseDistribution] = {
        "segmentation.min_duration_off": _with_default(0.0, 1.0, defaults["segmentation.min_duration_off"]),
        "clustering.threshold": _with_default(*((0.5, 0.8) if plda else (0.2, 1.4)), defaults["clustering.threshold"]),
    }
    if plda:
        space |= {
            "clustering.Fa": _with_default(0.01, 0.5, defaults["clustering.Fa"]),
            "clustering.Fb": _with_default(0.01, 15.0, defaults["clustering.Fb"]),
        }
    else:
        methods = dict.fromkeys((*LINKAGES, defaults["clustering.method"]))
        space |= {
            "clustering.method": CategoricalDistribution(tuple(methods)),
            "clustering.min_cluster_size": IntDistribution(1, max(30, defaults["clustering.min_cluster_size"])),
        }
    exclude_overlap = pipeline.options.embedding_exclude_overlap
    fingerprint = digest([sha256_of(pipeline.embedding), exclude_overlap])
    return FixedParts(embedder, plda, exclude_overlap, defaults, space, fingerprint)


def _with_default(low: float, high: float, default: float) -> FloatDistribution:
    """The range, extended to the published value where that is outside."""
    return FloatDistribution(min(low, default), max(high, default))
