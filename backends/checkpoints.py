"""Safe loading of untrusted checkpoints, and the format of our own."""

from __future__ import annotations

import io
import math
import pickletools
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from diarbench.backends.array_checkpoints import load_arrays, save_arrays
from diarbench.datasets.io.archives import check_zip
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import open_file, write_atomic

KNOWN_CLASSES = {
    "collections Counter",
    "collections OrderedDict",
    "torch Size",
    "torch device",
    *(f"torch {kind}" for kind in ("bfloat16", "bool", "float16", "float32", "float64", "int32", "int64", "uint8")),
    "torch._utils _rebuild_parameter",
    "torch._utils _rebuild_tensor_v2",
    *(f"torch {kind}Storage" for kind in ("BFloat16", "Bool", "Byte", "Char", "Double", "Float", "Half")),
    *(f"torch {kind}Storage" for kind in ("Int", "Long", "Short")),
}
"""What a pickle of tensors and plain values names. torch allows more, some of which takes any amount of memory."""

MOST_OPCODES, MOST_TUPLES, MOST_VALUES = 500_000, 50_000, 1_000_000
"""Limits on a pickle: its length, its tuples, which Python follows by recursion, and the values it unfolds to."""


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
            f"{path}: not a supported checkpoint: besides weights it holds {unknown[0][:80].replace(' ', '.')}, which "
            "could execute code; none was executed"
        )
    if isinstance(source, io.BytesIO):
        source.seek(0)
    try:
        with torch.serialization.safe_globals(list(classes)):
            loaded = torch.load(source, map_location="cpu", weights_only=True)  # unpickles only classes on a list
    except Exception as error:  # torch raises many kinds for a damaged file
        raise unreadable from error
    if has_more_values(loaded, MOST_VALUES):
        raise UserError(f"{path}: not a supported checkpoint: it repeats more than {MOST_VALUES:,} values")
    return loaded


def has_more_values(content: Any, most: int) -> bool:
    """Whether nested containers hold more values than ``most``. A few that repeat each other can hold millions."""
    values, waiting = 0, [content]
    while waiting:
        value = waiting.pop()
        values += 1
        if values + len(waiting) > most:
            return True
        if isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set):
            waiting += value
        elif "_content" in getattr(value, "__dict__", ()):  # a container of omegaconf
            waiting.append(vars(value)["_content"])
    return False


def _classes_in(source: Path | io.BytesIO) -> Iterator[str]:
    """The classes and functions that the pickle in a torch file names, as ``module name``; nothing is unpickled.

    Raises ValueError where the file is not laid out as by ``torch.save``, so that torch would read something else.
    """
    with open_file(source) if isinstance(source, Path) else io.BytesIO(source.getvalue()) as file:
        if file.read(4) != b"PK\x03\x04":
            raise ValueError("torch would read it in its old format")
        with zipfile.ZipFile(file) as archive:
            pickles = [entry for entry in archive.infolist() if entry.filename.lower().endswith(".pkl")]
            if len(pickles) != 1 or not pickles[0].orig_filename.endswith("/data.pkl"):
                raise ValueError("not one pickle")
            content = archive.read(pickles[0])
    tuples, unfolded = 0, _Unfolded()
    for number, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        tuples += opcode.name.startswith("TUPLE")
        unfolded.step(opcode, argument)
        if number > MOST_OPCODES or tuples > MOST_TUPLES or unfolded.repeated > MOST_VALUES:
            raise ValueError("longer than the pickle of any network")
        if opcode.name == "GLOBAL":
            module, _, name = str(argument).partition(" ")
            renamed = IMPORT_MAPPING.get(module, module), name  # torch.save writes Python 2's names
            yield " ".join(NAME_MAPPING.get((module, name), renamed))
        elif opcode.name in ("STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"):
            yield opcode.name  # torch.save writes none of these


class _Unfolded:
    """The values that a pickle repeats from its memo, with all that is in them, as far as it was read.

    Tuples that share their parts can unfold to any number of values, and Python counts through all of them where such
    a tuple is the key of a dictionary.
    """

    def __init__(self) -> None:
        self.repeated = 0
        self._memo: dict[Any, int] = {}
        self._stack: list[int] = []
        """The number of values in each object on the stack, and 0 for each mark."""
        self._marks: list[int] = []
        """Where the marks are."""

    def step(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        """Follow an opcode. Raises IndexError or KeyError where it does not fit what came before."""
        if opcode.name == "MARK":
            self._marks.append(len(self._stack))
            self._stack.append(0)
        elif opcode.name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self._memo[argument] = self._stack[-1]
        elif opcode.name == "MEMOIZE":
            self._memo[len(self._memo)] = self._stack[-1]
        elif opcode.name in ("GET", "BINGET", "LONG_BINGET"):
            self._stack.append(self._memo[argument])
            self.repeated += self._memo[argument]
        elif opcode.name == "DUP":
            self._stack.append(self._stack[-1])
            self.repeated += self._stack[-1]
        else:
            self._replace(opcode)

    def _replace(self, opcode: pickletools.OpcodeInfo) -> None:
        """Take what an opcode takes from the stack, and put the object there that is made of it."""
        before = [kind.name for kind in opcode.stack_before]
        first = self._marks.pop() - before.index("mark") if "mark" in before else len(self._stack) - len(before)
        if first < 0:
            raise IndexError("takes more than the stack has")
        self._stack[first:] = [1 + sum(self._stack[first:])] * len(opcode.stack_after)


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


def check_stored(shapes: Iterable[Sequence[int]], tensors: Mapping[str, Any], source: Path | str) -> None:
    """Raises UserError where tensors of these shapes would have more numbers than the file stores."""
    if sum(map(math.prod, shapes)) > stored_numbers(tensors):
        raise UserError(f"{source}: its tensors claim more numbers than the file has")


def load_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Tensors by name, and the file's metadata. Raises UserError where the file is damaged or of another format."""
    from safetensors import safe_open

    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with safe_open(str(path), framework="pt") as file:
            names = list(file.keys())
            if len(names) > MOST_TENSORS:
                raise ValueError(f"{len(names):,} tensors, more than any network has")
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except Exception as error:  # safetensors raises many kinds for a damaged file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: not a readable .safetensors file ({reason})") from error


MOST_TENSORS = 20_000

CHECKPOINT_FORMAT = 1


def save_checkpoint(path: Path, backend: str, network: Any, **extra: Any) -> None:
    """Write a network atomically; ``extra`` are plain values and tensors that resuming needs."""
    content = {
        "format": CHECKPOINT_FORMAT,
        "backend": backend,
        "architecture": network.architecture(),
        "weights": network.state_dict(),
        **extra,
    }
    buffer = io.BytesIO()
    if is_of_torch(network):
        import torch

        torch.save(content, buffer)
    else:
        save_arrays(content, buffer)
    write_atomic(path, buffer.getvalue())


def is_of_torch(network: Any) -> bool:
    """Whether a network is a module of torch; the weights of others, which cannot be trained here, are NumPy arrays."""
    return hasattr(network, "parameters")


def number_of_parameters(network: Any) -> int:
    """How many numbers a network has to learn."""
    if is_of_torch(network):
        return sum(parameter.numel() for parameter in network.parameters())
    return sum(array.size for array in network.state_dict().values())


def load_checkpoint(path: Path, backend: str) -> dict[str, Any]:
    """Read one of our checkpoints without executing code.

    Raises UserError where the file is absent, damaged, of a newer format or of another backend.
    """
    try:
        content = load_arrays(path) or load_tensors(path)
    except UserError as error:
        raise UserError(f"{error}; {train_again(path)}") from error
    if not is_checkpoint(content):
        raise UserError(f"{path}: not a checkpoint of diarbench; {train_again(path)}")
    return check_checkpoint(path, content, backend)


def train_again(checkpoint: Path) -> str:
    """What to do about a damaged checkpoint of a run."""
    return f"if a run wrote it, remove {checkpoint.parent} and run the same command again, which trains anew"


def is_checkpoint(content: Any) -> bool:
    """Whether a file's content was written by `save_checkpoint`, in any format and by any backend."""
    return isinstance(content, dict) and type(content.get("format")) is int and type(content.get("backend")) is str


def check_checkpoint(path: Path, content: dict[str, Any], backend: str) -> dict[str, Any]:
    """Returns the content. Raises UserError where it has another format or is of another backend."""
    if content["format"] != CHECKPOINT_FORMAT:
        raise UserError(
            f"{path}: checkpoint format {content['format']}; this version of diarbench reads {CHECKPOINT_FORMAT}"
        )
    if content["backend"] != backend:
        raise UserError(f"{path}: a checkpoint of {content['backend']}, not of {backend}")
    return content
