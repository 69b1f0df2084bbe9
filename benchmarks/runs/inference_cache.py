"""A cache of inference in the user's cache folder: tuning, scoring and later runs infer a recording once.

The address of an entry depends on everything that the inference depends on: the network's weights, the frozen
hyper-parameters, the audio, the environment, and the code and versions that inferred it. A changed checkpoint therefore
never matches an old entry. Entries are written atomically; the least recently used are dropped beyond a total size, and
any may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import logging
import os
import platform
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from diarbench.backends import camplusplus
from diarbench.backends.base import Diarizer, HasFingerprint, Inference
from diarbench.backends.threads import adapt_threads
from diarbench.benchmarks.runs.environment import versions
from diarbench.benchmarks.runs.timing import Cost, with_cost
from diarbench.datasets.dataset import Recording
from diarbench.datasets.io.archives import check_zip
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import cache_dir, digest, open_file, sha256_of, write_atomic
from diarbench.datasets.io.watch import Watch

if TYPE_CHECKING:
    import torch


logger = logging.getLogger(__name__)

LARGEST_BYTES = 5_000_000_000

ENVIRONMENT = (sys.prefix, platform.python_version())
"""Two environments share no entry: they may differ in packages whose versions are not recorded."""

COST = "cost"
"""Name of an entry's array with the seconds and the peak memory (MB) of the inference."""

NAME = "name"
"""Name of an entry's array with the entry's own name, so that one that was swapped is not taken for another."""


class InferenceCache:
    """Inference on disk, by network and recording."""

    def __init__(self, folder: Path | None = None, largest_bytes: int = LARGEST_BYTES) -> None:
        self.folder = folder or cache_dir() / "inference"
        self.largest_bytes = largest_bytes
        self.timed: set[Path] = set()
        """Entries that this process computed with a warm network."""
        self._warm: set[str] = set()
        """Models that have inferred in this process; the first inference of a network is slower than the next."""

    def infer(
        self, diarizer: Diarizer, recording: Recording, model: str, warm_up: Recording | None = None
    ) -> tuple[Inference, Cost]:
        """``diarizer.infer(recording)``, from the cache where it has it, and the cost at the time it was computed.

        ``model`` is the digest of everything but the audio. With ``warm_up`` the cost is this process's own, of a
        network that inferred before, and so the same for every network: where it did not, it infers that recording
        first, and an entry of another process or from before is computed again. A failed write is logged and does not
        stop the run. Raises UserError, and keeps nothing, where the audio changed: see `Watch.read`.
        """
        watch = recording.watch or Watch()
        path = self.folder / f"{digest([model, watch.sha256(recording.audio), *ENVIRONMENT, NAME])}.npz"
        if (warm_up is None or path in self.timed) and (entry := self._read(path)) is not None:
            return entry
        is_warm = model in self._warm
        if warm_up and not is_warm:
            diarizer.infer(warm_up)
        adapt_threads()
        inference, cost = watch.read([recording.audio], partial(with_cost, diarizer.infer, recording))
        self._warm.add(model)
        if warm_up or is_warm:
            self.timed.add(path)
        self._write(path, inference, cost)
        return inference, cost

    def _read(self, path: Path) -> tuple[Inference, Cost] | None:
        """The entry, marked as used now; None where it is missing or damaged."""
        import numpy as np

        try:
            with open_file(path) as file:
                check_zip(path, file, path.stat().st_size)
                file.seek(0)
                with np.load(file, allow_pickle=False) as entry:
                    arrays = {name: np.asarray(entry[name]) for name in entry.files}
            if str(arrays.pop(NAME)) != path.stem:
                raise ValueError("of another recording or network")
            seconds, peak_mb = arrays.pop(COST).tolist()
            os.utime(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, EOFError, BadZipFile, MemoryError, UserError) as error:
            logger.warning("%s: damaged, so inference is repeated (%s)", path, error)
            return None
        return Inference(arrays), Cost(seconds, peak_mb, cached_s=seconds)

    def _write(self, path: Path, inference: Inference, cost: Cost) -> None:
        import numpy as np

        buffer = io.BytesIO()
        arrays: dict[str, Any] = {
            **inference,
            COST: np.array([cost.seconds, cost.peak_memory_mb]),
            NAME: np.array(path.stem),
        }
        np.savez(buffer, allow_pickle=False, **arrays)
        try:
            write_atomic(path, buffer.getvalue())
            self._drop_oldest()
        except (UserError, OSError) as error:
            logger.warning("inference is not cached: %s", error)

    def _drop_oldest(self) -> None:
        entries = []
        for entry in self.folder.glob("*.npz"):
            try:
                entries.append((entry.stat().st_mtime_ns, entry.stat().st_size, entry))
            except FileNotFoundError:  # another process dropped it
                continue
        total_bytes = 0
        for _, size, entry in sorted(entries, reverse=True):
            total_bytes += size
            if total_bytes > self.largest_bytes:
                entry.unlink(missing_ok=True)


class CachedDiarizer:
    """A diarizer with given hyper-parameters whose inference goes through the cache."""

    def __init__(
        self,
        cache: InferenceCache,
        network: torch.nn.Module,
        diarizer: Diarizer,
        device: str,
        hyperparameters: Mapping[str, Any],
    ) -> None:
        frozen = {name: hyperparameters[name] for name in diarizer.upstream.search_space} if diarizer.upstream else {}
        self.cache, self.diarizer = cache, diarizer.with_frozen(frozen)
        self.model = model_digest(network, diarizer, device, frozen)

    def infer(self, recording: Recording, warm_up: Recording | None = None) -> tuple[Inference, Cost]:
        """Inference of a recording, and its cost at the time it was computed; for ``warm_up`` see `InferenceCache`."""
        return self.cache.infer(self.diarizer, recording, self.model, warm_up)


def model_digest(network: torch.nn.Module, diarizer: Diarizer, device: str, frozen: Mapping[str, Any]) -> str:
    """Changes with the weights, architecture, frozen hyper-parameters, kind of device, other files, and the code."""
    weights = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        weights.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        weights.update(_bytes_of(tensor))
    kind = type(diarizer)
    architecture = network.architecture()  # type: ignore[operator]
    code = code_digest(kind)
    parts = diarizer.fingerprint if isinstance(diarizer, HasFingerprint) else None
    return digest([weights.hexdigest(), architecture, dict(frozen), device, kind.__qualname__, code, versions(), parts])


def _bytes_of(tensor: Any) -> Any:
    """The bytes of a tensor, or of an array where the network is not one of torch."""
    import numpy as np

    if isinstance(tensor, np.ndarray):
        return tensor.tobytes()
    import torch

    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()


def code_digest(kind: type) -> str:
    """Changes with the code of a diarizer's class: its whole package, and the speaker embedding that backends share."""
    module = inspect.getmodule(kind)
    assert module is not None and module.__file__ is not None
    file = Path(module.__file__)
    own = sorted(file.parent.rglob("*.py")) if module.__package__ else [file]
    return digest([sha256_of(path) for path in (*own, *_embedding_code())])


def _embedding_code() -> list[Path]:
    assert camplusplus.__file__ is not None
    return sorted(Path(camplusplus.__file__).parent.rglob("*.py"))
