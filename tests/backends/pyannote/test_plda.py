"""The PLDA of a pyannote pipeline: recorded by its hash, and rejected if it is incomplete or has changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diarbench.backends import registry
from diarbench.backends.pyannote.plda import FILES, load_plda, plda_fingerprint, write_plda
from diarbench.datasets.io.errors import UserError

if command := registry.missing("pyannote"):
    pytest.skip(command, allow_module_level=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_plda(tmp_path / "plda", None, 192)
    return tmp_path / "plda"


def test_pyannote_loads_the_placeholder_plda(folder: Path) -> None:
    embeddings = np.eye(3, 192, dtype=np.float32)
    assert np.asarray(load_plda(folder, 192)(embeddings)).shape == (3, 128)


@pytest.mark.parametrize("name", FILES)
def test_the_error_names_a_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(
        UserError, match=f"{name}: no such file; a PLDA folder contains xvec_transform.npz and plda.npz"
    ):
        registry.load("pyannote").with_plda(folder)  # type: ignore[attr-defined]


def test_a_changed_file_is_rejected_by_its_hash(folder: Path) -> None:
    planned = plda_fingerprint(folder)
    backend = registry.load("pyannote").with_plda(folder, planned)  # type: ignore[attr-defined]
    assert f"PLDA (sha256 {planned[:12]})" in backend.resolve_init("scratch").weights.fixed_parts
    np.savez(folder / "plda.npz", mu=np.ones(128), tr=np.eye(128), psi=np.ones(128))
    with pytest.raises(UserError, match="this PLDA has changed since the run was planned"):
        registry.load("pyannote").with_plda(folder, planned)  # type: ignore[attr-defined]


def test_a_plda_of_another_embedding_is_rejected(folder: Path) -> None:
    np.savez(folder / "xvec_transform.npz", mean1=np.zeros(256), mean2=np.zeros(128), lda=np.eye(256, 128))
    with pytest.raises(UserError, match="not a PLDA of 192-dimensional embeddings"):
        load_plda(folder, 192)
