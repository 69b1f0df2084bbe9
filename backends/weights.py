"""What ``--init`` can name, told without importing a toolkit or touching the network."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from diarbench.backends.base import Start
from diarbench.backends.registry import importable
from diarbench.reports.records import UserError, Weights, sha256_of

SCRATCH = Weights(origin="scratch", pretrained=False)


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


def cached_hub_file(repository: str, file: str) -> Path | None:
    """A file of a Hugging Face repository that an earlier download left on this machine; never the network."""
    if not importable("huggingface_hub"):
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, file)
    return Path(found) if isinstance(found, str) else None


def hub_start(init: str, file: str, known: Mapping[str, Weights]) -> Start:
    """The start that ``hub:ID`` stands for, found in the hub's cache or to be downloaded to it.

    ``known`` says of some repositories what is known of their weights.
    """
    repository = init.removeprefix("hub:")
    weights = known.get(repository, Weights(origin=init, pretrained=True))
    path = cached_hub_file(repository, file)
    if path is None:
        return Start(weights, hub_file=(repository, file))
    return Start(weights.model_copy(update={"sha256": sha256_of(path)}), path)


def fetched(start: Start) -> Start:
    """The start with its file on this machine, through the hub client's own cache, token and offline switch.

    Raises UserError with the client's reason.
    """
    if start.hub_file is None:
        return start
    repository, file = start.hub_file
    if not importable("huggingface_hub"):
        raise UserError(f"hub:{repository}: needs huggingface_hub: pip install huggingface_hub")
    from huggingface_hub import hf_hub_download

    try:
        path = Path(hf_hub_download(repository, file))
    except Exception as error:  # the client raises many kinds; each means that the file is not to be had
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"hub:{repository}: {file} cannot be had from the hub ({reason}); give a local path") from error
    return Start(start.weights.model_copy(update={"sha256": sha256_of(path)}), path)


def local_file(init: str, suffixes: tuple[str, ...]) -> Start:
    """A start from the user's own file. Raises UserError where it is absent or of another kind."""
    path = Path(init).expanduser().resolve()
    if not path.is_file():
        raise UserError(f"--init {init}: no such file; or one of: auto, scratch, hub:ID")
    if path.suffix not in suffixes:
        raise UserError(f"--init {init}: expected a file ending in {' or '.join(suffixes)}")
    return Start(Weights(origin=str(path), pretrained=True, sha256=sha256_of(path)), path)
