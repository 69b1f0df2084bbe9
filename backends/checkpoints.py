"""Safe loading of untrusted checkpoints, and the format of our own."""

from __future__ import annotations

import io
import pickletools
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from diarbench.datasets.io.archives import check_zip
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import write_atomic

KNOWN_CLASSES = {
    "collections Counter",
    "collections OrderedDict",
    "torch Size",
    "torch._utils _rebuild_parameter",
    "torch._utils _rebuild_tensor_v2",
    *(f"torch {kind}Storage" for kind in ("BFloat16", "Bool", "Byte", "Char", "Double", "Float", "Half")),
    *(f"torch {kind}Storage" for kind in ("Int", "Long", "Short")),
}
"""What a pickle of tensors and plain values names. torch allows more, some of which takes any amount of memory."""


def load_tensors(path: Path, classes: Sequence[Any] = (), content: bytes | None = None) -> Any:
    """Load what ``torch.save`` wrote without executing code: tensors, plain values and objects of these classes.

    ``content``: the file's bytes where it is inside another file. Raises UserError where the file holds anything else,
    is damaged, or would unpack to far more than its size.
    """
    import torch

    if content is None and not path.is_file():
        raise UserError(f"{path}: no such checkpoint")
    source: Path | io.BytesIO = path if content is None else io.BytesIO(content)
    unreadable = UserError(f"{path}: not a readable checkpoint (damaged, or not written by torch 1.6 or newer)")
    known = KNOWN_CLASSES | {_pickled_name(each) for each in classes}
    try:
        check_zip(path, source, path.stat().st_size if content is None else len(content))
        unknown = [name for name in _classes_in(source) if name not in known]
    except UserError:
        raise
    except Exception as error:  # zipfile and pickletools raise many kinds for a damaged file
        raise unreadable from error
    if unknown:
        raise UserError(
            f"{path}: not a supported checkpoint: besides weights it holds {unknown[0].replace(' ', '.')}, which could "
            "execute code; none was executed"
        )
    if isinstance(source, io.BytesIO):
        source.seek(0)
    try:
        with torch.serialization.safe_globals(list(classes)):
            return torch.load(source, map_location="cpu", weights_only=True)  # unpickles only classes on a list
    except Exception as error:  # torch raises many kinds for a damaged file
        raise unreadable from error


def _classes_in(source: Path | io.BytesIO) -> Iterator[str]:
    """The classes and functions that the pickles in a torch file name, as ``module name``; nothing is unpickled."""
    with zipfile.ZipFile(source) as archive:
        for entry in archive.infolist():
            if entry.filename.endswith(".pkl"):
                for opcode, argument, _ in pickletools.genops(archive.read(entry)):
                    if opcode.name == "GLOBAL":
                        module, _, name = str(argument).partition(" ")
                        renamed = IMPORT_MAPPING.get(module, module), name  # torch.save writes Python 2's names
                        yield " ".join(NAME_MAPPING.get((module, name), renamed))
                    elif opcode.name in ("STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"):
                        yield opcode.name  # torch.save writes none of these


def _pickled_name(each: Any) -> str:
    if isinstance(each, tuple):
        return " ".join(each[1].rsplit(".", 1))
    return f"{each.__module__} {each.__qualname__}"


def stored_numbers(tensors: Mapping[str, Any]) -> int:
    """The numbers that tensors store. A tensor's shape may claim more: a file can repeat one number."""
    storages = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() // tensor.element_size()
        for tensor in tensors.values()
        if hasattr(tensor, "untyped_storage")
    }
    return sum(storages.values())


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
