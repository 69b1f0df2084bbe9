"""Installed packages and their files, looked up without importing them."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path


def importable(module: str) -> bool:
    """Whether a module is installed, without importing it or the packages around it."""
    package, *parts = module.split(".")
    spec = find_spec(package)
    if spec is None or not parts:
        return spec is not None
    paths = [Path(folder, *parts) for folder in spec.submodule_search_locations or ()]
    return any(path.is_dir() or path.with_suffix(".py").is_file() for path in paths)


def package_file(package: str, *parts: str) -> Path | None:
    """A file inside an installed package, without importing it; None where either is absent."""
    spec = find_spec(package) if importable(package) else None
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]).joinpath(*parts)
    return path if path.is_file() else None


def package_version(package: str) -> str | None:
    """The version of an installed distribution, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
