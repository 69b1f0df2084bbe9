"""Frozen records with no unknown keys, and their JSON files."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import read_bytes, write_atomic
from diarbench.datasets.io.names import visible

R = TypeVar("R", bound=BaseModel)


class Record(BaseModel):
    """A frozen value with no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def write_record(path: Path, record: BaseModel) -> None:
    """Write a record as indented JSON, whole or not at all."""
    write_atomic(path, record.model_dump_json(indent=1) + "\n")


def read_record(path: Path, kind: type[R], cure: str = "") -> R:
    """Read a record back. Raises UserError where the file is absent, not JSON, or not such a record.

    ``cure`` ends the message where the file holds no such record: what to do about a damaged one.
    """
    try:
        return kind.model_validate_json(read_bytes(path))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        what_to_do = f"; {cure}" if cure else ""
        raise UserError(f"{path}: not a valid {kind.__name__}: {first_problem(error)}{what_to_do}") from error


IN_PLAIN_WORDS = {"extra_forbidden": "unknown key; remove it", "missing": "is missing; add it"}
"""What pydantic's commonest kinds of errors are called in messages."""


def first_problem(error: ValidationError) -> str:
    """The key and the message of the first thing that is wrong with a record."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    message = IN_PLAIN_WORDS.get(first["type"]) or first["msg"].removeprefix("Value error, ")
    return visible(f"{where}: {message}".removeprefix(": "))
