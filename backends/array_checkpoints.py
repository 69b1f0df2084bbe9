"""Checkpoints whose weights are NumPy arrays, for backends whose environment has no torch."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

from diarbench.datasets.io.archives import check_zip
from diarbench.datasets.io.errors import UserError

HEADER = "checkpoint.json"
"""Everything but the weights, in a checkpoint of arrays."""


def save_arrays(content: dict[str, Any], file: io.BytesIO) -> None:
    """Write a checkpoint's weights, which are arrays by name, and its other values, which are plain."""
    import numpy as np

    header = {key: value for key, value in content.items() if key != "weights"}
    np.savez(file, allow_pickle=False, **content["weights"], **{HEADER: np.array(json.dumps(header))})


def load_arrays(path: Path) -> dict[str, Any] | None:
    """A checkpoint of arrays; None where the file is another one."""
    import numpy as np

    try:
        if not path.is_file() or not zipfile.is_zipfile(path):
            return None
        with zipfile.ZipFile(path) as archive:
            if f"{HEADER}.npy" not in archive.namelist():
                return None
        check_zip(path, path, path.stat().st_size)
        with np.load(path, allow_pickle=False) as arrays:
            weights = {name: arrays[name] for name in arrays.files if name != HEADER}
            header = json.loads(str(arrays[HEADER]))
        return {**header, "weights": weights}
    except UserError:
        raise
    except Exception as error:  # zipfile and NumPy raise many kinds for a damaged file
        raise UserError(f"{path}: not a readable checkpoint (damaged)") from error
