"""Safe loading of untrusted checkpoints, and the format of our own."""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import write_atomic


def load_tensors(path: Path, classes: Sequence[Any] = (), content: bytes | None = None) -> Any:
    """Load what ``torch.save`` wrote without executing code: tensors, plain values and objects of these classes.

    ``content``: the file's bytes where it is inside another file. Raises UserError where the file holds anything else
    or is damaged.
    """
    import torch

    try:
        with torch.serialization.safe_globals(list(classes)):
            return torch.load(
                path if content is None else io.BytesIO(content),
                map_location="cpu",
                weights_only=True,  # unpickles only classes on a list
            )
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such checkpoint") from error
    except pickle.UnpicklingError as error:
        if unsafe := re.search(r"GLOBAL (\S+)", str(error)):
            raise UserError(
                f"{path}: not a supported checkpoint: besides weights it holds {unsafe[1]}, which could execute code; "
                "none was executed"
            ) from error
        raise UserError(f"{path}: not a readable checkpoint (damaged, or not written by torch)") from error
    except Exception as error:  # torch raises many kinds for a damaged file
        raise UserError(f"{path}: not a readable checkpoint (damaged, or not written by torch)") from error


def load_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Tensors by name, and the file's metadata. Raises UserError where the file is damaged or of another format."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a readable .safetensors file ({error})") from error


CHECKPOINT_FORMAT = 1


def save_checkpoint(path: Path, backend: str, network: Any, **extra: Any) -> None:
    """Write a network atomically; ``extra`` are plain values and tensors that resuming needs."""
    import torch

    buffer = io.BytesIO()
    torch.save(
        {
            "format": CHECKPOINT_FORMAT,
            "backend": backend,
            "architecture": network.architecture(),
            "weights": network.state_dict(),
            **extra,
        },
        buffer,
    )
    write_atomic(path, buffer.getvalue())


def load_checkpoint(path: Path, backend: str) -> dict[str, Any]:
    """Read one of our checkpoints without executing code.

    Raises UserError where the file is absent, damaged, of a newer format or of another backend.
    """
    content = load_tensors(path)
    if not is_checkpoint(content):
        raise UserError(f"{path}: not a checkpoint of diarbench")
    return check_checkpoint(path, content, backend)


def is_checkpoint(content: Any) -> bool:
    """Whether a file's content was written by `save_checkpoint`, in any format and by any backend."""
    return isinstance(content, dict) and {"format", "backend"} <= content.keys()


def check_checkpoint(path: Path, content: dict[str, Any], backend: str) -> dict[str, Any]:
    """Returns the content. Raises UserError where it has another format or is of another backend."""
    if content["format"] != CHECKPOINT_FORMAT:
        raise UserError(
            f"{path}: checkpoint format {content['format']}; this version of diarbench reads {CHECKPOINT_FORMAT}"
        )
    if content["backend"] != backend:
        raise UserError(f"{path}: a checkpoint of {content['backend']}, not of {backend}")
    return content
