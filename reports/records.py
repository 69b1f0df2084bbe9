"""The records that a comparison writes and reads back; a leaf that every other module may import.

Times are seconds, rates are derived last, unknown keys are errors. A file is written whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, computed_field, model_validator

SCHEMA_VERSION = 1

Subset = Literal["train", "dev", "test"]
SUBSETS: tuple[Subset, ...] = ("train", "dev", "test")

R = TypeVar("R", bound=BaseModel)


class UserError(Exception):
    """Something the user can mend, told in one line: what is wrong, where (``file:line``), what to do."""


class Record(BaseModel):
    """A frozen value with no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ErrorSeconds(Record):
    """The parts of the diarization error rate, in seconds of speaker time; they add, and the rate is derived.

    The names follow NIST's md-eval and pyannote.metrics: ``total`` is the reference speech,
    ``der = (miss + false_alarm + confusion) / total``.
    """

    total: float = 0.0
    miss: float = 0.0
    false_alarm: float = 0.0
    confusion: float = 0.0

    @model_validator(mode="before")
    @classmethod
    def _drop_derived(cls, data: Any) -> Any:
        return {k: v for k, v in data.items() if k != "der"} if isinstance(data, dict) else data

    @computed_field  # type: ignore[prop-decorator]
    @property
    def der(self) -> float | None:
        """Diarization error rate as a fraction; None where the reference holds no speech."""
        return (self.miss + self.false_alarm + self.confusion) / self.total if self.total > 0 else None

    def __add__(self, other: ErrorSeconds) -> ErrorSeconds:
        return ErrorSeconds(
            total=self.total + other.total,
            miss=self.miss + other.miss,
            false_alarm=self.false_alarm + other.false_alarm,
            confusion=self.confusion + other.confusion,
        )


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: Any) -> str:
    """Sixteen hexadecimal digits that change with a JSON-like value or record, and with nothing else."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all: temporary name beside it, flush to disk, rename.

    Raises UserError where the disk refuses, naming the file.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name[:100]}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot be written ({error.strerror}); free some room or choose another") from error


def write_record(path: Path, record: BaseModel) -> None:
    """Write a record as indented JSON, whole or not at all."""
    write_whole(path, record.model_dump_json(indent=1) + "\n")


def read_record(path: Path, kind: type[R]) -> R:
    """Read a record back. Raises UserError where the file is absent, not JSON, or not such a record."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path}: not a valid {kind.__name__}: {where}: {first['msg']}") from error


def closest(word: str, words: Iterable[str]) -> str:
    """``' (did you mean X?)'`` for the nearest of some words, or nothing."""
    import difflib

    near = difflib.get_close_matches(word, list(words), n=1)
    return f" (did you mean {near[0]}?)" if near else ""
