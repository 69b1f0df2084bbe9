"""Files of tensors from anybody, read so that no code that they may hold is run."""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diarbench.reports.records import UserError


def load_tensors(path: Path, classes: Sequence[Any] = (), content: bytes | None = None) -> Any:
    """What ``torch.save`` wrote: tensors, plain values, and objects of the given classes alone.

    ``content`` is the file's bytes where it lies inside another. Raises UserError where the file holds anything else,
    or is damaged.
    """
    import torch

    try:
        with torch.serialization.safe_globals(list(classes)):
            return torch.load(
                path if content is None else io.BytesIO(content),
                map_location="cpu",
                weights_only=True,  # which unpickles by a list of what is harmless
            )
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such checkpoint") from error
    except pickle.UnpicklingError as error:
        if found := re.search(r"GLOBAL (\S+)", str(error)):
            raise UserError(
                f"{path}: not a checkpoint of this kind: beside weights it holds {found[1]}, which may run code; "
                "nothing of it was run"
            ) from error
        raise UserError(f"{path}: not a readable checkpoint (damaged, or not torch's)") from error
    except Exception as error:  # torch raises many kinds for a damaged file
        raise UserError(f"{path}: not a readable checkpoint (damaged, or not torch's)") from error


def load_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Tensors by name, and the file's metadata. Raises UserError where it is damaged, or of another kind."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a readable .safetensors file ({error})") from error
