"""Read the PLDA of a pyannote pipeline, and write it into an exported one. Heavy packages are imported on use."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diarbench.datasets.io.archives import check_zip
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import digest, sha256_of

if TYPE_CHECKING:
    from pyannote.audio.core.plda import PLDA

FILES = ("xvec_transform.npz", "plda.npz")
"""The transform and the PLDA, with pyannote.audio's names."""

PLDA_DIMENSION = 128


def plda_files(folder: Path) -> list[Path]:
    """The two files of a PLDA. Raises UserError if one is missing."""
    files = [folder / name for name in FILES]
    for file in files:
        if not file.is_file():
            raise UserError(f"{file}: no such file; a PLDA folder contains {' and '.join(FILES)}, as in pyannote.audio")
    return files


def plda_fingerprint(folder: Path) -> str:
    """A digest of the content of both files. Raises UserError if one is missing."""
    return digest([sha256_of(file) for file in plda_files(folder)])


def load_plda(folder: Path, dimension: int) -> PLDA:
    """A pyannote PLDA for embeddings of this dimension. Raises UserError if it is for another embedding."""
    import numpy as np

    from pyannote.audio.core.plda import PLDA

    transform, weights = plda_files(folder)
    try:
        for file in (transform, weights):
            check_zip(file, file, file.stat().st_size)
        plda = PLDA(transform, weights)
        plda(np.ones((2, dimension), np.float32))
    except UserError:
        raise
    except Exception as error:  # numpy raises many kinds of errors for a wrong file or wrong dimensions
        raise UserError(f"{weights}: not a PLDA of {dimension}-dimensional embeddings ({error})") from error
    return plda


def write_plda(folder: Path, source: Path | None, dimension: int) -> None:
    """Copy a PLDA into a new folder; without a source write a placeholder, since pyannote requires one."""
    folder.mkdir()
    if source is not None:
        for file in plda_files(source):
            shutil.copyfile(file, folder / file.name)
        return
    import numpy as np

    zeros: Any = np.zeros(PLDA_DIMENSION)
    np.savez(folder / FILES[0], mean1=np.zeros(dimension), mean2=zeros, lda=np.eye(dimension, PLDA_DIMENSION))
    np.savez(folder / FILES[1], mu=zeros, tr=np.eye(PLDA_DIMENSION), psi=np.ones(PLDA_DIMENSION))
