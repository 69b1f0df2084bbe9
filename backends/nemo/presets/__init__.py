"""NeMo configurations for training from scratch, as YAML files."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

SMALL, STREAMING = "small", "streaming"

SPEAKER_EMBEDDING = "voices"
"""The configuration key that names the small Sortformer's speaker embedding."""


def presets() -> list[str]:
    """The names of all presets: each size in its offline form and, with ``-streaming``, in its streaming form."""
    sizes = sorted(Path(entry.name).stem for entry in files(__package__).iterdir() if entry.name.endswith(".yaml"))
    return [f"{size}{form}" for size in sizes if size != STREAMING for form in ("", f"-{STREAMING}")]


def preset(name: str) -> dict[str, Any]:
    """The NeMo configuration of a preset."""
    size, _, streaming = name.partition("-")
    settings = _settings(size)
    for key, value in _settings(STREAMING).items() if streaming else ():
        settings[key] = {**settings[key], **value} if isinstance(value, dict) else value
    return settings


def _settings(name: str) -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load((files(__package__) / f"{name}.yaml").read_text())
    return settings
