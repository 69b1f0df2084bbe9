"""What is in a ``.nemo`` file: an archive of a configuration and of weights. Imports nothing heavy."""

from __future__ import annotations

import tarfile
import zlib
from pathlib import Path
from typing import Any

import yaml

from diarbench.reports.records import UserError

CONFIG, WEIGHTS = "model_config.yaml", "model_weights.ckpt"


def config_in(path: Path) -> Any:
    """The configuration, as plain values. Raises UserError where it cannot be read."""
    try:
        return yaml.safe_load(member(path, CONFIG))
    except yaml.YAMLError as error:
        raise _damaged(path, error) from error


def member(path: Path, name: str) -> bytes:
    """The content of a member; nothing is written to disk. Raises UserError where it cannot be read."""
    try:
        with tarfile.open(path) as archive:
            for each in archive:
                if Path(each.name).name == name and (file := archive.extractfile(each)):
                    return file.read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise _damaged(path, error) from error
    raise _damaged(path, f"no {name} in it")


def _damaged(path: Path, reason: Exception | str) -> UserError:
    return UserError(f"{path}: not a .nemo file, or a truncated one ({reason})")
