"""What networks make of recordings, kept in the user's cache: tuning, scoring and later runs infer once.

An entry is addressed by all that it follows from: the network's weights, the frozen hyper-parameters, the audio, and
the code and versions that inferred it; so a changed checkpoint never meets an old entry. Entries are written whole, are
dropped least recently used first beyond a size, and may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from diarbench.backends.base import Diarizer, Inference
from diarbench.benchmarks.environment import versions
from diarbench.benchmarks.speed import Cost, measured
from diarbench.datasets.catalog import cache_dir
from diarbench.datasets.layout import Recording
from diarbench.reports.records import UserError, digest, sha256_of, write_whole

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

LARGEST_BYTES = 5_000_000_000
COST = "cost"
"""The entry's array with the seconds and the peak memory that inference took."""


class InferenceCache:
    """Inference by network and recording, on disk."""

    def __init__(self, folder: Path | None = None, largest_bytes: int = LARGEST_BYTES) -> None:
        self.folder = folder or cache_dir() / "inference"
        self.largest_bytes = largest_bytes

    def infer(self, diarizer: Diarizer, recording: Recording, model: str) -> tuple[Inference, Cost]:
        """``diarizer.infer(recording)``, from the cache where it is there, and what it took when it was made.

        ``model`` stands for all else that it follows from. A disk that refuses costs time, not the run.
        """
        path = self.folder / f"{digest([model, sha256_of(recording.audio)])}.npz"
        if (found := self._read(path)) is not None:
            return found
        with measured() as cost:
            inference = diarizer.infer(recording)
        self._write(path, inference, cost)
        return inference, cost

    def _read(self, path: Path) -> tuple[Inference, Cost] | None:
        """The entry, now the most recently used; None where there is none, or a damaged one."""
        import numpy as np

        try:
            with np.load(path, allow_pickle=False) as entry:
                arrays = {name: entry[name] for name in entry.files}
            cost = Cost(*arrays.pop(COST).tolist())
            os.utime(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            logger.warning("%s: damaged, inferred again (%s)", path, error)
            return None
        return Inference(arrays), cost

    def _write(self, path: Path, inference: Inference, cost: Cost) -> None:
        import numpy as np

        buffer = io.BytesIO()
        arrays: dict[str, Any] = {**inference, COST: np.array([cost.seconds, cost.peak_memory_mb])}
        np.savez(buffer, allow_pickle=False, **arrays)
        try:
            write_whole(path, buffer.getvalue())
            self._drop_oldest()
        except (UserError, OSError) as error:
            logger.warning("inference is not kept: %s", error)

    def _drop_oldest(self) -> None:
        entries = []
        for entry in self.folder.glob("*.npz"):
            try:
                entries.append((entry.stat().st_mtime_ns, entry.stat().st_size, entry))
            except FileNotFoundError:  # another process dropped it
                continue
        kept = 0
        for _, size, entry in sorted(entries, reverse=True):
            kept += size
            if kept > self.largest_bytes:
                entry.unlink(missing_ok=True)


class CachedDiarizer:
    """A diarizer at some hyper-parameters, whose inference goes through the cache."""

    def __init__(
        self,
        cache: InferenceCache,
        network: torch.nn.Module,
        diarizer: Diarizer,
        device: str,
        hyperparameters: Mapping[str, Any],
    ) -> None:
        frozen = {name: hyperparameters[name] for name in diarizer.first.search_space} if diarizer.first else {}
        self.cache, self.diarizer = cache, diarizer.at(frozen)
        self.model = model_digest(network, diarizer, device, frozen)

    def infer(self, recording: Recording) -> tuple[Inference, Cost]:
        """What the network makes of a recording, and what that took when it was made."""
        return self.cache.infer(self.diarizer, recording, self.model)


def model_digest(network: torch.nn.Module, diarizer: Diarizer, device: str, frozen: Mapping[str, Any]) -> str:
    """Changes with weights, architecture, frozen hyper-parameters, kind of device, and the code that infers."""
    import torch

    weights = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        weights.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        weights.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    kind = type(diarizer)
    architecture = network.architecture()  # type: ignore[operator]
    return digest([weights.hexdigest(), architecture, dict(frozen), device, kind.__qualname__, _code(kind), versions()])


def _code(kind: type) -> str:
    """Of the module that a class is in, and of those beside it in its package."""
    module = inspect.getmodule(kind)
    assert module is not None and module.__file__ is not None
    file = Path(module.__file__)
    files = sorted(file.parent.glob("*.py")) if module.__package__ else [file]
    return digest([sha256_of(each) for each in files])
